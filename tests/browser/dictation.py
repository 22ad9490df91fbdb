"""A model server that says what a test tells it to, when it is told: a reply stays where a test wants to look at it."""

import asyncio
from contextlib import suppress

from tests.support.client import PATIENCE
from tests.support.model_server import STREAM_HEAD, RawServer, status, tgi


class Saying:
    """One reply, as far as the test lets it come."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(STREAM_HEAD)

    async def says(self, *texts: str) -> None:
        """The next pieces of text."""
        self._writer.write(tgi(*texts, end=None))
        await self._writer.drain()

    async def ends(self, *texts: str) -> None:
        """The last pieces of text."""
        await self.says(*texts)
        await self.closes(tgi())

    async def closes(self, last: bytes = b"") -> None:
        """Nothing more comes; without last bytes the stream is cut."""
        self._writer.write(last)
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Dictation:
    """The server. A test awaits `asked()` once for each reply that it causes and wants to dictate."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Saying] = asyncio.Queue()
        self._open: list[Saying] = []
        self._dictated = False
        self.server = RawServer([self._hear])

    async def start(self, port: int) -> None:
        """Listen, until `aclose`; without `listen`, replies come at once and of themselves."""
        self._listening = await asyncio.start_server(self.server.serve, "127.0.0.1", port)

    def aclose(self) -> None:
        """Listen no more."""
        self._listening.close()

    def listen(self) -> None:
        """From now on say only what is dictated."""
        self._dictated = True

    async def asked(self) -> Saying:
        """Somebody asks for a reply."""
        return await asyncio.wait_for(self._asked.get(), PATIENCE)

    def refuses(self, code: int, body: bytes = b"", *headers: str, times: int = 1) -> None:
        """The next requests are answered with this status; they are not `asked()`."""
        self.server.answers = [*[status(code, body, *headers)] * times, self._hear]
        self.server.requests.clear()

    async def let_go(self) -> None:
        """End what is under way, and whatever else is asked."""
        self._dictated = False
        self.server.answers = [self._hear]
        while not self._asked.empty():
            self._asked.get_nowait()
        for saying in self._open:
            with suppress(ConnectionError):
                await saying.ends("over")
        self._open.clear()

    async def _hear(self, writer: asyncio.StreamWriter) -> None:
        saying = Saying(writer)
        if self._dictated:
            self._open.append(saying)
            await self._asked.put(saying)
        else:
            await saying.ends("over")
