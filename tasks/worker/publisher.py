"""Gathers what all replies of a worker process say and sends it to Redis in one go, a few milliseconds apart."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from tasks.errors import LeaseLost, StorageError
from tasks.storage import events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.redis_line import command_of
from tasks.worker.lease import Lease

log = logging.getLogger("parley.writer")

#: Seconds that text waits for company, between these bounds: until as many texts have come. Each trip to Redis costs
#: nearly the same whatever it carries. The first words of a reply do not wait, nor does text that stays alone anyway.
MIN_FLUSH_DELAY, MAX_FLUSH_DELAY = 0.002, 0.024
TARGET_BATCH = 14
#: Characters of one reply that may be unsent; past that its model stream is read no further.
MAX_UNSENT = 16_000
#: Texts and notes in one trip; Lua passes on a few thousand values at once.
MAX_BATCH = 500
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class ControlEvent:
    """An event between the texts; `waiting` is what a snapshot says until the next text, if it is a pause."""

    event: bytes
    waiting: bytes = b""


class ReplyBuffer:
    """One reply's way to Redis: what is not yet sent, in order, with neighbouring texts made one."""

    def __init__(self, lease: Lease, reply: str) -> None:
        self.lease = lease
        self.reply = reply
        self.size = 0
        #: The next text is the first that people see, or the first after a pause.
        self.first_chunk = True
        self.paused = False
        self._unsent: list[str | ControlEvent] = []

    def add(self, item: str | ControlEvent) -> None:
        """Put text or a note behind what is unsent."""
        if isinstance(item, str) and self._unsent and isinstance(self._unsent[-1], str):
            self._unsent[-1] += item
        else:
            self._unsent.append(item)
        self.size += len(item) if isinstance(item, str) else 0

    def take(self) -> list[str | ControlEvent]:
        """Hand over what is unsent."""
        taken, self._unsent, self.size = self._unsent, [], 0
        return taken


class _Window:
    """How long text waits, by how quickly texts have come lately."""

    def __init__(self) -> None:
        self._gap = MAX_FLUSH_DELAY
        self._flushed_at = time.monotonic()

    @property
    def seconds(self) -> float:
        if self._gap > MAX_FLUSH_DELAY / 2:
            return 0.0
        return min(MAX_FLUSH_DELAY, max(MIN_FLUSH_DELAY, TARGET_BATCH * self._gap))

    def flushed(self, texts: int) -> None:
        now = time.monotonic()
        gap = min(MAX_FLUSH_DELAY, (now - self._flushed_at) / texts)
        self._flushed_at = now
        self._gap += (gap - self._gap) / TARGET_BATCH


class Publisher:
    """One for all replies of a process; `run` has to run beside them."""

    def __init__(self, redis: RedisClient) -> None:
        self._line = redis.line()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent: dict[ReplyBuffer, None] = {}
        self._sending: dict[ReplyBuffer, None] = {}
        self._window = _Window()
        #: Set, and followed by another, at the end of each flush.
        self._flushed = asyncio.Event()

    def write(self, buffer: ReplyBuffer, text: str) -> bool:
        """Add text to a reply; False if too much of it is unsent, and `drain` should come first. Raises LeaseLost."""
        if buffer.lease.lost:
            # The holder was cancelled when it was lost; that it still writes means that this was swallowed.
            raise LeaseLost("The reply was given to somebody else while it was written.")
        buffer.add(text)
        self._schedule(buffer, urgent=buffer.first_chunk)
        buffer.first_chunk = False
        return buffer.size <= MAX_UNSENT

    def pause(self, buffer: ReplyBuffer, reason: str, retry_in: float, until: float) -> None:
        """Say why a reply waits and for how long (seconds; `until` as a Unix time); the next text ends it."""
        event = events.waiting(buffer.reply, reason, retry_in)
        self.note(buffer, ControlEvent(event, orjson.dumps({"reason": reason, "until": until})))

    def note(self, buffer: ReplyBuffer, note: ControlEvent) -> None:
        """Say something between the texts."""
        buffer.add(note)
        buffer.first_chunk = True
        self._schedule(buffer, urgent=True)

    async def drain(self, buffer: ReplyBuffer) -> None:
        """Wait until all of a reply stands in Redis. Raises LeaseLost."""
        while not buffer.lease.lost and (buffer in self._unsent or buffer in self._sending):
            await self._flushed.wait()
        if buffer.lease.lost:
            raise LeaseLost("The reply was given to somebody else before all of it was written.")

    async def run(self) -> None:
        """Send, for ever."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                await self._flush()
        finally:
            await self._line.aclose()

    async def _flush(self) -> None:
        self._stop_timer()
        self._sending, self._unsent = self._unsent, {}
        try:
            # Who has lost the lease has lost words with it; what came after them must not close the gap.
            kept = [buffer for buffer in self._sending if not buffer.lease.lost]
            if kept:
                self._window.flushed(len(kept))
                batch = [(buffer, item) for buffer in kept for item in buffer.take()]
                for start in range(0, len(batch), MAX_BATCH):
                    await self._send(batch[start : start + MAX_BATCH])
        except BaseException:
            # Words may be lost here: these replies go on from the last one that stands in Redis.
            for buffer in self._sending:
                buffer.lease.lose()
            raise
        finally:
            self._sending = {}
            self._flushed.set()
            self._flushed = asyncio.Event()

    def _schedule(self, buffer: ReplyBuffer, *, urgent: bool) -> None:
        self._unsent[buffer] = None
        if urgent:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window.seconds, self._due.set)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _send(self, batch: list[tuple[ReplyBuffer, str | ControlEvent]]) -> None:
        done = await self._publish(*_packed(batch))
        if not all(done):
            for (buffer, _), one in zip(batch, done, strict=True):
                if not one:
                    buffer.lease.lose()

    async def _publish(self, keys: list[str], args: list[Any]) -> list[int]:
        publish = command_of(scripts.PUBLISH, keys, args)
        away = False
        while True:
            try:
                done: list[int] = await self._line.command(*publish)
            except StorageError as error:
                if not away:
                    log.warning("replies wait for Redis: %s", error)
                away = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if away:
                    log.warning("replies go on")
                return done


def _packed(batch: Iterable[tuple[ReplyBuffer, str | ControlEvent]]) -> tuple[list[str], list[Any]]:
    """Keys and arguments of the publish script; with them the texts count as written."""
    keys: list[str] = []
    args: list[Any] = []
    for buffer, item in batch:
        lease = buffer.lease
        if isinstance(item, ControlEvent):
            text, event, waiting = b"", item.event, item.waiting
        else:
            text, event, waiting = item.encode(), events.delta(buffer.reply, item), b"-" if buffer.paused else b""
        keys += (lease.keys.state, lease.keys.events, lease.keys.partial)
        args += (lease.conversation, lease.owner, lease.written, text, event, waiting)
        lease.written += len(text)
        buffer.paused = isinstance(item, ControlEvent) and bool(item.waiting)
    return keys, args
