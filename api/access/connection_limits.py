"""How many sockets are open, by the names that have a limit: each web process reports its own numbers to Redis.

A report holds totals, never differences. So a report that is sent twice, or late, is still right. The report of a
killed process counts until the process is off the list of the living.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tasks.errors import StorageError, TooManyConnectionsError
from tasks.settings import Settings
from tasks.storage import scripts
from tasks.storage.client import COMMAND_TIMEOUT, Command, RedisClient, translate_errors
from tasks.storage.keys import ALIVE, SOCKETS

#: The name that every socket is counted under.
ALL = "all"
#: Seconds between two whole reports, and seconds that a report is kept.
REPORT_INTERVAL, REPORT_TTL = 600.0, 1800.0
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 1.0
#: Sockets that are asked for in one trip.
BATCH = 100


@dataclass
class _Asked:
    """A socket that waits: the names it would be counted under, and whether it may come in."""

    names: Sequence[str]
    answer: asyncio.Future[bool]


class ConnectionLimits:
    """The limits of one process; `run` has to run beside the sockets."""

    def __init__(self, settings: Settings, redis: RedisClient, process: str) -> None:
        self._settings = settings
        self._redis = redis
        self._process = process
        self._held: Counter[str] = Counter()
        #: Names whose number may differ from the last report.
        self._changed: set[str] = set()
        self._some_changed = asyncio.Event()
        #: One report at a time, so that the last to arrive is the latest.
        self._reporting = asyncio.Lock()
        #: Sockets that wait for an answer, and who asks for them.
        self._asked: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def slot(self, conversation: str, address: str) -> AsyncIterator[None]:
        """Count a socket while it is open. Raises TooManyConnectionsError, StorageError."""
        names = (ALL, f"session {conversation}", f"address {address}")
        if not await self._add(names):
            raise TooManyConnectionsError
        try:
            yield
        finally:
            self._remove(names)

    async def run(self) -> None:
        """Report each change soon, and everything now and then, for ever."""
        renew_at = time.monotonic() + REPORT_INTERVAL
        while True:
            try:
                async with asyncio.timeout(max(0.0, renew_at - time.monotonic())):
                    await self._some_changed.wait()
            except TimeoutError:
                renew_at = time.monotonic() + REPORT_INTERVAL
                self._change(self._held)
            try:
                await self._report()
            except StorageError:
                # Others say that Redis is away.
                await asyncio.sleep(RETRY_SECONDS)

    async def leave(self) -> None:
        """Take the report back. Raises StorageError."""
        await self._redis.command("DEL", SOCKETS + self._process)

    async def _add(self, names: Sequence[str]) -> bool:
        """Count a socket under each name. Returns False if a name would exceed its limit over all processes."""
        # A flood ends here: it must not delay the sockets of others.
        if not self._room_here(names):
            return False
        asked = _Asked(names, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if len(self._asked) == 1:
            self._asking = asyncio.create_task(self._ask())
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if not asked.answer.cancelled() and asked.answer.exception() is None and asked.answer.result():
                self._remove(names)
            raise

    async def _ask(self) -> None:
        """Ask for all that wait, in one trip: with a distant Redis many sockets are answered at once."""
        batch: list[_Asked] = []
        try:
            async with self._turn():
                # A client that disconnected while it waited must not use up the limit.
                waiting = [asked for asked in self._asked if not asked.answer.done()]
                batch, self._asked = waiting[:BATCH], waiting[BATCH:]
                if not batch:
                    return
                if self._asked:
                    self._asking = asyncio.create_task(self._ask())
                answers = await self._redis.script(scripts.RESERVE_SOCKETS, (ALIVE, SOCKETS), self._arguments(batch))
                for asked, allowed in zip(batch, answers, strict=True):
                    if asked.answer.done():  # it hung up
                        self._change(asked.names)
                        continue
                    if allowed:
                        self._held.update(asked.names)
                    asked.answer.set_result(bool(allowed))
        except BaseException as error:
            if not batch:
                batch, self._asked = self._asked, []
            for asked in batch:
                # It may have been counted there all the same.
                self._change(asked.names)
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            if not isinstance(error, StorageError):
                raise

    def _arguments(self, batch: Sequence[_Asked]) -> list[Any]:
        names = list(dict.fromkeys(name for asked in batch for name in asked.names))
        number = {name: index for index, name in enumerate(names, 1)}
        described = [part for name in names for part in (name, self._held[name], self._maximum(name))]
        wanted = [number[name] for asked in batch for name in asked.names]
        return [self._process, int(REPORT_TTL * 1000), len(names), *described, *wanted]

    def _remove(self, names: Collection[str]) -> None:
        """Count one less; the others hear of it soon."""
        for name in names:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
        self._change(names)

    def _room_here(self, names: Sequence[str]) -> bool:
        return not any(0 < self._maximum(name) <= self._held[name] for name in names)

    def _maximum(self, name: str) -> int:
        match name.partition(" ")[0]:
            case "session":
                return self._settings.limit_sockets_per_session
            case "address":
                return self._settings.limit_sockets_per_address
        return 0

    def _change(self, names: Iterable[str]) -> None:
        self._changed.update(names)
        self._some_changed.set()

    async def _report(self) -> None:
        async with self._turn():
            changed, self._changed = self._changed, set()
            self._some_changed.clear()
            try:
                await self._redis.pipeline(*self._report_commands(changed))
            except BaseException:
                self._change(changed)
                raise

    def _report_commands(self, names: Collection[str]) -> Iterator[Command]:
        key = SOCKETS + self._process
        if held := [part for name in names if self._held[name] for part in (name, self._held[name])]:
            yield ("HSET", key, *held)
            yield ("PEXPIRE", key, int(REPORT_TTL * 1000))
        if gone := [name for name in names if not self._held[name]]:
            yield ("HDEL", key, *gone)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        with translate_errors():
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._reporting.acquire()
        try:
            yield
        finally:
            self._reporting.release()
