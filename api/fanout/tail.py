"""Follows the streams of all conversations that a socket of this process reads.

Notifications say in which conversations something has happened, and mostly what. An event that follows the last known
one is passed on as it is. Everything else is read from the streams, which alone are the truth. So the cost is that of
what happens, not of open sockets, nor of who else is talking.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
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
from tasks.storage.keys import SHARDS, ConversationKeys

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
        #: When it was given frames that it has not taken yet (monotonic seconds).
        self._given_at: float | None = None

    @property
    def too_slow(self) -> bool:
        """Whether it fell too far behind."""
        return self._trouble is SlowConsumerError

    @property
    def stuck_for(self) -> float:
        """Seconds for which the frames that it was given wait to be taken; 0 if none do."""
        return 0.0 if self._given_at is None else time.monotonic() - self._given_at

    def push(self, frame: str) -> None:
        """Put a frame behind those that wait."""
        self._count(len(frame))
        over_shared = self._shared.size > MAX_SHARED_BACKLOG and self._size > SMALL_BACKLOG
        if self._size > MAX_BACKLOG or over_shared:
            self.give_up()
        elif self._trouble is None:
            self._frames.append(frame)
        self._something.set()

    def give_up(self) -> None:
        """It is too slow: end the reading, and the sending in which it is stuck."""
        self.interrupt(SlowConsumerError)
        self.on_too_slow()

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
            self._given_at = None
            await self._something.wait()
            self._something.clear()
            if self._trouble:
                raise self._trouble
            if self._frames:
                frames = list(self._frames)
                self.clear()
                self._given_at = time.monotonic()
                yield frames


@dataclass
class _Followed:
    """A conversation that somebody here watches."""

    key: bytes
    shard: int
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


class _Lane:
    """What is listened to and read at one node.

    Args:
        node: its name; '' for a single server.
        shards: the shards that it has.
    """

    def __init__(self, node: str, shards: frozenset[int]) -> None:
        self.node = node
        self.shards = shards
        #: What is to be read next, and whether there is any.
        self.due: dict[bytes, _Followed] = {}
        self.some_due = asyncio.Event()

    def add(self, followed: _Followed) -> None:
        """Read a conversation next."""
        self.due[followed.key] = followed
        self.some_due.set()


class Tail:
    """One per process; `run` has to run beside the sockets.

    Each node of a cluster is listened to and read for itself, so that one that is away does not delay the others.
    """

    def __init__(self, url: str, commands: RedisClient) -> None:
        self._listener = EventListener(url)
        self._commands = commands
        self._followed: dict[bytes, _Followed] = {}
        #: The lane of each shard that a node is known to have.
        self._lanes: dict[int, _Lane] = {}
        #: When a worker's work last came through, and whether it ever did.
        self.heard_at = time.monotonic()
        self.heard = False
        #: Shards whose node cannot be heard.
        self._away: set[int] = set()

    @property
    def away(self) -> bool:
        """Whether some node of Redis cannot be heard."""
        return bool(self._away)

    def join(self, conversation: str, backlog: Backlog | None = None) -> Subscription:
        """Begin to listen, before the conversation is looked at; `begin` then says from where.

        `backlog`: what waits for all readers of the same address.
        """
        name = conversation.encode()
        followed = self._followed.get(name)
        if followed is None:
            keys = ConversationKeys(conversation)
            followed = self._followed[name] = _Followed(keys.events.encode(), keys.shard)
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
                self._drop(followed)

    def readers(self, conversation: str) -> frozenset[Subscription]:
        """Who reads a conversation here."""
        followed = self._followed.get(conversation.encode())
        return frozenset(followed.readers) if followed else frozenset()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._listener.aclose()

    async def run(self) -> None:
        """Listen and read, for ever. If Redis lost events, readers that saw them get ResyncNeededError."""
        poll = asyncio.create_task(self._poll_open())
        running: dict[asyncio.Task[None], _Lane] = {}
        try:
            while True:
                await self._start_lanes(running)
                all_covered = len(self._lanes) == SHARDS
                ended, _ = await asyncio.wait(
                    (poll, *running),
                    timeout=None if all_covered else RETRY_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in ended:
                    if lane := running.pop(task, None):
                        for shard in lane.shards:
                            self._lanes.pop(shard, None)
                    # An unexpected error ends all of it, and is logged where it is started again.
                    task.result()
                if ended:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._lanes.clear()
            await cancel_and_wait([poll, *running])

    async def _start_lanes(self, running: dict[asyncio.Task[None], _Lane]) -> None:
        """Have a lane for each node, with the shards that it has now."""
        try:
            wanted = await self._listener.shards_by_node()
        except StorageError as error:
            self._lose(frozenset(range(SHARDS)) - self._lanes.keys(), error)
            return
        outdated = [task for task, lane in running.items() if wanted.get(lane.node) != lane.shards]
        await cancel_and_wait(outdated)
        for task in outdated:
            lane = running.pop(task)
            for shard in lane.shards:
                self._lanes.pop(shard, None)
            # The node that has a shard now may lack what the one before had published last.
            self._away |= lane.shards
        there = {lane.node for lane in running.values()}
        for node, shards in wanted.items():
            if node not in there:
                lane = _Lane(node, shards)
                self._lanes |= dict.fromkeys(shards, lane)
                running[asyncio.create_task(self._run_lane(lane))] = lane

    async def _run_lane(self, lane: _Lane) -> None:
        """Listen to a node and read from it, until it is away or has other shards."""
        # Not a TaskGroup: it cancels each task once, and a task can swallow that.
        parts = [asyncio.create_task(part) for part in (self._listen(lane), self._read_forever(lane))]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(parts)
            # Both may have failed at once, also in the moment in which the lane is ended.
            for error in filter(None, [part.exception() for part in parts if not part.cancelled()]):
                if not isinstance(error, StorageError):
                    raise error
                self._lose(lane.shards, error)

    def _lose(self, shards: Collection[int], error: StorageError) -> None:
        """Their node cannot be heard: what happens there meanwhile is missed."""
        if not self._away.issuperset(shards):
            log.warning("tail.redis_unavailable error=%s", error)
        self._away.update(shards)

    async def _listen(self, lane: _Lane) -> None:
        """Pass on what is published. Raises StorageError."""
        async with aclosing(self._listener.listen(lane.node, lane.shards)) as pieces:
            async for piece in pieces:
                if piece:
                    for news in piece.split(b"\n"):
                        self._handle_notification(*news.split(b" ", 3))
                else:
                    await self._catch_up(lane)

    async def _catch_up(self, lane: _Lane) -> None:
        """Nothing is missed from now on; read what was before."""
        here = [followed for followed in self._followed.values() if followed.shard in lane.shards]
        if self._away & lane.shards:
            await self._check_all(lane, here)
            log.warning("tail.redis_available")
            self._away -= lane.shards
        for followed in here:
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

    async def _read_forever(self, lane: _Lane) -> None:
        """Read what is due, and pass it on. Raises StorageError."""
        while True:
            await lane.some_due.wait()
            some = dict(islice(lane.due.items(), STREAMS))
            for key in some:
                del lane.due[key]
            if not lane.due:
                lane.some_due.clear()
            if some:
                await self._read(lane, some)

    async def _read(self, lane: _Lane, some: dict[bytes, _Followed]) -> None:
        asked = {key: (followed.cursor, followed.position) for key, followed in some.items()}
        by_slot: dict[int, list[bytes]] = {}
        for key, followed in some.items():
            by_slot.setdefault(followed.shard if lane.node else 0, []).append(key)
        reads = [
            ("XREAD", "COUNT", COUNT, "STREAMS", *keys, *(asked[key][0] for key in keys)) for keys in by_slot.values()
        ]
        # A server that was replaced may have told us, or a socket, of an event that its replacement does not have.
        known = [key for key in some if asked[key][1] != (0, 0)] if self._commands.replicated else []
        before = [("XREVRANGE", key, asked[key][0], "-", "COUNT", 1) for key in known]
        answers = await self._commands.node(lane.node).pipeline(*reads, *before)
        for key, entries in zip(known, answers[len(reads) :], strict=True):
            # Where nothing is before it, the stream has expired since.
            if entries and entries[0][0] != asked[key][0]:
                self._resync(some.pop(key))
        for found in answers[: len(reads)]:
            for key, entries in found or ():
                if key in some:
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
        before, position = followed.position, parse_cursor(cursor)
        followed.advance(position, cursor)
        frame = events.frame(cursor, event)
        for reader in followed.readers:
            if position <= reader.cursor:
                continue
            if before and (0, 0) < before < reader.cursor:
                # It was ahead of the others, and what it saw last did not come by: Redis does not have it any more.
                reader.interrupt(ResyncNeededError)
            else:
                reader.cursor = position
                reader.push(frame)
        followed.open = not event.startswith(_ENDS)

    def _add(self, followed: _Followed) -> None:
        if followed.position is None:
            followed.notified = True
        elif followed.readers and (lane := self._lanes.get(followed.shard)):
            # Without a lane there is no node; the next lane reads all that its node has.
            lane.add(followed)

    def _drop(self, followed: _Followed) -> None:
        if lane := self._lanes.get(followed.shard):
            lane.due.pop(followed.key, None)

    async def _check_all(self, lane: _Lane, here: Sequence[_Followed]) -> None:
        """Find the readers that saw more than Redis still knows."""
        every = [followed for followed in here if followed.position is not None]
        for start in range(0, len(every), CHECKED):
            some = every[start : start + CHECKED]
            found = await self._commands.node(lane.node).pipeline(*map(_find_entry, some))
            for followed, entries in zip(some, found, strict=True):
                if not entries and followed.position != (0, 0):
                    self._resync(followed)

    def _resync(self, followed: _Followed) -> None:
        """Its readers have seen what Redis does not know."""
        followed.advance(None, b"")
        self._drop(followed)
        for reader in followed.readers:
            reader.interrupt(ResyncNeededError)


def _find_entry(followed: _Followed) -> tuple[Any, ...]:
    return ("XRANGE", followed.key, followed.cursor, followed.cursor, "COUNT", 1)
