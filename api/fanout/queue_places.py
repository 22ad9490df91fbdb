"""Tells the readers of a conversation that waits for a worker how many conversations will be answered before it."""

import asyncio
import logging
from collections.abc import Callable, Set

from api import frames
from api.fanout.tail import Subscription, Tail
from tasks.errors import StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING

log = logging.getLogger("parley.queue_places")

#: Seconds between two checks. A conversation that waits at two checks in a row has waited for longer than this.
CHECK_SECONDS = 1.0


class QueuePlaces:
    """One per process; `run` has to run beside the sockets.

    Args:
        redis: reads the queue.
        tail: knows in which conversations something is going on.
        readers: those that understand the `queue` frame.
        queue_length: conversations that wait, as this process saw it last; while there are none, nothing is read.
    """

    def __init__(
        self, redis: RedisClient, tail: Tail, readers: Set[Subscription], queue_length: Callable[[], int]
    ) -> None:
        self._redis = redis
        self._tail = tail
        self._readers = readers
        self._queue_length = queue_length
        #: Conversations that waited at the last check.
        self._waiting: frozenset[str] = frozenset()
        #: The place that each reader knows.
        self._known: dict[Subscription, int] = {}

    async def run(self) -> None:
        """Check again and again, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except StorageError as error:
                log.warning("queue_places.unavailable error=%s", error)

    async def check(self) -> None:
        """Send each reader the place of its conversation, if it has changed. Raises StorageError."""
        active = self._tail.active() if self._queue_length() else {}
        ranks = active and await self._redis.pipeline(*(("ZRANK", QUEUE_WAITING, name) for name in active))
        places = {name: rank for name, rank in zip(active, ranks, strict=True) if rank is not None}
        known = {
            reader: places[name] for name in self._waiting & places.keys() for reader in active[name] & self._readers
        }
        for reader in (self._known.keys() | known.keys()) & self._readers:
            if known.get(reader) != self._known.get(reader):
                reader.push(frames.queue(known.get(reader)))
        self._known, self._waiting = known, frozenset(places)
