"""A connection to the model server: HTTP/1.1, one request at a time, the answer passed on straight from the socket.

A library that wakes a task for each chunk, and so for each word, takes a seventh of all the CPU that words cost.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

#: Takes a piece of an answer's body as it comes; False if no more is wanted for now.
Take = Callable[[bytes], bool]


class Unreachable(ConnectionError):
    """No connection came about; the cause says why."""


class NotHttp(Exception):
    """What the server sent is no HTTP."""


class Silent(TimeoutError):
    """The server sent nothing, or no word, for longer than it may."""


class Connection(asyncio.Protocol):
    """One connection; `status` and `headers` (names in lower case) are those of the last answer.

    `on_free` is called when it may carry another request, `on_lost` when it is closed.
    """

    def __init__(self, on_free: "Callable[[Connection], None]", on_lost: "Callable[[Connection], None]") -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self._complete = True
        self._reusable = False
        self._pieces: deque[bytes] = deque()
        self._take: Take = _no_more
        self._wanted = False
        self._left = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read of the answer."""
        return self._complete and not self._pieces

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for the head of its answer. Raises OSError, NotHttp."""
        self._stop_timer()
        self.status, self.headers = 0, {}
        self._complete = self._left = False
        if self._transport.is_closing():
            raise ConnectionResetError("closed before it was asked")
        self._transport.write(request)
        while not self.status:
            await self._news()

    async def read(self, take: Take) -> None:
        """Call `take` with each piece of the body, until it wants no more or the answer has `ended`.

        Raises OSError, NotHttp and whatever `take` raises.
        """
        self._take, self._wanted = take, True
        try:
            self._transport.resume_reading()
            self._pass_on()
            while self._wanted and not self._complete:
                await self._news()
        finally:
            self._take, self._wanted = _no_more, False
            if not self._complete:
                self._transport.pause_reading()

    def leave(self, seconds: float) -> None:
        """Nobody reads any more. What is left of the answer may take `seconds` to come, or the connection is closed."""
        self._left = True
        self._pieces.clear()
        if self._complete:
            self._settle()
        elif seconds:
            self.close_in(seconds)
            self._transport.resume_reading()
        else:
            self._transport.abort()

    def close_in(self, seconds: float) -> None:
        """Hang up then, unless another request comes first."""
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._transport.abort)

    def close(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(NotHttp(str(error)))
        try:
            self._pass_on()
        except Exception as error:
            self._fail(error)
        if self._left and self._complete:
            self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if not self._complete and self.status and not self._has_length():
            self._end()
        elif not self._complete:
            self._fail(exc or ConnectionResetError("closed in the middle of an answer"))
        self._on_lost(self)

    # what the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise NotHttp("more than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            # Only a word in between.
            self.headers = {}
            return
        self.status = status
        self._wake()

    def on_body(self, body: bytes) -> None:
        if not self._left:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self.status:
            self._reusable = self._parser.should_keep_alive()
            self._end()

    # the rest

    def _pass_on(self) -> None:
        while self._wanted and self._pieces:
            self._wanted = self._take(self._pieces.popleft())
            if not self._wanted:
                self._wake()

    def _end(self) -> None:
        self._complete = True
        self._wake()

    def _settle(self) -> None:
        if self._reusable and not self._transport.is_closing():
            self._on_free(self)
        else:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._transport.abort()
        self._wake()

    async def _news(self) -> None:
        if self._error:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _has_length(self) -> bool:
        return "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _no_more(piece: bytes) -> bool:
    """Nobody reads."""
    return False
