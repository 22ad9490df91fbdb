"""Words in, prompt out: what the model continues, within a budget of tokens. Pure: no clock, no network.

A base model such as GPT-J continues a transcript. A model that was trained to follow instructions reads turns between
marks of its own (ChatML).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.model.known_models import Style
from tasks.model.tokens import count_tokens

BOT_LABEL = "Bot:"

#: Who speaks if a name leaves nothing to make a label of, or would pass for the bot's.
NAMELESS = "Human"

#: Bytes of a label: it stands in every turn and in the stop sequences, so a longer one costs more than it tells.
LABEL_BYTES = 64

#: Opens a reply to a message of which the model could not read the start. It is for the person, so
#: the model never sees it again: it is taken out of every reply.
SHORTENED = "(Your message is longer than I can read at once, so I read only its end.)\n\n"

#: `<|endoftext|>` and its like are single tokens to GPT-J, whoever typed them: they would end the transcript.
_SPECIAL_TOKEN = re.compile(r"<\|(?=[^\s|<>]+\|>)")

Count = Callable[[str], int]


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


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands before and after each part of a prompt, between the bot's mark and its words, and where the model
    must end."""

    head: tuple[str, str]
    human: tuple[str, str]
    bot: tuple[str, str]
    gap: str
    stop: tuple[str, ...]


#: Its end mark is a token of its own, at which the model's server ends by itself.
_CHATML = _Marks(
    head=("<|im_start|>system\n", "<|im_end|>\n"),
    human=("<|im_start|>user\n", "<|im_end|>"),
    bot=("<|im_start|>assistant\n", "<|im_end|>"),
    gap="",
    stop=(),
)


def _marks(style: Style, label: str) -> _Marks:
    if style == "chatml":
        return _CHATML
    stop = (f"\n{label}:", f"\n{BOT_LABEL}")
    return _Marks(head=("", "\n\n"), human=(f"{label}: ", ""), bot=(BOT_LABEL, ""), gap=" ", stop=stop)


def build_prompt(
    preamble: str,
    person: str,
    turns: Sequence[Turn],
    partial: str,
    budget: int,
    count: Count = count_tokens,
    style: Style = "transcript",
) -> Prompt:
    """The prompt of `turns` (oldest first, the last is the human message to answer) in at most `budget` tokens.

    `partial` are words of the reply that were shown already: the prompt ends in them. What does not fit is
    dropped turn by turn, oldest first. The preamble and the last message stay; the message, if it alone is
    too long, without its start, and so a partial reply that takes half of the room. `count` never
    counts too few tokens.
    """
    label = _label(person)
    marks = _marks(style, label)
    head = _head(preamble, label, marks)
    left = budget - count(head)
    said = _said(partial)
    opening, closing = f"\n{marks.bot[0]}", marks.human[1]
    tail = _end_of(said, opening + marks.gap, left // 2, count) if said else opening
    left -= count(tail) + count(closing)
    *earlier, last = [_line(turn, marks) for turn in turns]
    words = last.removeprefix(marks.human[0]).removesuffix(closing)
    question = _end_of(words, marks.human[0], left, count) + closing
    left -= count(question) - count(closing)
    history = _latest(earlier, left, count)
    return Prompt(head + history + question + tail, marks.stop, shortened=question != last)


def least_budget(preamble: str, count: Count = count_tokens, style: Style = "transcript") -> int:
    """Tokens that a prompt with this preamble takes at least, if it is to hold a few words of a message."""
    longest = "n" * LABEL_BYTES
    marks = _marks(style, longest)
    return count(_head(preamble, longest, marks)) + 2 * count("\n" + "".join(marks.human)) + 64


def _head(preamble: str, label: str, marks: _Marks) -> str:
    return _clean(preamble.replace("{person}", label)).strip().join(marks.head)


def _label(person: str) -> str:
    """The name as one line without colon, control or invisible characters, and never the bot's own.

    A special token is looked for last: characters that are taken out may have hidden it.
    """
    spaced = "".join(" " if c == ":" or c.isspace() else c for c in person.encode("utf-8", "replace").decode())
    visible = "".join(c for c in spaced if unicodedata.category(c)[0] != "C")
    name = _clean(" ".join(visible.split())).encode()[:LABEL_BYTES].decode(errors="ignore").strip()
    return NAMELESS if name.casefold() in ("", "bot") else name


def _line(turn: Turn, marks: _Marks) -> str:
    """A turn between its marks. A reply keeps its lines, but no label opens one of them."""
    if turn.role == "human":
        words = _clean(turn.text).strip()
        return (_indented(words) if marks.stop else words).join(marks.human)
    text = marks.gap + _said(turn.text)
    for forged in marks.stop:
        text = text.replace(forged, f"\n  {forged[1:]}")
    return text.join(marks.bot)


def _indented(text: str) -> str:
    """A message's further lines stand two spaces in, so that a label that a person types never opens a line."""
    return "\n  ".join(text.splitlines())


def _said(reply: str) -> str:
    """What the bot said, without a space at its end, for the model's next token brings its own."""
    return _clean(reply.removeprefix(SHORTENED)).strip()


def _clean(text: str) -> str:
    """Text that can be encoded and holds no special token."""
    return _SPECIAL_TOKEN.sub("< |", text.encode("utf-8", "replace").decode())


def _latest(lines: Sequence[str], room: int, count: Count) -> str:
    """As many of the last lines as fit into `room` tokens."""
    kept: list[str] = []
    for line in reversed(lines):
        room -= count(line + "\n")
        if room < 0:
            break
        kept.append(line + "\n")
    return "".join(reversed(kept))


def _end_of(text: str, label: str, room: int, count: Count) -> str:
    """`label` and as much of the end of `text` as fits into `room` tokens, from a whole word on."""
    if count(label + text) <= room:
        return label + text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if count(label + text[middle:]) <= room:
            high = middle
        else:
            low = middle + 1
    end = text[low:]
    return label + (end.partition(" ")[2] or end)
