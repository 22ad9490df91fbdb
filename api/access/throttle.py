"""How often something may happen in this process: a burst at once, then a steady rate.

The algorithm is GCRA (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm): one number for each name, the time at
which all that happened would be paid for at the steady rate.
"""

import math
import time
from collections.abc import Callable

#: Frames of one socket: so many at once, and then so many a second. People are slower. Whoever is faster is closed.
FRAMES_AT_ONCE, FRAMES_PER_SECOND = 100.0, 10.0
#: Names that are kept before those whose allowance is whole again are dropped.
MAX_NAMES = 10_000


class Throttle:
    """An allowance for each name.

    Args:
        rate: units a second that a name may use for ever; infinite for no limit.
        burst: units that a name may use at once.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._paid_at: dict[str, float] = {}

    def __len__(self) -> int:
        """How many names are kept."""
        return len(self._paid_at)

    def take(self, name: str = "", cost: float = 1.0) -> float:
        """Use `cost` units of a name's allowance; returns 0, or the seconds to wait, and then nothing was used."""
        now = self._clock()
        paid_at = max(self._paid_at.get(name, now), now)
        wait = paid_at + (cost - self._burst) / self._rate - now
        if wait > 0:
            return wait
        self._set(name, paid_at + cost / self._rate, now)
        return 0.0

    def charge(self, name: str, cost: float) -> None:
        """Use `cost` units for what is known to cost so much only afterwards; a debt makes the next one wait."""
        now = self._clock()
        self._set(name, max(self._paid_at.get(name, now), now) + cost / self._rate, now)

    def _set(self, name: str, paid_at: float, now: float) -> None:
        if math.isinf(self._rate):
            return
        self._paid_at[name] = paid_at
        if len(self._paid_at) > MAX_NAMES:
            self._paid_at = {name: at for name, at in self._paid_at.items() if at > now}


def per_minute(maximum: int) -> Throttle:
    """An allowance of `maximum` a minute, a fifth of them at once; 0 for no limit."""
    return Throttle(maximum / 60 or math.inf, max(1.0, maximum / 5))
