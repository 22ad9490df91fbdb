"""The bell: what happens in any conversation, heard the moment it happens."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from tasks.errors import StorageError
from tasks.monitoring.background import end
from tasks.storage.keys import EVENT_CHANNEL
from tasks.storage.redis_line import Line

#: Seconds after which a silent Redis is asked whether it is still there, and then has to answer; below every idle
#: limit on the way.
QUIET = 5.0


class EventListener:
    """A connection that listens; after a failure, `listen` connects again."""

    def __init__(self, url: str) -> None:
        self._line = Line(url)
        self._answered = False

    async def listen(self) -> AsyncGenerator[bytes]:
        """News, a line each, as `scripts/tell.lua` says them; first an empty piece: from then on nothing is missed.

        Raises StorageError.
        """
        self._answered = False
        asking = asyncio.create_task(self._ask())
        try:
            await self._line.send("SUBSCRIBE", EVENT_CHANNEL)
            while True:
                kind, *_, news = await self._line.receive()
                self._answered = True
                if kind == b"message":
                    yield news
                elif kind == b"subscribe":
                    yield b""
        finally:
            await end((asking,))
            await self._line.aclose()

    async def aclose(self) -> None:
        """Close the connection; whoever listens gets a StorageError."""
        await self._line.aclose()

    async def _ask(self) -> None:
        """Close a connection over which nothing comes any more."""
        with contextlib.suppress(StorageError):
            while True:
                await asyncio.sleep(QUIET)
                if not self._answered:
                    return await self._line.aclose()
                self._answered = False
                await self._line.send("PING")
