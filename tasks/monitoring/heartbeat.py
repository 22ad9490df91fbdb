"""Which processes are alive: each leaves a heartbeat, and each sees by its own clock whose heartbeat has stopped."""

import time
from dataclasses import dataclass

from tasks.storage import scripts
from tasks.storage.client import RedisClient
from tasks.storage.keys import ALIVE

#: Seconds between two heartbeats.
INTERVAL = 2.0
#: A process whose heartbeat has not changed for so many seconds is dead.
TIMEOUT = 5.0

WORKER = "worker"
WEB = "web"


@dataclass
class _Seen:
    beat: bytes
    at: float
    #: Seen to change, or new by its own clock when first seen; what a dead one left behind is neither.
    is_live: bool


class Heartbeat:
    """One process's heartbeat, and its view of the others."""

    def __init__(self, redis: RedisClient, process: str) -> None:
        self.process = process
        self._redis = redis
        self._seen: dict[str, _Seen] = {}
        self._checked_at = 0.0

    async def beat(self) -> list[str]:
        """Leave a heartbeat; returns the processes that are dead.

        Raises StorageError.
        """
        beats = await self._redis.script(scripts.HEARTBEAT, (ALIVE,), (self.process, int(time.time() * 1000)))
        self._checked_at = now = time.monotonic()
        current = dict(_pairs(beats))
        self._seen = {name: self._updated(name, beat, now) for name, beat in current.items()}
        return [name for name, seen in self._seen.items() if now - seen.at > TIMEOUT]

    async def remove_dead(self, name: str) -> None:
        """Take a dead process off the list. Raises StorageError."""
        await self._redis.command("ZREM", ALIVE, name)

    async def leave(self) -> None:
        """Take this process off the list at once. Raises StorageError."""
        await self._redis.command("ZREM", ALIVE, self.process)

    def alive(self) -> set[str]:
        """The processes whose beat is not over."""
        now = time.monotonic()
        return {name for name, seen in self._seen.items() if now - seen.at <= TIMEOUT * 2}

    def workers(self) -> int:
        """How many workers were alive at the last heartbeat."""
        return sum(
            seen.is_live and self._checked_at - seen.at <= TIMEOUT
            for name, seen in self._seen.items()
            if name.startswith(WORKER)
        )

    def _updated(self, name: str, beat: bytes, now: float) -> _Seen:
        before = self._seen.get(name)
        if before is None:
            return _Seen(beat, now, is_live=abs(time.time() - float(beat) / 1000) < TIMEOUT)
        return before if before.beat == beat else _Seen(beat, now, is_live=True)


def _pairs(flat: list[bytes]) -> list[tuple[str, bytes]]:
    return [(flat[i].decode(), flat[i + 1]) for i in range(0, len(flat), 2)]
