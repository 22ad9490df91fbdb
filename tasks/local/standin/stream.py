"""One streamed answer: each token leaves at its time, whatever else the server does."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

from tasks.local.standin import protocols
from tasks.local.standin.faults import Fault
from tasks.local.standin.protocols import Asked
from tasks.local.standin.reply import Reply

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"

#: Faults that leave a stream without its end.
BREAKS = ("cut", "end", "error", "silent")


class Stream:
    """Sends `events`, the answer's server-sent events, at `rate` a second (0: all at once).

    The first leaves `first_delay` seconds from now, those after the first `tail` together. An event is
    made at the moment it is sent. `write` is the connection's; `over` is called after the last event.
    """

    def __init__(self, events: Iterator[bytes], write: Callable[[bytes], None], over: Callable[[], None]) -> None:
        self._events = events
        self._write = write
        self._over = over
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, rate: float, first_delay: float, tail: int) -> None:
        """Sends the head now."""
        self._write(HEAD)
        self._pause = 1 / rate if rate else 0.0
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time() + first_delay
        self._timer = self._loop.call_at(self._begin, self._send)

    def cancel(self) -> None:
        """Sends no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _send(self) -> None:
        """Sends every event that is due."""
        chunks: list[bytes] = []
        while (due := self._due()) <= self._loop.time():
            event = next(self._events, None)
            if event is None:
                self._write(b"".join(chunks))
                self._over()
                return
            self._sent += 1
            chunks.append(b"%x\r\n%b\r\n" % (len(event), event))
        self._write(b"".join(chunks))
        self._timer = self._loop.call_at(due, self._send)

    def _due(self) -> float:
        return self._begin + min(self._sent, max(self._tail - 1, 0)) * self._pause


def events(asked: Asked, reply: Reply, fault: Fault | None) -> Iterator[bytes]:
    """The events of `reply`, up to where `fault` breaks it off."""
    until = fault.after if fault and fault.mode in BREAKS else len(reply.tokens)
    ends_by_token = reply.reason != "eos_token" and until == len(reply.tokens) > 0
    said = ""
    number = 0
    for text in islice(reply.texts(), until):
        number += 1
        said += text
        if number == until and ends_by_token:
            yield protocols.end(asked, number, text, said, reply.reason)
        else:
            yield protocols.token(asked, number, text)
    if fault and fault.mode == "error":
        yield protocols.error(asked, fault.error)
    elif until == len(reply.tokens) and not ends_by_token:
        yield protocols.end(asked, number + 1, "", said, reply.reason)
