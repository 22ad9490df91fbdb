"""Follows the streams of all conversations that a socket of this process reads.

Notifications say in which conversations something has happened, and mostly what. An event that follows the last known
one is passed on as it is. Everything else is read from the streams, which alone are the truth. So the cost is that of
what happens, not of open sockets, nor of who else is talking.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from api.fanout.pubsub import EventListener
from tasks.errors import ResyncNeededError, SlowConsumerError, StorageError
from tasks.monitoring import canary
from tasks.monitoring.background import cancel_and_wait
from tasks.storage import events
from tasks.storage.client import RedisClient
from tasks.storage.keys import ConversationKeys

log = logging.getLogger("parley.tail")

#: Entries of one stream in one read.
COUNT = 500
#: Characters that may wait for one slow reader.
MAX_BACKLOG = 256_000
#: Characters that may wait for all readers of one address. Above that, each of them with more than SMALL_BACKLOG is
#: closed. So a reader that keeps up is never closed because of another one.
MAX_SHARED_BACKLOG, SMALL_BACKLOG = 4_000_000, 32_000
#: Streams checked in one go after Redis was away.
CHECKED = 200
#: Streams in one read.
STREAMS = 500
#: Seconds between two reads of all conversations in which something is going on, should a notification be missed.
POLL_SECONDS = 2.0
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 0.25

Cursor = tuple[int, int]
#: Cursor of a reader before `begin`: later than every event, so it receives none.
NOWHERE: Cursor = (1 << 63, 0)

#: Beginnings of the events that only workers write.
_OF_WORKERS = (b'"type":"reply.started"', b'"type":"reply.delta"', b'"type":"reply.waiting"', canary.EVENT)
#: Beginnings of the events that end a reply: no other event follows them on its own.
_ENDS = (b'"type":"reply.finished"', b'"type":"reply.failed"', b'"type":"conversation.deleted"', canary.EVENT)


def parse_cursor(cursor: str | bytes) -> Cursor:
    """A stream id as two integers. Raises ValueError."""
    ms, _, seq = (cursor.decode() if isinstance(cursor, bytes) else cursor).partition("-")
    return int(ms), int(seq)


class Backlog:
    """What waits for several readers together, in characters."""

    def __init__(self) -> None:
        self.size = 0


class Subscription:
    """One reader of one conversation: iterating yields lists of frames, each frame once and in order.

    Iterating raises SlowConsumerError or ResyncNeededError.

    Args:
        backlog: shared with other readers of the same address; None for a reader that is no visitor's.
    """

    def __init__(self, backlog: Backlog | None = None) -> None:
        self._shared = backlog or Backlog()
        #: What it was given last; nothing yet comes after NOWHERE.
        self.cursor = NOWHERE
        self._frames: deque[str] = deque()
        self._size = 0
        self._trouble: type[SlowConsumerError] | type[ResyncNeededError] | None = None
        self._something = asyncio.Event()
        #: Called when the reader falls too far behind; by then it is stuck in sending.
        self.on_too_slow: Callable[[], object] = lambda: None

    @property
    def too_slow(self) -> bool:
        """Whether it fell too far behind."""
        return self._trouble is SlowConsumerError

    def push(self, frame: str) -> None:
        """Put a frame behind those that wait."""
        self._count(len(frame))
        over_shared = self._shared.size > MAX_SHARED_BACKLOG and self._size > SMALL_BACKLOG
        if self._size > MAX_BACKLOG or over_shared:
            self.interrupt(SlowConsumerError)
            self.on_too_slow()
        elif self._trouble is None:
            self._frames.append(frame)
        self._something.set()

    def interrupt(self, trouble: type[SlowConsumerError] | type[ResyncNeededError]) -> None:
        """End the reading; what waits is dropped."""
        self.clear()
        self.cursor = NOWHERE
        self._trouble = trouble
        self._something.set()

    def clear(self) -> None:
        """Drop what waits."""
        self._frames.clear()
        self._count(-self._size)

    def _count(self, size: int) -> None:
        self._size += size
        self._shared.size += size

    def restart(self) -> None:
        """Read on after a ResyncNeededError."""
        self._trouble = None

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        while True:
            await self._something.wait()
            self._something.clear()
            if self._trouble:
                raise self._trouble
            if self._frames:
                frames = list(self._frames)
                self.clear()
                yield frames


@dataclass
class _Followed:
    """A conversation that somebody here watches."""

    key: bytes
    readers: set[Subscription] = field(default_factory=set)
    #: Up to where it was read, also as Redis writes it; None until its first reader knows where it begins.
    position: Cursor | None = None
    cursor: bytes = b""
    #: Something happened before its first reader knew where to begin.
    notified: bool = False
    #: Something is going on in it: its last event was not the end of a reply.
    open: bool = False

    def advance(self, position: Cursor | None, cursor: bytes) -> None:
        """It was read up to there."""
        self.position, self.cursor = position, cursor


class Tail:
    """One per process; `run` has to run beside the sockets."""

    def __init__(self, url: str, commands: RedisClient) -> None:
        self._listener = EventListener(url)
        self._commands = commands
        self._followed: dict[bytes, _Followed] = {}
        #: What is to be read next, and whether there is any.
        self._due: dict[bytes, _Followed] = {}
        self._some_due = asyncio.Event()
        #: When a worker's work last came through, and whether it ever did.
        self.heard_at = time.monotonic()
        self.heard = False
        #: Redis cannot be heard.
        self.away = False

    def join(self, conversation: str, backlog: Backlog | None = None) -> Subscription:
        """Begin to listen, before the conversation is looked at; `begin` then says from where.

        `backlog`: what waits for all readers of the same address.
        """
        name = conversation.encode()
        followed = self._followed.get(name)
        if followed is None:
            followed = self._followed[name] = _Followed(ConversationKeys(conversation).events.encode())
        reader = Subscription(backlog)
        followed.readers.add(reader)
        return reader

    def begin(self, conversation: str, reader: Subscription, cursor: str, *, busy: bool) -> None:
        """The reader knows everything up to `cursor`; `busy` if there may be more in the stream already."""
        followed = self._followed[conversation.encode()]
        reader.cursor = at = parse_cursor(cursor)
        too_slow = followed.position is not None and at < followed.position
        if followed.position is None or too_slow:
            followed.advance(at, cursor.encode())
        followed.open = followed.open or busy
        if busy or too_slow or followed.notified:
            followed.notified = False
            self._add(followed)

    def leave(self, conversation: str, reader: Subscription) -> None:
        """Stop listening."""
        reader.clear()
        followed = self._followed.get(conversation.encode())
        if followed:
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[conversation.encode()]
                self._due.pop(followed.key, None)

    def readers(self, conversation: str) -> frozenset[Subscription]:
        """Who reads a conversation here."""
        followed = self._followed.get(conversation.encode())
        return frozenset(followed.readers) if followed else frozenset()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._listener.aclose()

    async def run(self) -> None:
        """Listen and read, for ever. If Redis lost events, readers that saw them get ResyncNeededError."""
        # Not a TaskGroup: it cancels each task once, and a task can swallow that.
        parts = [
            asyncio.create_task(part) for part in (self._listen_forever(), self._read_forever(), self._poll_open())
        ]
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in ended:
                part.result()
        finally:
            await cancel_and_wait(parts)

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except StorageError as error:
                if not self.away:
                    log.warning("tail.redis_unavailable error=%s", error)
                self.away = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        """Pass on what is published."""
        async with aclosing(self._listener.listen()) as pieces:
            async for piece in pieces:
                if piece:
                    for news in piece.split(b"\n"):
                        self._handle_notification(*news.split(b" ", 3))
                else:
                    await self._catch_up()

    async def _catch_up(self) -> None:
        """Nothing is missed from now on; read what was before."""
        if self.away:
            await self._check_all()
            log.warning("tail.redis_available")
            self.away = False
        for followed in self._followed.values():
            self._add(followed)

    def _handle_notification(
        self, conversation: bytes, before: bytes = b"", cursor: bytes = b"", event: bytes = b""
    ) -> None:
        """Pass on an event that is the next one; anything else means that there is something to read."""
        followed = self._followed.get(conversation)
        if followed is None:
            return
        if before and before == followed.cursor:
            self._pass_on(followed, cursor, event)
            if event.startswith(_OF_WORKERS):
                self.heard_at, self.heard = time.monotonic(), True
        else:
            self._add(followed)

    async def _poll_open(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.read_open()

    def read_open(self) -> None:
        """Read all conversations in which something is going on, should a notification be missed."""
        for followed in self._followed.values():
            if followed.open:
                self._add(followed)

    async def _read_forever(self) -> None:
        """Read what is due, and pass it on."""
        while True:
            await self._some_due.wait()
            try:
                await self._read(dict(islice(self._due.items(), STREAMS)))
            except StorageError as error:
                if not self.away:
                    log.warning("tail.read_failed error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
            if not self._due:
                self._some_due.clear()

    async def _read(self, some: dict[bytes, _Followed]) -> None:
        asked = {key: (followed.cursor, followed.position) for key, followed in some.items()}
        for key in some:
            del self._due[key]
        try:
            cursors = (cursor for cursor, _ in asked.values())
            found = some and await self._commands.command("XREAD", "COUNT", COUNT, "STREAMS", *some, *cursors)
        except StorageError:
            for followed in some.values():
                self._add(followed)
            raise
        for key, entries in found or ():
            self._deliver(some[key], asked[key][1], entries)

    def _deliver(self, followed: _Followed, asked: Cursor | None, entries: list[Any]) -> None:
        if len(entries) == COUNT:
            self._add(followed)
        for cursor, fields in entries:
            if followed.position is None or asked is None or followed.position < asked:
                # A reader who knows less has joined meanwhile; for it all of this is read again.
                return
            if parse_cursor(cursor) > followed.position:
                self._pass_on(followed, cursor, fields[events.FIELD])

    def _pass_on(self, followed: _Followed, cursor: bytes, event: bytes) -> None:
        """Give an event to those who do not have it yet."""
        position = parse_cursor(cursor)
        followed.advance(position, cursor)
        frame = events.frame(cursor, event)
        for reader in followed.readers:
            if position > reader.cursor:
                reader.cursor = position
                reader.push(frame)
        followed.open = not event.startswith(_ENDS)

    def _add(self, followed: _Followed) -> None:
        if followed.position is None:
            followed.notified = True
        elif followed.readers:
            self._due[followed.key] = followed
            self._some_due.set()

    async def _check_all(self) -> None:
        """Find the readers that saw more than Redis still knows."""
        every = [followed for followed in self._followed.values() if followed.position is not None]
        for start in range(0, len(every), CHECKED):
            some = every[start : start + CHECKED]
            found = await self._commands.pipeline(*map(_find_entry, some))
            for followed, entries in zip(some, found, strict=True):
                if not entries and followed.position != (0, 0):
                    followed.advance(None, b"")
                    self._due.pop(followed.key, None)
                    for reader in followed.readers:
                        reader.interrupt(ResyncNeededError)


def _find_entry(followed: _Followed) -> tuple[Any, ...]:
    return ("XRANGE", followed.key, followed.cursor, followed.cursor, "COUNT", 1)
