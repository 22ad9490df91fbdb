"""Follows the streams of all conversations that somebody here watches, with one blocked read for all of them.

A conversation is read only while something is going on in it: its stream joins the read when a ring says so,
and leaves it with the end of the reply. So the cost is that of the talking ones, not of the open tabs.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tasks import events
from tasks.errors import StorageError
from tasks.keys import RINGS, ConversationKeys
from tasks.redis_client import Line, RedisClient

log = logging.getLogger("parley.tail")

#: Milliseconds that one read blocks; below every idle limit on the way.
BLOCK_MS = 5000
#: Seconds between two looks in a busy time, and how many in a row may find nothing before a read blocks again:
#: to block on many streams costs Redis three times what a look at them costs.
PACE = 0.003
LOOKS = 3
#: Entries of one stream in one read.
COUNT = 500
#: Characters that may wait for one slow reader.
MOST_BEHIND = 256_000
#: Streams checked in one go after Redis was away.
CHECKED = 200

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
    rung: bool = False
    #: When its last reply ended and when it was last rung, by Redis' clock.
    ended_ms: int = 0
    rung_ms: int = 0


class Tail:
    """One per process; `run` has to run beside the sockets."""

    def __init__(self, url: str, commands: RedisClient) -> None:
        self._reading = Line(url, timeout=BLOCK_MS / 1000 * 2)
        self._commands = commands
        self._followed: dict[str, _Followed] = {}
        self._active: dict[bytes, _Followed] = {}
        #: When a worker's work last came through, and whether it ever did.
        self.heard_at = time.monotonic()
        self.heard = False
        self._client_id = 0
        #: Redis could not be read, and nobody has looked yet at what it still knows.
        self._away = False
        self._reads = 0
        self._in_read = False

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
        """The reader knows everything up to `cursor`; `busy` if more is to come without a ring."""
        followed = self._followed[conversation]
        reader.cursor = at = parse_cursor(cursor)
        behind = followed.position is not None and at < followed.position
        followed.position = at if followed.position is None else min(at, followed.position)
        if busy or behind or followed.rung:
            await self._activate(followed)

    def leave(self, conversation: str, reader: Subscription) -> None:
        """Stop listening."""
        followed = self._followed.get(conversation)
        if followed:
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[conversation]
                self._active.pop(followed.key, None)

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
        self._client_id = await self._reading.command("CLIENT", "ID")
        last = await self._reading.command("XREVRANGE", RINGS, "+", "-", "COUNT", 1)
        heard = last[0][0] if last else b"0-0"
        if self._away:
            await self._check_all()
            log.warning("the tail goes on")
            self._away = False
        for followed in self._followed.values():
            self._add(followed)
        looks = 0
        while True:
            blocking = looks == 0
            answer = await self._read(heard, blocking)
            heard = self._take(answer, heard)
            if blocking:
                # Redis up to 7.0 ends a blocked read with the first stream that gets something: the next look,
                # at once, has the others, which mostly got theirs at the same time.
                looks = LOOKS if answer else 0
            else:
                looks = LOOKS if answer else looks - 1
                await asyncio.sleep(PACE)

    def _take(self, answer: list[Any], heard: bytes) -> bytes:
        """Pass on what was read; returns up to where the rings are heard."""
        for key, entries in answer:
            if key in self._active:
                self._deliver(self._active[key], entries)
        for cursor, (_, conversation) in dict(answer).get(RINGS.encode(), ()):
            self._hear(conversation.decode(), parse_cursor(cursor))
            heard = cursor
        return heard

    async def _read(self, heard: bytes, blocking: bool) -> list[Any]:
        keys, cursors = [RINGS.encode()], [heard]
        for followed in self._active.values():
            followed.asked = followed.position
            keys.append(followed.key)
            cursors.append(b"%d-%d" % (followed.position or (0, 0)))
        self._reads += 1
        self._in_read = blocking
        block = ("BLOCK", BLOCK_MS) if blocking else ()
        try:
            return await self._reading.command("XREAD", "COUNT", COUNT, *block, "STREAMS", *keys, *cursors) or []
        finally:
            self._in_read = False

    def _deliver(self, followed: _Followed, entries: list[Any]) -> None:
        if followed.position != followed.asked:
            # A reader who knows less has joined meanwhile: the next read begins where it stands.
            return
        for entry, (_, event) in entries:
            cursor = parse_cursor(entry)
            frame = events.frame(entry, event)
            for reader in followed.readers:
                if cursor > reader.cursor:
                    reader.cursor = cursor
                    reader.push(frame)
            if not event.startswith(_ACCEPTED):
                self.heard_at, self.heard = time.monotonic(), True
            followed.position = cursor
            if event.startswith(_ENDS):
                followed.ended_ms = cursor[0]
            # What a ring announced after this end is still to come.
            if event.startswith(_ENDS) and cursor[0] > followed.rung_ms and len(entries) < COUNT:
                self._active.pop(followed.key, None)
            else:
                self._active[followed.key] = followed

    def _hear(self, conversation: str, cursor: Cursor) -> None:
        followed = self._followed.get(conversation)
        if followed is None:
            return
        followed.rung = followed.position is None
        followed.rung_ms = cursor[0]
        # A ring from before the end that was read in the same go announces nothing new.
        if cursor[0] >= followed.ended_ms:
            self._add(followed)

    def _add(self, followed: _Followed) -> None:
        if followed.position is not None:
            self._active[followed.key] = followed

    async def _activate(self, followed: _Followed) -> None:
        """Have a stream read from now on, also if a read without it is blocked already."""
        followed.rung = False
        self._add(followed)
        read = self._reads
        while self._in_read and self._reads == read:
            if await self._commands.command("CLIENT", "UNBLOCK", self._client_id):
                return
            await asyncio.sleep(0.001)

    async def _check_all(self) -> None:
        """Find the readers that saw more than Redis still knows."""
        every = [followed for followed in self._followed.values() if followed.position is not None]
        for start in range(0, len(every), CHECKED):
            some = every[start : start + CHECKED]
            found = await self._commands.together(*map(_look_up, some))
            for followed, entries in zip(some, found, strict=True):
                if not entries and followed.position != (0, 0):
                    followed.position = None
                    self._active.pop(followed.key, None)
                    for reader in followed.readers:
                        reader.interrupt(Resync)


def _look_up(followed: _Followed) -> tuple[Any, ...]:
    cursor = b"%d-%d" % (followed.position or (0, 0))
    return ("XRANGE", followed.key, cursor, cursor, "COUNT", 1)
