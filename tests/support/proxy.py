"""A TCP proxy under a test's control: connections through it can be cut, stalled, slowed or refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Proxy:
    """Listens on a free port of the loopback interface and passes on to `target`, a port; for one event loop."""

    def __init__(self, target: int) -> None:
        #: Where new connections lead.
        self.target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: Seconds that every piece of data is held back, each way.
        self.delay = 0.0
        #: Whether new connections are closed at once.
        self.refusing = False
        self.bytes = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    def cut(self) -> int:
        """Break every connection, without a goodbye; returns how many."""
        for publisher in list(self._writers):
            publisher.transport.abort()
        return len(self._writers)

    async def stall(self, seconds: float) -> None:
        """Pass nothing on for a while; connections stay open."""
        self._flowing.clear()
        await asyncio.sleep(seconds)
        self._flowing.set()

    async def slow(self, delay: float, seconds: float) -> None:
        """Hold every piece of data back for `delay` seconds, for a while."""
        self.delay = delay
        await asyncio.sleep(seconds)
        self.delay = 0.0

    async def _connected(self, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        """One connection, up to its end; that is no error, also if we are told to end it."""
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            async with self._ended(publisher):
                if not self.refusing:
                    there, back = await asyncio.open_connection("127.0.0.1", self.target)
                    async with self._ended(back):
                        await self._pass_on_both(reader, publisher, there, back)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._serving.discard(task)

    @contextlib.asynccontextmanager
    async def _ended(self, publisher: asyncio.StreamWriter) -> AsyncIterator[None]:
        """One end of a connection; nothing of it is left after the block."""
        self._writers.add(publisher)
        try:
            yield
        finally:
            self._writers.discard(publisher)
            publisher.transport.abort()
            with contextlib.suppress(OSError):
                await publisher.wait_closed()

    async def _pass_on_both(
        self,
        reader: asyncio.StreamReader,
        publisher: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """When one way ends, so does the other."""
        ways = [asyncio.create_task(self._pass_on(*way)) for way in ((reader, back), (there, publisher))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter once it is closed
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                self.bytes += len(data)
                publisher.write(data)
                await publisher.drain()
