"""What of the model's text may be shown, sans-I/O: nothing that could still turn out to be no part of the reply."""

import re
from collections.abc import Sequence

from tasks.model.decoder import FinishReason
from tasks.model.prompt import BOT_LABEL

#: From so many tokens before the limit on, the last word is held back until the next one begins: if the
#: limit cuts it, it was never shown. A word is seldom more tokens long.
WORD_TOKENS = 8

#: A longer run of letters is no word, and is not held back.
WORD_LENGTH = 64

#: Tokens are seldom longer, but for runs of spaces or lines, which are counted by the piece.
CHARACTERS_PER_TOKEN = 16

_WORDS = re.compile(r"\s*\S+")

#: Where scripts begin that write without spaces (CJK and after): there, every character ends a word.
_UNSPACED = "\u2e80"

#: Apostrophes and hyphen.
_INSIDE_WORDS = "'\u2019-"


class OutputFilter:
    """The text of one reply, piece by piece, without label, leading space, stop sequence and cut-off word.

    `partial` is what was shown before the first piece; `limit` is the number of tokens asked for, which holds also
    where the server sends more. A stop sequence begins with a line's end and has no other. What was given out is
    never taken back.
    """

    __slots__ = ("_held", "_label", "_left", "_near_end", "_opening", "_shown", "_stop", "_tokens", "full", "stopped")

    def __init__(self, partial: str, stop: Sequence[str], limit: int) -> None:
        self._stop = tuple(stop)
        self._label = "" if partial else BOT_LABEL
        self._opening = not partial or partial[-1].isspace()
        self._shown = bool(partial)
        self._held = ""
        self._tokens = 0
        self._near_end = limit - WORD_TOKENS
        #: Tokens that may still come.
        self._left = limit
        self.stopped = False
        #: More came than was asked for.
        self.full = False

    @property
    def tokens(self) -> int:
        """How many tokens came; an estimate where the server sends several in one piece."""
        return self._tokens

    def add(self, piece: str) -> str:
        """What may be shown now that `piece` came; sets `stopped` at a whole stop sequence, `full` past the limit."""
        words = len(piece.split())
        if words < 2 and len(piece) <= WORD_LENGTH:
            # One token, as nearly always; the others are estimated, from below for the limit and else from above.
            least = most = 1
        else:
            least, most = max(words, len(piece) // CHARACTERS_PER_TOKEN), (len(piece) + 2) // 3
        if least > self._left:
            self.full = True
            piece = _beginning(piece, self._left)
            if not piece:
                return ""
        self._left -= least
        self._tokens += most
        text = self._held + piece if self._held else piece
        sure = self._sure(text)
        if self.stopped:
            text = text[:sure]
        if self._opening and sure:
            return self._open(text, sure)
        self._held = text[sure:]
        self._shown = self._shown or sure > 0
        return text[:sure]

    def finish(self, reason: FinishReason) -> str:
        """The rest of the reply, now that the model is done; nothing after a stop sequence."""
        text, self._held = self._held.rstrip(), ""
        if self._opening:
            text = text.strip().removeprefix(self._label).lstrip()
        if reason == "length" and self._shown:
            text = text[: _word_start(text)]
        return text

    def _sure(self, text: str) -> int:
        """How much of `text` is part of the reply whatever comes."""
        end = len(text)
        if "\n" in text:
            found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
            if found:
                self.stopped = True
                return len(text[: min(found)].rstrip())
            end = self._before_open_line(text)
        if self._tokens > self._near_end:
            end = _word_start(text[:end])
        return end

    def _before_open_line(self, text: str) -> int:
        """Before a last line that may become a stop sequence, and before line ends that may be the reply's last."""
        bare = text.rstrip()
        end = len(bare) if "\n" in text[len(bare) :] else len(text)
        line = text.rfind("\n")
        if any(stop.startswith(text[line:]) for stop in self._stop):
            end = min(end, len(text[:line].rstrip()))
        return end

    def _open(self, text: str, sure: int) -> str:
        """The first words of the reply; nothing while they may be the label or are only space."""
        opening = text[:sure].lstrip()
        if self._label and opening.startswith(self._label):
            opening = opening.removeprefix(self._label).lstrip()
            self._label = ""
        if not self.stopped and (not opening or self._label.startswith(opening)):
            self._held = opening + text[sure:]
            return ""
        self._opening, self._shown = False, bool(opening)
        self._held = text[sure:]
        return opening


def _beginning(piece: str, tokens: int) -> str:
    """As much of `piece` as can be `tokens` tokens."""
    words = _WORDS.findall(piece[: tokens * CHARACTERS_PER_TOKEN])
    return "".join(words[:tokens])


def _word_start(text: str) -> int:
    """Where the word begins that `text` ends in, with the white space before it; the end if it ends in none."""
    start = len(text)
    while start and text[start - 1] < _UNSPACED and (text[start - 1].isalnum() or text[start - 1] in _INSIDE_WORDS):
        start -= 1
    if start == len(text) or len(text) - start > WORD_LENGTH:
        return len(text)
    return len(text[:start].rstrip())
