"""What a connection may cost before it is a request, and after its socket was closed; uvicorn sets no bounds there.

The Procfile names these two classes to uvicorn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

#: Bytes of a request's first line and headers; browsers and proxies send a few thousand.
MAX_HEADERS = 65_536
#: Bytes of a WebSocket that are parsed in one go: at most 80 frames, which take 3 ms.
SLICE = 512
#: Seconds in which a request has to arrive, body included (no call reads one).
REQUEST_TIMEOUT = 10.0
TOO_LONG = b"HTTP/1.1 414 URI Too Long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: Seconds that a client which is sent away may take to read the last of it.
CLOSE_GRACE = 15.0


def worth_a_line(record: logging.LogRecord) -> bool:
    """Text that is not UTF-8 closes its socket with 1007; a traceback for each would let strangers fill the log."""
    return record.msg != "Invalid UTF-8 sequence received from client."


logging.getLogger("uvicorn.error").addFilter(worth_a_line)


class Line:
    """Steps that are taken one each time round the event loop, so that whoever has a socket comes in between."""

    def __init__(self) -> None:
        self._steps: deque[Callable[[], None]] = deque()

    def join(self, step: Callable[[], None]) -> None:
        """Take this step after those that wait."""
        self._steps.append(step)
        if len(self._steps) == 1:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        try:
            self._steps[0]()
        finally:
            self._steps.popleft()
            if self._steps:
                asyncio.get_running_loop().call_soon(self._next)


class Http(HttpToolsProtocol):
    """HTTP whose requests have to come whole within ARRIVAL seconds, with at most MOST_HEADERS bytes of headers.

    Requests, handshakes among them, stand in one line: a thousand at once must not keep those waiting who talk.
    """

    _line = Line()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._headers_seen = 0
        self._arrival: asyncio.TimerHandle | None = None
        self._expect()

    def data_received(self, data: bytes) -> None:
        self._expect()
        self.transport.pause_reading()
        self._line.join(lambda: self._take(data))

    def _take(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        if self._headers_seen >= 0:
            self._headers_seen += len(data)
        super().data_received(data)
        if self._headers_seen > MAX_HEADERS:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._headers_seen = max(self._headers_seen, 0)
        self._expect()

    def on_headers_complete(self) -> None:
        self._headers_seen = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _arrived(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None


def text_frame(data: bytes) -> bytes:
    """UTF-8 as an unmasked text frame (RFC 6455, 5.2); websockets' own way there takes six times as long."""
    size = len(data)
    if size < 126:
        return b"\x81%c%b" % (size, data)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), data)


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket that takes turns, and is gone at most FAREWELL seconds after either side began to close it.

    What comes at once can be thousands of frames: they are parsed a slice at a time, each when the frames of the
    one before have been taken. A client that does not read would keep a closing transport, and what it has to
    send, for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._farewell: asyncio.TimerHandle | None = None
        self._held: deque[bytes] = deque()

    def data_received(self, data: bytes) -> None:
        early = self.handshake_initiated and not self.handshake_complete
        if early or (self.handshake_initiated and not self.close_sent and (self._held or len(data) > SLICE)):
            self._hold(data)
            return
        super().data_received(data)
        if not self.handshake_initiated:
            # More in one line than websockets reads: it would say nothing, and wait.
            self.transport.write(TOO_LONG)
            self.transport.close()

    def _hold(self, data: bytes) -> None:
        """Keep what came, take no more meanwhile, and parse the first of it unless that is under way."""
        idle = not self._held and self.queue.empty() and self.handshake_complete
        self._held.extend(data[start : start + SLICE] for start in range(0, len(data), SLICE))
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        if idle:
            self.loop.call_soon(self._parse_more)

    def _parse_more(self) -> None:
        if self.transport.is_closing():
            self._held.clear()
        if self._held:
            super().data_received(self._held.popleft())
        if self.queue.empty():
            self._go_on()

    def _go_on(self) -> None:
        """Everything that was parsed has been taken; what came before the handshake was answered waits for that."""
        if not self.handshake_complete:
            return
        if self._held:
            self.loop.call_soon(self._parse_more)
        elif self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    async def send(self, message: ASGISendEvent) -> None:
        """Pass an event of the application on. A close goes behind what waits, and nothing waits behind it."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._go_on()

    def send_now(self, text: str) -> bool:
        """Send a text frame without waiting; False if it would have to, or cannot be sent any more.

        The application finds it in its scope, as `parley.send_now`.
        """
        if not self.writable.is_set() or self.transport.is_closing() or self.conn.state is not State.OPEN:
            return False
        self.transport.write(text_frame(text.encode()))
        return True

    async def receive(self) -> ASGIReceiveEvent:
        """The next event for the application."""
        message = await self.queue.get()
        if self.queue.empty():
            self._go_on()
        return message

    async def run_asgi(self) -> None:
        """Run the application; when it is through with this socket, so are we."""
        self.scope["parley.send_now"] = self.send_now  # type: ignore[typeddict-unknown-key]
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected and self._farewell is None:
                self._farewell = self.loop.call_later(CLOSE_GRACE, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping, so it may not read what it has to read before the end either."""
        super().keepalive_timeout()
        self._farewell = self.loop.call_later(CLOSE_GRACE, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)
