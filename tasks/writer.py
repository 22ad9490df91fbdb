"""Gathers what all replies of a worker process say and sends it to Redis in one go, a few milliseconds apart."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from tasks import events, scripts
from tasks.conversations import ring
from tasks.errors import LeaseLost, StorageError
from tasks.lease import Lease
from tasks.redis_client import Command, RedisClient, command_of

log = logging.getLogger("parley.writer")

#: Seconds that text waits for company; the first words of a reply do not wait.
WINDOW = 0.005
#: Characters of one reply that may be unsent; past that its model stream is read no further.
MOST_UNSENT = 16_000
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class Note:
    """An event between the texts; `waiting` is what a snapshot says until the next text, if it is a pause."""

    event: bytes
    waiting: bytes = b""


class Strand:
    """One reply's way to Redis: what is not yet sent, in order, with neighbouring texts made one."""

    def __init__(self, lease: Lease, reply: str) -> None:
        self.lease = lease
        self.reply = reply
        self.size = 0
        #: The next text is the first that people see, or the first after a pause.
        self.fresh = True
        self.paused = False
        self._unsent: list[str | Note] = []

    def add(self, item: str | Note) -> None:
        """Put text or a note behind what is unsent."""
        if isinstance(item, str) and self._unsent and isinstance(self._unsent[-1], str):
            self._unsent[-1] += item
        else:
            self._unsent.append(item)
        self.size += len(item) if isinstance(item, str) else 0

    def take(self) -> list[str | Note]:
        """Hand over what is unsent."""
        taken, self._unsent, self.size = self._unsent, [], 0
        return taken


class Writer:
    """One for all replies of a process; `run` has to run beside them."""

    def __init__(self, redis: RedisClient) -> None:
        self._line = redis.line()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent: dict[Strand, None] = {}
        self._sending: dict[Strand, None] = {}
        self._sent = asyncio.Condition()

    async def write(self, strand: Strand, text: str) -> None:
        """Add text to a reply; waits only while too much of it is unsent. Raises LeaseLost."""
        if strand.lease.lost:
            # The holder was cancelled when it was lost; that it still writes means that this was swallowed.
            raise LeaseLost("The reply was given to somebody else while it was written.")
        strand.add(text)
        self._schedule(strand, urgent=strand.fresh)
        strand.fresh = False
        if strand.size > MOST_UNSENT:
            await self.drain(strand)

    def pause(self, strand: Strand, reason: str, retry_in: float, until: float) -> None:
        """Say why a reply waits and for how long (seconds; `until` as a Unix time); the next text ends it."""
        event = events.waiting(strand.reply, reason, retry_in)
        self.note(strand, Note(event, orjson.dumps({"reason": reason, "until": until})))

    def note(self, strand: Strand, note: Note) -> None:
        """Say something between the texts."""
        strand.add(note)
        strand.fresh = True
        self._schedule(strand, urgent=True)

    async def drain(self, strand: Strand) -> None:
        """Wait until all of a reply stands in Redis. Raises LeaseLost."""
        self._due.set()
        async with self._sent:
            await self._sent.wait_for(
                lambda: strand.lease.lost or (strand not in self._unsent and strand not in self._sending)
            )
        if strand.lease.lost:
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
            kept = [strand for strand in self._sending if not strand.lease.lost]
            if kept:
                await self._send([(strand, item) for strand in kept for item in strand.take()])
        except BaseException:
            # Words may be lost here: these replies go on from the last one that stands in Redis.
            for strand in self._sending:
                strand.lease.lose()
            raise
        finally:
            self._sending = {}
            async with self._sent:
                self._sent.notify_all()

    def _schedule(self, strand: Strand, *, urgent: bool) -> None:
        self._unsent[strand] = None
        if urgent:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW, self._due.set)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _send(self, batch: list[tuple[Strand, str | Note]]) -> None:
        keys, args = _packed(batch)
        bell = ring(*{strand.lease.conversation: None for strand, _ in batch})
        for (strand, item), done in zip(batch, await self._publish(keys, args, bell), strict=True):
            if not done:
                strand.lease.lose()
            elif isinstance(item, str):
                strand.lease.written += len(item.encode())

    async def _publish(self, keys: list[str], args: list[Any], bell: Command) -> list[int]:
        publish = command_of(scripts.PUBLISH, keys, args)
        away = False
        while True:
            try:
                done: list[int] = (await self._line.together(publish, bell))[0]
            except StorageError as error:
                if not away:
                    log.warning("replies wait for Redis: %s", error)
                away = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if away:
                    log.warning("replies go on")
                return done


def _packed(batch: Iterable[tuple[Strand, str | Note]]) -> tuple[list[str], list[Any]]:
    """Keys and arguments of the publish script."""
    keys: list[str] = []
    args: list[Any] = []
    ahead: dict[Strand, int] = {}
    for strand, item in batch:
        lease = strand.lease
        keys += (lease.keys.state, lease.keys.events, lease.keys.partial)
        if isinstance(item, Note):
            args += (lease.owner, 0, b"", item.event, item.waiting)
            strand.paused = bool(item.waiting)
            continue
        text = item.encode()
        offset = ahead.get(strand, lease.written)
        ahead[strand] = offset + len(text)
        args += (lease.owner, offset, text, events.delta(strand.reply, item), b"-" if strand.paused else b"")
        strand.paused = False
    return keys, args
