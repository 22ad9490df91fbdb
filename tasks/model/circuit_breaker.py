"""The circuit breaker between a process and its model server: when everything fails, one asks and the rest wait."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Literal

from tasks.model.errors import ModelRequestError

#: Failures in a row, with no token in between, that count as an outage.
FAILURES_TO_OPEN = 5

#: Seconds between probes, at first and at most.
FIRST_PROBE, LAST_PROBE = 1.0, 15.0

#: Seconds: a server that asks for a longer pause is probed after this one, for it may be well again sooner.
LONGEST_PAUSE = 60.0

State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """closed: everyone may ask. open: nobody until the next probe is due. half-open: one probe is under way.

    For one event loop; `clock` tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.state: State = "closed"
        self._failures = 0
        self._pause = FIRST_PROBE
        self._probe_at = 0.0
        self._changed = asyncio.Event()
        self._error: ModelRequestError | None = None

    def enter(self) -> "Attempt | None":
        """Permission for one request, or None. In an outage, only the first caller after `_probe_at` gets it."""
        if self.state == "closed":
            return Attempt(self, probe=False)
        if self.state == "half-open" or self._clock() < self._probe_at:
            return None
        self._become("half-open")
        return Attempt(self, probe=True)

    def outage(self) -> tuple[ModelRequestError, float]:
        """The error of the last probe, and the estimated seconds until `enter` can succeed."""
        assert self._error is not None, "there is no outage"
        due = self._probe_at - self._clock()
        return self._error, max(due, 0.0) if self.state == "open" else self._pause

    async def changed(self, timeout: float) -> None:
        """Returns when the state changes, and after `timeout` seconds at the latest."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _close(self) -> None:
        self._failures, self._pause = 0, FIRST_PROBE
        if self.state != "closed":
            self._become("closed")

    def _fail(self, error: ModelRequestError, *, probe: bool) -> None:
        self._error = error
        self._failures += 1
        if probe:
            self._pause = min(self._pause * 2, LAST_PROBE)
        elif self.state != "closed" or self._failures < FAILURES_TO_OPEN:
            return
        self._probe_at = self._clock() + min(error.delay or self._pause * random.uniform(0.5, 1), LONGEST_PAUSE)
        self._become("open")

    def _probe_again(self) -> None:
        self._probe_at = self._clock()
        self._become("open")

    def _become(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()


class Attempt:
    """Permission for one request. Its holder reports the result once; later reports are ignored."""

    def __init__(self, circuit: CircuitBreaker, *, probe: bool) -> None:
        self._circuit: CircuitBreaker | None = circuit
        self._probe = probe

    def succeeded(self) -> None:
        """A token came."""
        if circuit := self._taken():
            circuit._close()

    def failed(self, error: ModelRequestError) -> None:
        """No token came, and another request would fare no better."""
        if circuit := self._taken():
            circuit._fail(error, probe=self._probe)

    def release(self) -> None:
        """It ended and says nothing of the server; a probe's turn goes to the next."""
        if (circuit := self._taken()) and self._probe:
            circuit._probe_again()

    def _taken(self) -> CircuitBreaker | None:
        circuit, self._circuit = self._circuit, None
        return circuit
