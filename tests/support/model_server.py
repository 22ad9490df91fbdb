"""Model servers for tests: the stand-in, and raw ones that send exactly the bytes they are told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tasks.local.standin.faults import Fault
from tasks.local.standin.server import Options, Standin
from tasks.model.client import Finished, Model, Text, Waiting
from tasks.model.prompt import Turn
from tasks.settings import Settings

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

#: What a raw server does with a connection once it has read the request.
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def standin(
    *faults: dict[str, Any], rate: float = 0, stamped: int = 0, first_delay: float = 0, token: str = ""
) -> AsyncIterator[tuple[Standin, str]]:
    """A stand-in in this event loop, with its address."""
    server = Standin(Options(rate, stamped, first_delay, token))
    server.faults.waiting += [Fault.model_validate(fault) for fault in faults]
    try:
        yield server, await server.start()
    finally:
        await server.aclose()


@dataclass
class RawServer:
    """Answers each connection with the next of `answers`, the last one for ever."""

    answers: Sequence[Behaviour]
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set["asyncio.Task[None]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, publisher: asyncio.StreamWriter) -> None:
        """One connection."""
        if task := asyncio.current_task():
            self.serving.add(task)
        try:
            self.requests.append(await _request(reader))
            await self.answers[min(len(self.requests), len(self.answers)) - 1](publisher)
            if not publisher.is_closing():
                await reader.read()
                self.closed_by_client.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closed_by_client.set()
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's streams report a cancelled server task as an error
        finally:
            publisher.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    return head + await reader.readexactly(int(length.partition(b":")[2]))


@asynccontextmanager
async def raw_server(*answers: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server of raw bytes, listening."""
    server = RawServer(answers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in server.serving:
            task.cancel()
        await asyncio.gather(*server.serving)


def sends(*pieces: bytes, then: str = "close") -> Behaviour:
    """Sends `pieces` and closes the connection, or keeps it open in silence with then="wait"."""

    async def behave(publisher: asyncio.StreamWriter) -> None:
        for piece in pieces:
            publisher.write(piece)
            await publisher.drain()
        if then == "close":
            publisher.close()

    return behave


def status(code: int, body: bytes = b"", *headers: str) -> Behaviour:
    """A whole answer with that status."""
    lines = [f"HTTP/1.1 {code} Whatever", "Connection: close", f"Content-Length: {len(body)}", *headers, "", ""]
    return sends("\r\n".join(lines).encode() + body)


def tgi(*texts: str, end: str | None = "eos_token") -> bytes:
    """A text-generation stream of these tokens; without its final event if `end` is None."""
    events: list[dict[str, Any]] = [
        {"index": n, "token": {"id": n, "text": text, "special": False}, "generated_text": None, "details": None}
        for n, text in enumerate(texts, 1)
    ]
    if end:
        last = {"id": 0, "text": "<|endoftext|>", "special": True}
        events.append({"index": 0, "token": last, "generated_text": "", "details": {"finish_reason": end}})
    return b"".join(b"data:" + orjson.dumps(event) + b"\n\n" for event in events)


def vllm(*texts: str, end: str | None = "stop") -> bytes:
    """A completions stream of these tokens; without its end if `end` is None."""
    choices: list[tuple[str, str | None]] = [(text, None) for text in texts]
    choices += [("", end)] if end else []
    events = [orjson.dumps({"choices": [{"index": 0, "text": t, "finish_reason": r}]}) for t, r in choices]
    return b"".join(b"data: " + event + b"\n\n" for event in [*events, *([b"[DONE]"] if end else [])])


@dataclass
class Heard:
    """What a reply brought, in order."""

    events: list[Text | Waiting | Finished] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def waits(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Waiting)]

    @property
    def end(self) -> str | None:
        last = self.events[-1] if self.events else None
        return last.finish_reason if isinstance(last, Finished) else None


class Listener:
    """Hears a reply event by event, in a task of its own."""

    def __init__(self, client: Model, heard: Heard) -> None:
        self.heard = heard
        self._client = client
        self._read = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Hear all of it."""
        async with aclosing(self._client.reply("Ada", [Turn("human", "Hi")], "")) as events:
            async for event in events:
                self.heard.events.append(event)
                self._news.set()
                await self.between_events()

    async def between_events(self) -> None:
        """What this listener does before it asks for the next event."""

    async def next(self) -> Text | Waiting | Finished:
        """The next event that was not read yet."""
        async with asyncio.timeout(20):
            while self._read == len(self.heard.events):
                self._news.clear()
                await self._news.wait()
        self._read += 1
        return self.heard.events[self._read - 1]


def settings(url: str, **changes: Any) -> Settings:
    """Settings for a model at `url`; its limits are out of a slow machine's reach, unless a test is about them."""
    return Settings.model_validate({"model_url": url, "model_retry_timeout": 60, "model_read_timeout": 30} | changes)


@asynccontextmanager
async def model(url: str, **changes: Any) -> AsyncIterator[Model]:
    """A client of the model at `url`."""
    client = Model(settings(url, **changes))
    try:
        yield client
    finally:
        await client.aclose()


async def hear(
    client: Model,
    said: str | Sequence[Turn] = "How are you?",
    partial: str = "",
    heard: Heard | None = None,
) -> Heard:
    """Ada says something and hears the whole reply; `heard` has what came before a failure."""
    turns = [Turn("human", said)] if isinstance(said, str) else said
    heard = heard or Heard()
    async with aclosing(client.reply("Ada", turns, partial)) as events:
        async for event in events:
            heard.events.append(event)
    return heard


@asynccontextmanager
async def listening(client: Model, listener: type[Listener] = Listener) -> AsyncIterator[Listener]:
    """Ada says something, listens for a while, and stops the reply if it has not ended by then."""
    ear = listener(client, Heard())
    task = asyncio.create_task(ear.run())
    try:
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns once `condition` holds; fails after twenty seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
