"""What the stand-in says: sentences made of what the person said, always the same for the same conversation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

BOT = "Bot:"

#: A message's last words are quoted, for its first ones may have been cut off.
QUOTED_WORDS = 8

_FIRST = (
    "Hello {name}! I am a stand-in and not GPT-J: my sentences come from a template. "
    "To talk to GPT-J, set MODEL_URL and HF_TOKEN as the README describes. "
    "What I got from you is “{quote}”."
)
_ANSWERS = (
    "You said “{quote}”, {name}. A real model would have thoughts of its own about that.",
    "“{quote}” is noted, {name}. I can only hand it back, but I do it word by word.",
    "So it is about “{quote}”. Tell me more, {name}, and I will repeat that as well.",
    "I read “{quote}” and nothing in it surprised me, {name}, since nothing ever does.",
)
_QUESTION = "You ask “{quote}”, {name}. GPT-J might know; a stand-in can only repeat the question."


@dataclass(frozen=True, slots=True)
class Heard:
    """What a prompt says: who spoke last and what, and how far the reply has come already."""

    name: str
    text: str
    partial: str
    is_first: bool


def hear(prompt: str, stop: Sequence[str]) -> Heard:
    """Reads a transcript that ends in the bot's label or in a partial reply; anything else is itself what was said."""
    before, label, partial = prompt.rpartition(f"\n{BOT}")
    if not label:
        return Heard("friend", prompt, "", is_first=True)
    turn = _last_turn(before, [s for s in stop if s.startswith("\n") and s.endswith(":") and s[1:] != BOT])
    name, text = turn or ("friend", before.rpartition("\n")[2])
    return Heard(name, text.strip(), partial.removeprefix(" "), is_first=f"\n{BOT}" not in before)


def _last_turn(before: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """Name and words of the last turn under one of `labels`; without labels, of the last line that has one."""
    if not labels:
        match = re.search(r"\n([^\n:]+): ([^\n]*)\Z", "\n" + before)
        return (match[1], match[2]) if match else None
    label = max(labels, key=before.rfind)
    return (label[1:-1], before.rpartition(label)[2]) if label in before else None


def answer(heard: Heard) -> str:
    """The whole reply, whatever of it has been said."""
    quote = " ".join(heard.text.split()[-QUOTED_WORDS:])
    if heard.is_first:
        template = _FIRST
    elif heard.text.endswith("?"):
        template = _QUESTION
    else:
        template = _ANSWERS[crc32(quote.encode()) % len(_ANSWERS)]
    return template.format(name=heard.name, quote=quote)


def remainder(whole: str, partial: str) -> str:
    """What of `whole` follows `partial`, or the whole in a new line of thought if they do not agree."""
    if whole.startswith(partial):
        return whole[len(partial) :]
    return " " + whole


def pieces(text: str) -> list[str]:
    """`text` in pieces like GPT-2's: at most a word, with the space before it."""
    return re.findall(r"\s?\S{1,8}|\s", text)
