"""Looks after the open sockets of a process: quiet ones get a sign of life, those of expired conversations an end."""

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

#: Seconds between two looks at a socket. One that got nothing between them is told `alive`, so it hears something
#: every 2 * LOOK_SECONDS at least.
LOOK_SECONDS = 6.0
#: Sockets that are looked at in one go.
BATCH = 100


@dataclass(eq=False)
class OpenSocket:
    """One open socket.

    `document`: key of its conversation's document; `told_alive`: it understands the `alive` frame; `cursor`: up to
    where it was read at the last look; `expires_at`: the conversation lives up to then at least (monotonic seconds).
    """

    reader: Subscription
    document: str
    told_alive: bool
    cursor: Cursor = NOWHERE
    expires_at: float = 0.0


class OpenSockets:
    """One per process; `run` has to run beside the sockets.

    A conversation does not expire before the time that Redis named for it, so until then a socket costs no command.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._sockets: dict[Subscription, OpenSocket] = {}

    def add(self, conversation: str, reader: Subscription, *, told_alive: bool) -> None:
        """Look after a socket; `told_alive`: it understands the `alive` frame."""
        self._sockets[reader] = OpenSocket(reader, ConversationKeys(conversation).document, told_alive)

    def remove(self, reader: Subscription) -> None:
        """Look after it no more."""
        self._sockets.pop(reader, None)

    async def run(self) -> None:
        """Look at all of them again and again, for ever."""
        while True:
            await self.look(LOOK_SECONDS)

    async def look(self, seconds: float = 0.0) -> None:
        """Look at each of them once, a few at a time, spread over so many seconds."""
        sockets = list(self._sockets.values())
        batches = [sockets[start : start + BATCH] for start in range(0, len(sockets), BATCH)] or [[]]
        for batch in batches:
            await self._look_at(batch)
            await asyncio.sleep(seconds / len(batches))

    async def _look_at(self, sockets: Sequence[OpenSocket]) -> None:
        for socket in sockets:
            if socket.told_alive and socket.cursor == socket.reader.cursor:
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
