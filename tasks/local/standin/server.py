"""The stand-in's HTTP: requests in, tokens out at their times. Lean, for benchmarks read 6,000 tokens a second.

| call                                            | answer                                                    |
|-------------------------------------------------|-----------------------------------------------------------|
| POST / · /generate · /generate_stream           | text-generation                                           |
| POST /v1/completions                            | completions                                               |
| GET /health · /info · /v1/models                | what clients of either protocol ask                       |
| GET /stats, DELETE /stats                       | what was asked so far; begin anew                         |
| GET /faults, POST /faults, DELETE /faults       | see, add (a fault or a list), clear                       |
| POST /options                                   | change `rate`, `stamped`, `first_delay` while it runs     |
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import httptools
import orjson
from pydantic import TypeAdapter, ValidationError

from tasks.local.standin import protocols, stream
from tasks.local.standin.faults import Fault, Faults
from tasks.local.standin.protocols import Asked, InvalidRequestError
from tasks.local.standin.reply import EMPTY, make
from tasks.local.standin.stream import Stream

#: What it calls itself.
MODEL = "stand-in"

_GENERATING = {("POST", path) for path in ("/", "/generate", "/generate_stream", "/v1/completions")}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])
_CHAT = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}],
}


@dataclass
class Options:
    """How it answers.

    `rate`: tokens per second, 0 for all at once; `stamped`: if not 0, replies are so many tokens like
    `17|1732300000.123456 ` (number and time of sending); `first_delay`: seconds before the first token;
    `token`: what must be presented as a bearer token, if not empty.
    """

    rate: float = 20.0
    stamped: int = 0
    first_delay: float = 0.0
    token: str = ""


@dataclass
class Stats:
    """What was asked so far. A stream that the client left before its end is `cancelled`."""

    requests: int = 0
    open: int = 0
    most_open: int = 0
    finished: int = 0
    cancelled: int = 0
    faults: int = 0
    last_request: Any = None

    def reset(self) -> None:
        """Begins anew; the open streams stay open."""
        self.__init__(open=self.open, most_open=self.open)  # type: ignore[misc]


class Standin:
    """One server's state, shared by its connections."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stats = Stats()
        self.faults = Faults()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listens; the address, with the port that was found if none was asked for."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        return f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()


_OPTIONS = TypeAdapter(Options)


