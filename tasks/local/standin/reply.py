"""One reply of the stand-in, token by token, and how it ends."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.local.standin import words
from tasks.local.standin.protocols import Asked

#: Ends a token of a stamped reply and can stand nowhere else in it.
STAMP = "|"


@dataclass(frozen=True, slots=True)
class Reply:
    """The tokens to come and why they end.

    An empty token is a stamp, numbered from `stamped_from`, whose text is made at the moment it is sent.
    From token `tail` on all are sent together.
    """

    tokens: tuple[str, ...]
    tail: int
    reason: str
    stamped_from: int = 0
    opening: str = ""

    def texts(self) -> Iterator[str]:
        """Each token's text, to be taken when it is sent."""
        opening = self.opening
        for number, token in enumerate(self.tokens, self.stamped_from):
            yield token or f"{opening}{number}{STAMP}{time.time():.6f} "
            opening = ""


EMPTY = {"text-generation": Reply((), 0, "eos_token"), "completions": Reply((), 0, "stop")}


def make(asked: Asked, stamped: int) -> Reply:
    """The reply to a prompt, or what is missing of it; with `stamped`, so many numbered and timed tokens instead."""
    heard = words.hear(asked.prompt, asked.stop)
    if not stamped:
        tokens = words.pieces(words.remainder(words.answer(heard), heard.partial))
        return _ended(asked, tokens)
    said = heard.partial.count(STAMP)
    return _ended(asked, [""] * max(stamped - said, 0), said + 1, " " if heard.partial else "")


def _ended(asked: Asked, tokens: list[str], stamped_from: int = 0, opening: str = "") -> Reply:
    """Like GPT-J, goes on with the person's next turn, up to the limit or a stop sequence."""
    turn = next((stop for stop in asked.stop if stop.startswith("\n")), "")
    kept, reason = _cut(asked, tokens + words.pieces(turn))
    return Reply(tuple(kept), min(len(tokens), len(kept)), reason, stamped_from, opening)


def _cut(asked: Asked, tokens: list[str]) -> tuple[list[str], str]:
    text = ""
    for number, token in enumerate(tokens, 1):
        text += token
        found = [at for stop in asked.stop if (at := text.find(stop)) >= 0]
        if found and asked.protocol == "text-generation":
            return tokens[:number], "stop_sequence"
        if found:
            return _up_to(tokens, min(found)), "stop"
        if number == asked.limit:
            return tokens[:number], "length"
    return tokens, "eos_token" if asked.protocol == "text-generation" else "stop"


def _up_to(tokens: list[str], length: int) -> list[str]:
    """The tokens of the first `length` characters; stamps count for none."""
    kept: list[str] = []
    for token in tokens:
        if token and not length:
            break
        kept.append(token[:length])
        length -= len(kept[-1])
    return kept
