"""How long and how often one reply goes on trying, and with what pauses."""

import random
import time

from tasks.model.errors import ModelRequestError

#: How often a reply that broke off is continued.
CONTINUATIONS = 3

#: How often a reply without a word is asked for again.
EMPTY_REPLIES = 1

#: Seconds before the second try, doubled with each further one up to the last; each is shortened by chance
#: by up to a half, so that replies that failed together do not ask together.
FIRST_PAUSE, LAST_PAUSE = 0.5, 10.0


class RetryPolicy:
    """The patience of one reply: `seconds` in all for its next word, anew after every word that came.

    `until` is when it ends, in `time.monotonic()`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()
        self._tries = 0
        self._breaks = 0
        self._empty = 0

    def renew(self) -> None:
        """A word came."""
        self.until = time.monotonic() + self._seconds

    def on_break(self, trouble: ModelRequestError) -> float:
        """Seconds to wait before the reply is continued that broke off after some words.

        Raises ModelError if it did so too often.
        """
        self.renew()
        self._tries, self._breaks = 0, self._breaks + 1
        if self._breaks > CONTINUATIONS:
            raise trouble.error()
        return self.on_failure(trouble)

    def on_failure(self, trouble: ModelRequestError) -> float:
        """Seconds to wait after a try that brought no word.

        Raises ModelError if waiting is no use or would take too long.
        """
        if trouble.reason is None:
            raise trouble.error()
        left = self.left(trouble)
        self._tries += 1
        if trouble.delay is not None and trouble.delay > left:
            raise trouble.error(f"It asks to wait {trouble.delay:.0f} seconds.")
        pause = min(FIRST_PAUSE * 2.0 ** (self._tries - 1), LAST_PAUSE)
        return min(trouble.delay or pause * random.uniform(0.5, 1), left)

    def on_empty(self, trouble: ModelRequestError) -> None:
        """A reply ended without a word.

        Raises ModelError if it did so before.
        """
        self._empty += 1
        if self._empty > EMPTY_REPLIES:
            raise trouble.error()

    def left(self, trouble: ModelRequestError) -> float:
        """Seconds that are left.

        Raises ModelError if there are none.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise trouble.error(f"It stayed so for {self._seconds:.0f} seconds.")
        return left