class Connection(asyncio.Protocol):
    """One client's connection: one request after another."""

    def __init__(self, standin: Standin) -> None:
        self._standin = standin
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._stream: Stream | None = None
        self._path = ""
        self._authorization = ""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in spirit

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._stream is not None:
            self._stream.cancel()
            self._standin.stats.open -= 1
            self._standin.stats.cancelled += 1

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._authorization = ""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._path = httptools.parse_url(url).path.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._authorization = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        call = (self._parser.get_method().decode(), self._path)
        if call in _GENERATING:
            self._generate()
        else:
            self.answer(*_administer(self._standin, call, bytes(self._body)))

    # answering

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def answer(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        """A whole answer with an HTTP `status`."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", f"Content-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.write("\r\n".join(lines).encode() + body)

    def _generate(self) -> None:
        standin = self._standin
        standin.stats.requests += 1
        if standin.options.token and self._authorization != f"Bearer {standin.options.token}":
            self.answer(401, b"")
            return
        try:
            standin.stats.last_request = orjson.loads(self._body)
            asked = protocols.read(self._path, standin.stats.last_request)
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            self.answer(400, b'{"error":"not a JSON object"}')
        except InvalidRequestError as error:
            self.answer(*protocols.invalid(self._path, str(error)))
        else:
            fault = standin.faults.take()
            standin.stats.faults += fault is not None
            if fault is None or not self._instead(fault):
                self._reply(asked, fault)

    def _reply(self, asked: Asked, fault: Fault | None) -> None:
        reply = make(asked, self._standin.options.stamped)
        if fault and fault.mode == "empty":
            reply = EMPTY[asked.protocol]
        if asked.stream:
            self._start(stream.events(asked, reply, fault), reply.tail, fault)
            return
        texts = list(reply.texts())
        self._standin.stats.finished += 1
        self.answer(200, protocols.whole(asked, self._path, len(texts), "".join(texts), reply.reason))

    def _start(self, events: Iterator[bytes], tail: int, fault: Fault | None) -> None:
        options, stats = self._standin.options, self._standin.stats
        stats.open += 1
        stats.most_open = max(stats.most_open, stats.open)
        self._stream = Stream(events, self.write, lambda: self._over(fault))
        if not fault or fault.mode != "hang":
            self._stream.start(
                fault.rate if fault and fault.mode == "slow" else options.rate, options.first_delay, tail
            )

    def _over(self, fault: Fault | None) -> None:
        """The stream has no more events."""
        if fault and fault.mode == "silent":
            return
        self._stream = None
        self._standin.stats.open -= 1
        if fault and fault.mode == "cut":
            self.close()
            return
        self._standin.stats.finished += not (fault and fault.mode in stream.BREAKS)
        self.write(stream.LAST_CHUNK)

    def _instead(self, fault: Fault) -> bool:
        """Does what the fault says, if that leaves no place for a reply."""
        match fault.mode:
            case "status":
                body = b"" if fault.body is None else orjson.dumps(fault.body)
                self.answer(fault.status, body, headers=_retry_after(fault))
            case "loading":
                said: dict[str, Any] = {"error": f"Model {MODEL} is currently loading"}
                if fault.estimated_time is not None:
                    said["estimated_time"] = fault.estimated_time
                self.answer(503, orjson.dumps(said), headers=_retry_after(fault))
            case "rate_limited":
                said = {"error": "Model is overloaded", "error_type": "overloaded"}
                self.answer(429, orjson.dumps(said), headers=_retry_after(fault))
            case "html":
                self.answer(200, b"<!doctype html><title>Welcome</title><p>This is a web page.", "text/html")
            case "garbage":
                self.answer(200, os.urandom(512), "application/octet-stream")
            case "chat":
                self.answer(200, b"data: " + orjson.dumps(_CHAT) + b"\n\n", "text/event-stream")
            case "refuse":
                self.close()
            case "hang":
                self._start(iter(()), 0, fault)
            case _:
                return False
        return True


def _retry_after(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}


def _administer(standin: Standin, call: tuple[str, str], body: bytes) -> tuple[int, bytes]:
    """Status and body of everything that is no request for text."""
    try:
        return 200, orjson.dumps(_administered(standin, call, body))
    except LookupError:
        return 404, b'{"error":"not found"}'
    except (ValidationError, orjson.JSONDecodeError) as error:
        return 400, orjson.dumps({"error": str(error)})


def _administered(standin: Standin, call: tuple[str, str], body: bytes) -> Any:
    match call:
        case ("GET", "/" | "/health"):
            return {"status": "ok"}
        case ("GET", "/info"):
            return {"model_id": MODEL, "max_input_tokens": 2047, "max_total_tokens": 2048, "version": "stand-in"}
        case ("GET", "/v1/models"):
            return {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "parley"}]}
        case ("GET", "/stats"):
            pass
        case ("DELETE", "/stats"):
            standin.stats.reset()
        case ("GET", "/faults"):
            return [fault.model_dump() for fault in standin.faults.waiting]
        case ("POST", "/faults"):
            added = orjson.loads(body)
            standin.faults.waiting += _FAULTS.validate_python(added if isinstance(added, list) else [added])
            return [fault.model_dump() for fault in standin.faults.waiting]
        case ("DELETE", "/faults"):
            standin.faults.waiting.clear()
        case ("POST", "/options"):
            changed = _OPTIONS.validate_python(asdict(standin.options) | orjson.loads(body))
            standin.options = changed
        case _:
            raise LookupError
    return asdict(standin.stats)
