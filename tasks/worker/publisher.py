"""Gathers the text of all replies of a worker process and sends it to Redis once per display frame.

A trip to Redis costs nearly the same whatever it carries, and nobody sees a wait of one display frame. So text waits
for the text of other replies. The first text of a reply, and whatever is not text, is sent at once.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import orjson

from tasks.errors import LeaseLostError, StorageError, StorageUnavailableError
from tasks.monitoring.background import cancel_and_wait
from tasks.storage import events, scripts
from tasks.storage.client import Part, RedisClient
from tasks.worker.lease import Lease

log = logging.getLogger("parley.publisher")

#: Seconds that text waits at most: one frame of a display with 60 a second.
FLUSH_DELAY = 0.016
#: Characters of one reply that may be unsent; past that its model stream is read no further.
MAX_UNSENT = 16_000
#: Texts and control events in one trip; Lua passes on a few thousand values at once.
MAX_BATCH = 500
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class ControlEvent:
    """An event between the texts; `waiting` is what a snapshot says until the next text, if it is a pause."""

    event: bytes
    waiting: bytes = b""


class ReplyBuffer:
    """What is not yet sent of one reply, in order. Neighbouring texts become one."""

    def __init__(self, lease: Lease, reply: str) -> None:
        self.lease = lease
        self.reply = reply
        #: Characters that are unsent.
        self.size = 0
        #: The next text is the first that people see, or the first after a pause.
        self.first_chunk = True
        self.paused = False
        self._unsent: list[str | ControlEvent] = []

    def add(self, item: str | ControlEvent) -> None:
        """Put text or a control event behind what is unsent."""
        if isinstance(item, str) and self._unsent and isinstance(self._unsent[-1], str):
            self._unsent[-1] += item
        else:
            self._unsent.append(item)
        self.size += len(item) if isinstance(item, str) else 0

    def take(self) -> list[str | ControlEvent]:
        """Hand over what is unsent."""
        taken, self._unsent, self.size = self._unsent, [], 0
        return taken


Item = tuple[ReplyBuffer, str | ControlEvent]


class Publisher:
    """One for all replies of a process; `run` has to run beside them.

    The replies whose conversations are on one node of a cluster share a lane, and a reply stays in its lane. So a node
    that is away does not delay the replies of the others. A single server has one lane.

    Args:
        redis: a client with a connection that no other command can keep busy.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._lanes: dict[str, _Lane] = {}
        self._lane_of: WeakKeyDictionary[ReplyBuffer, _Lane] = WeakKeyDictionary()
        self._new_lane = asyncio.Event()

    def write(self, buffer: ReplyBuffer, text: str) -> bool:
        """Add text to a reply; False if too much of it is unsent, and `drain` should come first.

        Raises LeaseLostError.
        """
        if buffer.lease.lost:
            # The holder was cancelled when it lost the lease; somebody swallowed the cancellation if it still writes.
            raise LeaseLostError("The reply was given to somebody else while it was written.")
        buffer.add(text)
        self._lane(buffer).schedule(buffer, urgent=buffer.first_chunk)
        buffer.first_chunk = False
        return buffer.size <= MAX_UNSENT

    def pause(self, buffer: ReplyBuffer, reason: str, retry_in: float, until: float) -> None:
        """Say why a reply waits: for `retry_in` seconds, `until` a Unix time. The next text ends the pause."""
        event = events.waiting(buffer.reply, reason, retry_in)
        self.send_event(buffer, ControlEvent(event, orjson.dumps({"reason": reason, "until": until})))

    def send_event(self, buffer: ReplyBuffer, event: ControlEvent) -> None:
        """Send an event behind the text that was added before."""
        buffer.add(event)
        buffer.first_chunk = True
        self._lane(buffer).schedule(buffer, urgent=True)

    async def drain(self, buffer: ReplyBuffer) -> None:
        """Wait until all of a reply stands in Redis. Raises LeaseLostError."""
        await self._lane(buffer).drain(buffer)
        if buffer.lease.lost:
            raise LeaseLostError("The reply was given to somebody else before all of it was written.")

    async def run(self) -> None:
        """Send, for ever."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._new_lane.clear()
                for name in self._lanes.keys() - running.keys():
                    running[name] = asyncio.create_task(self._lanes[name].run())
                new = asyncio.create_task(self._new_lane.wait())
                try:
                    ended, _ = await asyncio.wait((new, *running.values()), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel_and_wait([new])
                for task in ended - {new}:
                    task.result()
        finally:
            await cancel_and_wait(running.values())

    async def flush(self) -> None:
        """Send all that is unsent; `run` does it whenever something is due."""
        for lane in self._lanes.values():
            await lane.flush()

    def _lane(self, buffer: ReplyBuffer) -> "_Lane":
        lane = self._lane_of.get(buffer)
        if lane is None:
            name = buffer.lease.node
            if name not in self._lanes:
                self._lanes[name] = _Lane(self._redis)
                self._new_lane.set()
            lane = self._lane_of[buffer] = self._lanes[name]
        return lane


class _Lane:
    """Sends the text of replies together."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent: dict[ReplyBuffer, None] = {}
        self._sending: dict[ReplyBuffer, None] = {}
        #: Set, and followed by another, at the end of each flush.
        self._flushed = asyncio.Event()

    def schedule(self, buffer: ReplyBuffer, *, urgent: bool) -> None:
        """Send what a reply has, at once if it is urgent."""
        self._unsent[buffer] = None
        if urgent:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_DELAY, self._due.set)

    async def drain(self, buffer: ReplyBuffer) -> None:
        """Wait until all of a reply stands in Redis, or its lease is lost."""
        while not buffer.lease.lost and (buffer in self._unsent or buffer in self._sending):
            await self._flushed.wait()

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send all that is unsent."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._sending, self._unsent = self._unsent, {}
        try:
            # After losing the lease, drop later text: writing it would leave a gap.
            kept = [buffer for buffer in self._sending if not buffer.lease.lost]
            batch = [(buffer, item) for buffer in kept for item in buffer.take()]
            for start in range(0, len(batch), MAX_BATCH):
                await self._send(batch[start : start + MAX_BATCH])
        except BaseException:
            # Text may be lost here: these replies go on from the last text that stands in Redis.
            for buffer in self._sending:
                buffer.lease.lose()
            raise
        finally:
            self._sending = {}
            self._flushed.set()
            self._flushed = asyncio.Event()

    async def _send(self, batch: Sequence[Item]) -> None:
        parts = [_pack(buffer, item) for buffer, item in batch]
        try:
            done = await self._publish(parts)
        except StorageError:
            # Redis refuses this for good. One reply is to blame, and only that one may end.
            await self._send_each_alone(batch, parts)
            return
        for (buffer, _), written in zip(batch, done, strict=True):
            if not written:
                buffer.lease.lose()

    async def _send_each_alone(self, batch: Sequence[Item], parts: Sequence[Part]) -> None:
        for (buffer, _), part in zip(batch, parts, strict=True):
            if buffer.lease.lost:
                continue
            try:
                (written,) = await self._publish([part])
            except StorageError as error:
                buffer.lease.break_off(error)
            else:
                if not written:
                    buffer.lease.lose()

    async def _publish(self, parts: Sequence[Part]) -> list[int]:
        """Run the publish script, as often as Redis is away. Raises StorageError if waiting cannot help."""
        waiting = False
        while True:
            try:
                done: list[int] = await self._redis.script_on_parts(scripts.PUBLISH, parts)
            except StorageUnavailableError as error:
                if not waiting:
                    log.warning("publisher.redis_unavailable error=%s", error)
                waiting = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if waiting:
                    log.warning("publisher.redis_available")
                return done


def _pack(buffer: ReplyBuffer, item: str | ControlEvent) -> Part:
    """A part of the publish script; with it the text counts as written."""
    lease = buffer.lease
    if isinstance(item, ControlEvent):
        text, event, waiting = b"", item.event, item.waiting
    else:
        text, event, waiting = item.encode(), events.delta(buffer.reply, item), b"-" if buffer.paused else b""
    args = (lease.conversation, lease.owner, lease.written, text, event, waiting)
    lease.written += len(text)
    buffer.paused = isinstance(item, ControlEvent) and bool(item.waiting)
    return Part(lease.keys.shard, (lease.keys.state, lease.keys.events, lease.keys.partial), args)
