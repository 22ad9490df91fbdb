"""Tells the readers of a conversation that waits for a worker how many conversations will be answered before it."""

import asyncio
from collections.abc import Callable, Set

from api import frames
from api.fanout.tail import Subscription, Tail
from tasks.errors import StorageError
from tasks.monitoring.canary import CANARY
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING

#: Seconds between two checks. A conversation that waits at two checks in a row has waited for longer than this.
CHECK_SECONDS = 1.0
#: Places that are told; further back, nobody needs the number.
MAX_PLACES = 5_000


class QueuePlaces:
    """One per process; `run` has to run beside the sockets.

    Args:
        redis: reads the queue.
        tail: knows who reads which conversation.
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
        #: Conversations of readers here that waited at the last check.
        self._waiting: frozenset[str] = frozenset()
        #: The place that each reader knows.
        self._known: dict[Subscription, int] = {}

    async def run(self) -> None:
        """Check again and again, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except StorageError:
                # Others say that Redis is away.
                continue

    async def check(self) -> None:
        """Send each reader the place of its conversation, if it has changed. Raises StorageError."""
        names = await self._redis.command("ZRANGE", QUEUE_WAITING, 0, MAX_PLACES - 1) if self._queue_length() else []
        conversations = [name for name in map(bytes.decode, names) if name != CANARY]
        readers = {name: self._tail.readers(name) & self._readers for name in conversations}
        places = {name: place for place, name in enumerate(conversations) if readers[name]}
        known = {reader: places[name] for name in self._waiting & places.keys() for reader in readers[name]}
        for reader in (self._known.keys() | known.keys()) & self._readers:
            if known.get(reader) != self._known.get(reader):
                reader.push(frames.queue(known.get(reader)))
        self._known, self._waiting = known, frozenset(places)

    def forget(self, reader: Subscription) -> None:
        """A reader begins anew with a snapshot, and knows no place any more."""
        self._known.pop(reader, None)
