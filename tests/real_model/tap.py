"""A tap in the wire to the model server: what was asked, what came back, who gave up. It changes no byte."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import orjson


@dataclass
class Asked:
    """One request and its answer so far."""

    prompt: str
    limit: int
    answer: bytearray = field(default_factory=bytearray)
    given_up: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the server began to answer."""
        return self.answer.startswith(b"HTTP/1.1 200")

    @property
    def prompt_tokens(self) -> int | None:
        """The server's own count, which ends its answer."""
        said = re.search(rb'"prompt_tokens":\s*(\d+)', self.answer)
        return int(said[1]) if said else None

    @property
    def tokens(self) -> int | None:
        """The tokens of the whole answer, likewise."""
        said = re.search(rb'"completion_tokens":\s*(\d+)', self.answer)
        return int(said[1]) if said else None


class Tap:
    """Listens on a port of the loopback interface and passes on to `port`; for one event loop."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        #: Every request, oldest first.
        self.asked: list[Asked] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accepted(self, since: int = 0) -> list[Asked]:
        """The requests that the server took, leaving out the first `since` of all."""
        return [asked for asked in self.asked[since:] if asked.accepted]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        mine: list[Asked] = []
        ways = [asyncio.create_task(way) for way in (self._ask(reader, back, mine), _answer(there, writer, mine))]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if mine and ways[0].done() and mine[-1].accepted:
            mine[-1].given_up = mine[-1].tokens is None
        for way in ways:
            way.cancel()
        for end in (writer, back):
            end.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, mine: list[Asked]) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            asked = orjson.loads(body)
            mine.append(Asked(asked["prompt"], asked["max_tokens"]))
            self.asked.append(mine[-1])
            back.write(head + body)


async def _answer(there: asyncio.StreamReader, writer: asyncio.StreamWriter, mine: list[Asked]) -> None:
    with suppress(ConnectionError):
        while data := await there.read(1 << 16):
            mine[-1].answer += data
            writer.write(data)
