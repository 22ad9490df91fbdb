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
    """The tries of one reply: `seconds` in all for its next word, anew after every word that came."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tries = 0
        self._breaks = 0
        self._empty = 0
        self.on_text()

    def on_text(self) -> None:
        """A word came."""
        self._until = time.monotonic() + self._seconds

    @property
    def seconds_left(self) -> float:
        """Seconds in which the next word must come; negative if they are over."""
        return self._until - time.monotonic()

    def on_break(self, error: ModelRequestError) -> float:
        """Seconds to wait before the reply is continued that broke off after some words.

        Raises ModelError if it did so too often.
        """
        self.on_text()
        self._breaks += 1
        if self._breaks > CONTINUATIONS:
            raise error.final()
        self._tries = 0
        return self.on_failure(error)

    def on_failure(self, error: ModelRequestError) -> float:
        """Seconds to wait before the next try.

        Raises ModelError if waiting cannot help or the time is over.
        """
        if error.reason is None:
            raise error.final()
        left = self.remaining(error)
        self._tries += 1
        if error.delay is not None and error.delay > left:
            raise error.final(f"It asks to wait {error.delay:.0f} seconds.")
        pause = min(FIRST_PAUSE * 2.0 ** (self._tries - 1), LAST_PAUSE)
        return min(error.delay or pause * random.uniform(0.5, 1), left)

    def on_empty(self, error: ModelRequestError) -> None:
        """A reply ended without a word.

        Raises ModelError if it did so before.
        """
        self._empty += 1
        if self._empty > EMPTY_REPLIES:
            raise error.final()

    def remaining(self, error: ModelRequestError) -> float:
        """Seconds that are left to wait for the end of `error`.

        Raises ModelError if there are none.
        """
        if (left := self.seconds_left) <= 0:
            raise error.final(f"It stayed so for {self._seconds:.0f} seconds.")
        return left
