"""How long a model may be silent: a limit to each wait for its bytes, and one to the wait for a word."""

import asyncio
import time
from types import TracebackType
from typing import Self

from tasks.model.connection import Silent
from tasks.model.retry import RetryPolicy


class Silence:
    """Limits the waits of the task that enters it, by raising Silent there.

    Bytes may be waited for up to `seconds`, a word as long and until all of `patience` is over: a server whose
    comments say that a request is in its queue is alive, but not for ever. The one timer is set anew when it is
    due, not whenever bytes come.
    """

    def __init__(self, seconds: float, patience: RetryPolicy) -> None:
        self._seconds = seconds
        self._patience = patience
        self._ended = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task, "only a task can be told"
        self._task, self._cancelling = task, task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._entered = time.monotonic()
        self.begin()
        self._timer = self._loop.call_later(self._left(), self._due)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Where somebody else cancelled the task as well, it stays cancelled.
        if self._ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Silent from error

    def begin(self) -> None:
        """Bytes are waited for from now on."""
        self._since: float | None = time.monotonic()

    def end(self) -> None:
        """They came; what takes time now is not the model."""
        self._since = None

    def _left(self) -> float:
        """Seconds until the wait must be looked at."""
        if self._since is None:
            return self._seconds
        word_by = max(self._entered + self._seconds, self._patience.until)
        return min(self._since + self._seconds, word_by) - time.monotonic()

    def _due(self) -> None:
        left = self._left()
        if left > 0:
            self._timer = self._loop.call_later(left, self._due)
        else:
            self._ended = True
            self._task.cancel()
