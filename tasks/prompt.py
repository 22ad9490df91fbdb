"""Words in, prompt out: the transcript that GPT-J continues, within a budget of tokens. Pure; no clock, no network."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.tokens import count_tokens

BOT_LABEL = "Bot:"

#: What a person is called whose name leaves nothing to make a label of, or would pass for the bot's.
NAMELESS = "Human"

#: A label is repeated in every turn and in the stop sequences, so a longer name costs more than it tells.
LABEL_LENGTH = 40

#: Opens a reply to a message of which the model could not read the start. It is for the person, so
#: the model never sees it again: `build_prompt` takes it out of every reply.
SHORTENED = "(Your message is longer than I can read at once, so I read only its end.)\n\n"

#: `<|endoftext|>` and its like are single tokens to GPT-J, whoever typed them: they would end the transcript.
_SPECIAL_TOKEN = re.compile(r"<\|(?=[\w ]*\|>)")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, in the words of whoever said it."""

    role: Literal["human", "bot"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked to continue, where it must end, and whether the last message lost its start."""

    text: str
    stop: tuple[str, ...]
    shortened: bool


def build_prompt(preamble: str, person: str, turns: Sequence[Turn], partial: str, budget: int) -> Prompt:
    """The transcript of `turns` (oldest first, the last is the human message to answer), for at most `budget` tokens.

    `partial` are words of the reply that were shown already: the prompt ends with them. What does not fit
    is dropped turn by turn, oldest first; the preamble and the last message stay, the latter cut at its
    start if it alone is too long.
    """
    label = _label(person)
    stop = (f"\n{label}:", f"\n{BOT_LABEL}")
    *earlier, last = [_line(turn, label) for turn in turns]
    head = _clean(preamble).replace("{person}", label).strip() + "\n\n"
    tail = f"\n{BOT_LABEL}{_opened(partial)}"
    left = budget - count_tokens(head) - count_tokens(tail)
    fitting = _cut_start(last, f"{label}: ", left)
    left -= count_tokens(fitting)
    kept: list[str] = []
    for line in reversed(earlier):
        left -= count_tokens(line + "\n")
        if left < 0:
            break
        kept.append(line + "\n")
    return Prompt(head + "".join(reversed(kept)) + fitting + tail, stop, shortened=fitting != last)


def _opened(partial: str) -> str:
    """What follows the bot's label: nothing, or the words so far without a space at the end,
    since the model's next token brings its own."""
    said = _clean(partial.removeprefix(SHORTENED)).strip()
    return f" {said}" if said else ""


def _label(person: str) -> str:
    """The name as a label of one line: no colon, no control or invisible characters, never the bot's own."""
    visible = "".join(" " if c == ":" or c.isspace() else c for c in _clean(person))
    visible = "".join(c for c in visible if unicodedata.category(c)[0] != "C")
    name = " ".join(visible.split())[:LABEL_LENGTH].strip()
    return NAMELESS if name.casefold() in ("", "bot") else name


def _line(turn: Turn, label: str) -> str:
    if turn.role == "human":
        return f"{label}: {_indented(_clean(turn.text).strip())}"
    return f"{BOT_LABEL}{_opened(turn.text)}"


def _indented(text: str) -> str:
    """Further lines stand two spaces in, so that a label a person types never opens a line."""
    return "\n  ".join(text.splitlines())


def _clean(text: str) -> str:
    """Text that can be encoded and holds no special token."""
    return _SPECIAL_TOKEN.sub("< |", text.encode("utf-8", "replace").decode())


def _cut_start(line: str, label: str, room: int) -> str:
    """`line` itself, or its label and as much of its end as fits into `room` tokens, from a whole word on."""
    if count_tokens(line) <= room:
        return line
    text = line[len(label) :]
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(label + text[middle:]) <= room:
            high = middle
        else:
            low = middle + 1
    end = text[low:]
    _, space, words = end.partition(" ")
    return label + (words if space and words else end)
