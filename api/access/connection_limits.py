"""How many sockets are open, by the names that have a limit: each web process tells the others what it holds.

It tells numbers, never what changed, so what is told twice, late, or after a while without Redis is right. What a
killed process told counts until it is off the list of the living.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tasks.errors import StorageError, TooManyConnections
from tasks.settings import Settings
from tasks.storage import scripts
from tasks.storage.client import COMMAND_TIMEOUT, Command, RedisClient, translate_errors
from tasks.storage.keys import ALIVE, SOCKETS

#: The name that every socket is counted under.
ALL = "all"
#: Seconds between two tellings of everything, and how long what was told is kept.
RENEWAL, KEPT = 600.0, 1800.0
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 1.0


class ConnectionLimits:
    """Those of one process; `run` has to run beside them."""

    def __init__(self, settings: Settings, redis: RedisClient, process: str) -> None:
        self._settings = settings
        self._redis = redis
        self._process = process
        self._held: Counter[str] = Counter()
        #: Names whose number may be another one than was told.
        self._changed: set[str] = set()
        self._some_changed = asyncio.Event()
        #: One tells at a time, so that what arrives last is the latest.
        self._telling = asyncio.Lock()

    @asynccontextmanager
    async def slot(self, conversation: str, address: str) -> AsyncIterator[None]:
        """Count a socket while it is open. Raises TooManyConnections, StorageError."""
        maximum = {
            f"session {conversation}": self._settings.limit_sockets_per_session,
            f"address {address}": self._settings.limit_sockets_per_address,
        }
        if not await self._add(maximum):
            raise TooManyConnections
        try:
            yield
        finally:
            self._remove(maximum)

    async def run(self) -> None:
        """Tell what has changed when it has, and everything now and then, for ever."""
        renew_at = time.monotonic() + RENEWAL
        while True:
            try:
                async with asyncio.timeout(max(0.0, renew_at - time.monotonic())):
                    await self._some_changed.wait()
            except TimeoutError:
                renew_at = time.monotonic() + RENEWAL
                self._change(self._held)
            try:
                await self._tell()
            except StorageError:
                # Others say that Redis is away.
                await asyncio.sleep(RETRY_SECONDS)

    async def leave(self) -> None:
        """Take back what was told. Raises StorageError."""
        await self._redis.command("DEL", SOCKETS + self._process)

    async def _add(self, maximum: Mapping[str, int]) -> bool:
        """Count a socket under each name, unless all processes then held more than `most` (0: any number) of one."""
        # Here a flood ends: it must not stand in line before others.
        if not self._room_here(maximum):
            return False
        async with self._turn():
            if not self._room_here(maximum):
                return False
            try:
                asked = self._asking(maximum)
                allowed = bool(await self._redis.script(scripts.HOLD, (ALIVE, SOCKETS), asked))
            except BaseException:
                # It may have been counted there all the same.
                self._change(maximum)
                raise
            if allowed:
                self._held.update((ALL, *maximum))
            return allowed

    def _remove(self, names: Collection[str]) -> None:
        """Count one less; the others hear of it soon."""
        for name in (ALL, *names):
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
        self._change(names)

    def _room_here(self, maximum: Mapping[str, int]) -> bool:
        return not any(number and self._held[name] >= number for name, number in maximum.items())

    def _asking(self, maximum: Mapping[str, int]) -> list[Any]:
        names = {ALL: 0, **maximum}
        asked = [part for name, number in names.items() for part in (name, self._held[name] + 1, number)]
        return [self._process, int(KEPT * 1000), *asked]

    def _change(self, names: Iterable[str]) -> None:
        self._changed.update((ALL, *names))
        self._some_changed.set()

    async def _tell(self) -> None:
        async with self._turn():
            changed, self._changed = self._changed, set()
            self._some_changed.clear()
            try:
                await self._redis.pipeline(*self._telling_of(changed))
            except BaseException:
                self._change(changed)
                raise

    def _telling_of(self, names: Collection[str]) -> Iterator[Command]:
        key = SOCKETS + self._process
        if held := [part for name in names if self._held[name] for part in (name, self._held[name])]:
            yield ("HSET", key, *held)
            yield ("PEXPIRE", key, int(KEPT * 1000))
        if gone := [name for name in names if not self._held[name]]:
            yield ("HDEL", key, *gone)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        with translate_errors():
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._telling.acquire()
        try:
            yield
        finally:
            self._telling.release()
