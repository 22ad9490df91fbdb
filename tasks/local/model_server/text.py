"""From the bytes of tokens to the text of a reply, sans-I/O."""

import codecs
from collections.abc import Sequence


class ReplyText:
    """Gives out text as its tokens come, up to the first stop sequence and without it.

    A token may end in the middle of a character, and the text may end in what could become a stop sequence:
    both are held back until more has come.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, token: bytes) -> str:
        """What can be given out now; `stopped` is set once a stop sequence is complete."""
        text = self._held + self._decoder.decode(token)
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        end = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[end:]
        return text[:end]

    def finish(self) -> str:
        """The rest, now that no more tokens come."""
        text, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return text


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
