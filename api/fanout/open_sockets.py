"""Checks the open sockets of a process: a quiet one gets a sign of life, one of an expired conversation ends.

A client that sends WebSocket pings and reads nothing makes uvicorn keep an answer to each. No application sees pings.
It sees that memory grows, and who does not take a frame then.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api import frames
from api.fanout.tail import NOWHERE, Cursor, Subscription
from tasks.errors import ResyncNeededError, StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import ConversationKeys

log = logging.getLogger("parley.open_sockets")

#: Seconds between two checks of a socket, and checks without a frame after which it gets `alive`. So it hears something
#: every (QUIET_CHECKS + 1) * CHECK_SECONDS at least, which the wire promises to be 15 seconds.
CHECK_SECONDS = 2.9
QUIET_CHECKS = 4
#: Sockets that are checked in one go.
BATCH = 100
#: Seconds between two looks at the memory, and how much more of it than before makes everybody be asked.
LOOK_SECONDS, GROWTH = 0.25, 0.1
#: Seconds in which who is asked has to take what is sent.
TAKE_SECONDS = 0.5


@dataclass(eq=False)
class OpenSocket:
    """One open socket.

    `document`: key of its conversation's document; `knows_alive`: it understands the `alive` frame; `expires_at`: the
    conversation lives up to then at least (monotonic seconds); `cursor`: up to where it was read at the last check;
    `quiet`: checks since then that found no more.
    """

    reader: Subscription
    document: str
    knows_alive: bool
    expires_at: float
    cursor: Cursor = NOWHERE
    quiet: int = 0


class OpenSockets:
    """One per process; `run` has to run beside the sockets.

    A conversation does not expire before the time that Redis named for it, so until then a socket costs no command.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._sockets: dict[Subscription, OpenSocket] = {}

    def add(self, conversation: str, reader: Subscription, *, knows_alive: bool, lives_for: float) -> None:
        """Begin to check a socket.

        Args:
            knows_alive: it understands the `alive` frame.
            lives_for: seconds for which opening it has prolonged its conversation.
        """
        document, expires_at = ConversationKeys(conversation).document, time.monotonic() + lives_for
        self._sockets[reader] = OpenSocket(reader, document, knows_alive, expires_at)

    def remove(self, reader: Subscription) -> None:
        """Stop checking it."""
        self._sockets.pop(reader, None)

    async def run(self) -> None:
        """Check all of them again and again, for ever."""
        while True:
            await self.check(CHECK_SECONDS)

    async def check(self, seconds: float = 0.0) -> None:
        """Check each of them once, a few at a time, spread over so many seconds."""
        sockets = list(self._sockets.values())
        batches = [sockets[start : start + BATCH] for start in range(0, len(sockets), BATCH)] or [[]]
        for batch in batches:
            await self._check_batch(batch)
            await asyncio.sleep(seconds / len(batches))

    async def watch_memory(self) -> None:
        """Give up those who take nothing whenever this process has grown, for ever."""
        least = _memory()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = _memory()
            least = min(least, now)
            if now > least * (1 + GROWTH):
                await self.give_up_deaf()
                least = _memory()

    async def give_up_deaf(self) -> None:
        """Send each socket a sign of life, and give up those that do not take it.

        Older clients understand no such sign; the kernel finds those (`api/listen.py`).
        """
        asked = [socket.reader for socket in self._sockets.values() if socket.knows_alive]
        for number, reader in enumerate(asked):
            reader.push(frames.ALIVE)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(TAKE_SECONDS)
        deaf = [reader for reader in asked if reader.stuck_for > TAKE_SECONDS / 2]
        for reader in deaf:
            reader.give_up()
        if deaf:
            log.warning("open_sockets.deaf closed=%d", len(deaf))

    async def _check_batch(self, sockets: Sequence[OpenSocket]) -> None:
        for socket in sockets:
            socket.quiet = socket.quiet + 1 if socket.cursor == socket.reader.cursor else 0
            socket.cursor = socket.reader.cursor
            if socket.quiet == QUIET_CHECKS and socket.knows_alive:
                socket.reader.push(frames.ALIVE)
                socket.quiet = 0
        now = time.monotonic()
        due = [socket for socket in sockets if socket.expires_at <= now]
        if not due:
            return
        try:
            left = await self._redis.pipeline(*(("PTTL", socket.document) for socket in due))
        except StorageError as error:
            log.warning("open_sockets.unavailable error=%s", error)
            return
        for socket, milliseconds in zip(due, left, strict=True):
            socket.expires_at = now + milliseconds / 1000
            if milliseconds < 0:
                # Whoever reads anew finds that the conversation is gone, and closes the socket.
                socket.reader.interrupt(ResyncNeededError)


def _memory() -> int:
    """Pages of memory that this process has, as proc(5) tells; 0 on other systems than Linux."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
