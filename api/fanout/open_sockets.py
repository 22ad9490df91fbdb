"""Checks the open sockets of a process: a quiet one gets a sign of life, one of an expired conversation ends."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from api import frames
from api.fanout.tail import NOWHERE, Cursor, Subscription
from tasks.errors import ResyncNeededError, StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import ConversationKeys

log = logging.getLogger("parley.open_sockets")

#: Seconds between two checks of a socket. A socket that got nothing between two checks gets `alive`, so it hears
#: something every 2 * CHECK_SECONDS at least.
CHECK_SECONDS = 6.0
#: Sockets that are checked in one go.
BATCH = 100


@dataclass(eq=False)
class OpenSocket:
    """One open socket.

    `document`: key of its conversation's document; `knows_alive`: it understands the `alive` frame; `cursor`: up to
    where it was read at the last check; `expires_at`: the conversation lives up to then at least (monotonic seconds).
    """

    reader: Subscription
    document: str
    knows_alive: bool
    cursor: Cursor = NOWHERE
    expires_at: float = 0.0


class OpenSockets:
    """One per process; `run` has to run beside the sockets.

    A conversation does not expire before the time that Redis named for it, so until then a socket costs no command.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._sockets: dict[Subscription, OpenSocket] = {}

    def add(self, conversation: str, reader: Subscription, *, knows_alive: bool) -> None:
        """Begin to check a socket; `knows_alive`: it understands the `alive` frame."""
        self._sockets[reader] = OpenSocket(reader, ConversationKeys(conversation).document, knows_alive)

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

    async def _check_batch(self, sockets: Sequence[OpenSocket]) -> None:
        for socket in sockets:
            if socket.knows_alive and socket.cursor == socket.reader.cursor:
                socket.reader.push(frames.ALIVE)
            socket.cursor = socket.reader.cursor
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
