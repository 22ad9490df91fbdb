"""Follows the streams of all conversations that somebody here watches.

One read blocks on the rings, which say in which conversations something has happened, and mostly what. An event that
follows the last one known is passed on as it is; all else is read from the streams themselves, in one go. So the
cost is that of what happens, not of the open tabs, nor of who else is talking.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tasks import events
from tasks.conversations import ring
from tasks.errors import StorageError
from tasks.keys import RINGS, ConversationKeys
from tasks.redis_client import Line, RedisClient

log = logging.getLogger("parley.tail")

#: Milliseconds that one read blocks; below every idle limit on the way.
BLOCK_MS = 5000
#: Two reads so close (seconds) are followed by a rest as long, so that a busy moment is read in one go.
PACE = 0.002
#: Entries of one stream in one read.
COUNT = 500
#: Characters that may wait for one slow reader.
MOST_BEHIND = 256_000
#: Streams checked in one go after Redis was away.
CHECKED = 200
#: Streams in one read.
STREAMS = 500
#: Seconds, at least, between two looks at all conversations in which something is going on, should a ring be missed;
#: at most those and BLOCK_MS.
LOOK = 2.0

Cursor = tuple[int, int]
#: Where a reader stands that has not said yet from where it wants to read on: after everything.
NOWHERE: Cursor = (1 << 63, 0)

_ACCEPTED = b'"type":"message.accepted"'
_ENDS = (b'"type":"reply.finished"', b'"type":"reply.failed"', b'"type":"conversation.deleted"')


def parse_cursor(cursor: str | bytes) -> Cursor:
    """A stream id as two integers. Raises ValueError."""
    ms, _, seq = (cursor.decode() if isinstance(cursor, bytes) else cursor).partition("-")
    return int(ms), int(seq)


class Behind(Exception):
    """A reader fell too far behind and has to come back with its cursor."""


class Resync(Exception):
    """Redis forgot what this reader had seen: it needs a snapshot."""


class Subscription:
    """One reader of one conversation: iterating yields lists of frames, each frame once and in order.

    Iterating raises Behind or Resync.
    """

    def __init__(self) -> None:
        #: What it was given last; nothing yet comes after NOWHERE.
        self.cursor = NOWHERE
        self._frames: deque[str] = deque()
        self._size = 0
        self._trouble: type[Behind] | type[Resync] | None = None
        self._something = asyncio.Event()
        #: Called when the reader falls too far behind; by then it is stuck in sending.
        self.on_behind: Callable[[], object] = lambda: None

    @property
    def behind(self) -> bool:
        """Whether it fell too far behind."""
        return self._trouble is Behind

    def push(self, frame: str) -> None:
        """Put a frame behind those that wait."""
        self._size += len(frame)
        if self._size > MOST_BEHIND:
            self.interrupt(Behind)
            self.on_behind()
        elif self._trouble is None:
            self._frames.append(frame)
        self._something.set()

    def interrupt(self, trouble: type[Behind] | type[Resync]) -> None:
        """End the reading; what waits is dropped."""
        self._frames.clear()
        self._size = 0
        self.cursor = NOWHERE
        self._trouble = trouble
        self._something.set()

    def restart(self) -> None:
        """Read on after a Resync."""
        self._trouble = None

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        while True:
            await self._something.wait()
            self._something.clear()
            if self._trouble:
                raise self._trouble
            if self._frames:
                frames, self._frames, self._size = list(self._frames), deque(), 0
                yield frames


@dataclass
class _Followed:
    """A conversation that somebody here watches."""

    conversation: str
    key: bytes
    readers: set[Subscription] = field(default_factory=set)
    #: Up to where it was read; None until its first reader knows where it begins.
    position: Cursor | None = None
    #: The position that the read in progress goes on from.
    asked: Cursor | None = None
    #: Something happened before its first reader knew where to begin.
    rung: bool = False
    #: Something is going on in it: its last event was not the end of a reply.
    open: bool = False


class Tail:
    """One per process; `run` has to run beside the sockets."""

    def __init__(self, url: str, commands: RedisClient) -> None:
        self._reading = Line(url, timeout=BLOCK_MS / 1000 * 2)
        self._commands = commands
        self._followed: dict[str, _Followed] = {}
        #: What is to be read next.
        self._due: dict[bytes, _Followed] = {}
        #: When a worker's work last came through, and whether it ever did.
        self.heard_at = time.monotonic()
        self.heard = False
        #: Redis could not be read, and nobody has looked yet at what it still knows.
        self._away = False

    def join(self, conversation: str) -> Subscription:
        """Begin to listen, before the conversation is looked at; `begin` then says from where."""
        followed = self._followed.get(conversation)
        if followed is None:
            key = ConversationKeys(conversation).events.encode()
            followed = self._followed[conversation] = _Followed(conversation, key)
        reader = Subscription()
        followed.readers.add(reader)
        return reader

    async def begin(self, conversation: str, reader: Subscription, cursor: str, *, busy: bool) -> None:
        """The reader knows everything up to `cursor`; `busy` if there may be more in the stream already."""
        followed = self._followed[conversation]
        reader.cursor = at = parse_cursor(cursor)
        behind = followed.position is not None and at < followed.position
        followed.position = at if followed.position is None else min(at, followed.position)
        followed.open = followed.open or busy
        if busy or behind or followed.rung:
            followed.rung = False
            await self._commands.command(*ring(conversation))

    def leave(self, conversation: str, reader: Subscription) -> None:
        """Stop listening."""
        followed = self._followed.get(conversation)
        if followed:
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[conversation]
                self._due.pop(followed.key, None)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._reading.aclose()

    async def run(self) -> None:
        """Read, for ever. After Redis was away, whoever saw more than it still knows gets a Resync."""
        while True:
            try:
                await self._follow()
            except StorageError as error:
                if not self._away:
                    log.warning("the tail waits for Redis: %s", error)
                self._away = True
                await asyncio.sleep(0.25)

    async def _follow(self) -> None:
        last = await self._reading.command("XREVRANGE", RINGS, "+", "-", "COUNT", 1)
        heard = last[0][0] if last else b"0-0"
        if self._away:
            await self._check_all()
            log.warning("the tail goes on")
            self._away = False
        for followed in self._followed.values():
            self._add(followed)
        looked = read = time.monotonic()
        while True:
            heard = await self._listen(heard)
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                for followed in self._followed.values():
                    if followed.open:
                        self._add(followed)
            await self._read()
            before, read = read, time.monotonic()
            if read - before < PACE:
                await asyncio.sleep(PACE)

    async def _listen(self, heard: bytes) -> bytes:
        """Wait for rings, unless there is something to read anyway; returns up to where they are heard."""
        wait = () if self._due else ("BLOCK", BLOCK_MS)
        answer = await self._reading.command("XREAD", "COUNT", COUNT, *wait, "STREAMS", RINGS, heard)
        for cursor, fields in answer[0][1] if answer else ():
            heard = cursor
            for conversation, news in zip(fields[::2], fields[1::2], strict=True):
                if followed := self._followed.get(conversation.decode()):
                    self._hear(followed, news)
        return heard

    def _hear(self, followed: _Followed, news: bytes) -> None:
        """Pass on an event that is the next one; anything else means that there is something to read."""
        if news and followed.position and followed.key not in self._due:
            before, cursor, event = news.split(b" ", 2)
            if parse_cursor(before) == followed.position:
                self._pass_on(followed, cursor, event)
                return
        self._add(followed)

    async def _read(self) -> None:
        """Read what is due, and pass it on."""
        some = dict(islice(self._due.items(), STREAMS))
        if not some:
            return
        cursors = []
        for key, followed in some.items():
            del self._due[key]
            followed.asked = followed.position
            cursors.append(b"%d-%d" % (followed.position or (0, 0)))
        for key, entries in await self._reading.command("XREAD", "COUNT", COUNT, "STREAMS", *some, *cursors) or ():
            self._deliver(some[key], entries)

    def _deliver(self, followed: _Followed, entries: list[Any]) -> None:
        if followed.position != followed.asked or len(entries) == COUNT:
            # There is more, or a reader who knows less has joined meanwhile: the next read begins where it stands.
            self._add(followed)
        if followed.position != followed.asked:
            return
        for cursor, (_, event) in entries:
            self._pass_on(followed, cursor, event)

    def _pass_on(self, followed: _Followed, cursor: bytes, event: bytes) -> None:
        """Give an event to those who do not have it yet."""
        followed.position = position = parse_cursor(cursor)
        frame = events.frame(cursor, event)
        for reader in followed.readers:
            if position > reader.cursor:
                reader.cursor = position
                reader.push(frame)
        if not event.startswith(_ACCEPTED):
            self.heard_at, self.heard = time.monotonic(), True
        followed.open = not event.startswith(_ENDS)

    def _add(self, followed: _Followed) -> None:
        if followed.position is None:
            followed.rung = True
        elif followed.readers:
            self._due[followed.key] = followed

    async def _check_all(self) -> None:
        """Find the readers that saw more than Redis still knows."""
        every = [followed for followed in self._followed.values() if followed.position is not None]
        for start in range(0, len(every), CHECKED):
            some = every[start : start + CHECKED]
            found = await self._commands.together(*map(_look_up, some))
            for followed, entries in zip(some, found, strict=True):
                if not entries and followed.position != (0, 0):
                    followed.position = None
                    self._due.pop(followed.key, None)
                    for reader in followed.readers:
                        reader.interrupt(Resync)


def _look_up(followed: _Followed) -> tuple[Any, ...]:
    cursor = b"%d-%d" % (followed.position or (0, 0))
    return ("XRANGE", followed.key, cursor, cursor, "COUNT", 1)
