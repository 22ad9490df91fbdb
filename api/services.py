"""What all requests of a web process share: settings, Redis, the tail, the limits, and whether messages are answered."""

import asyncio
import contextlib
import logging
import os
import uuid
from typing import Any

from api import protocol
from api.limits import Limits
from api.tail import Subscription, Tail
from tasks.errors import StorageError
from tasks.presence import BEAT, WEB, Presence
from tasks.redis_client import RedisClient
from tasks.settings import Settings
from tasks.supervise import forever
from tasks.sweep import revive

log = logging.getLogger("parley.services")

#: Redis connections for commands; the tail has one more.
CONNECTIONS = 2

OK, NO_WORKER, STORAGE_AWAY = "ok", "no_worker", "storage_away"


class Services:
    """One per web process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis = RedisClient(settings.redis_url, max_connections=CONNECTIONS)
        self.tail = Tail(settings.redis_url, self.redis)
        self.limits = Limits(self.redis, settings)
        self.presence = Presence(self.redis, f"{WEB}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
        self.state = OK
        self.readers: set[Subscription] = set()
        self._background: list[asyncio.Task[None]] = []

    @property
    def model(self) -> dict[str, Any]:
        """The model as the snapshot names it."""
        return {"name": self.settings.model_name, "stand_in": self.settings.stand_in}

    @property
    def text_limits(self) -> dict[str, Any]:
        """The limits as the snapshot names them."""
        return {"text": self.settings.limit_text}

    async def start(self) -> None:
        """Start the background tasks."""
        self._background = [
            asyncio.create_task(forever("the tail", self.tail.run)),
            asyncio.create_task(forever("the watch", self._watch)),
        ]

    async def stop(self) -> None:
        """End everything."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        with contextlib.suppress(StorageError):
            await self.presence.leave()
        await self.tail.aclose()
        await self.redis.aclose()

    async def revive(self, conversation: str) -> None:
        """Somebody came back to a conversation that nobody answers: see to it that somebody does."""
        await revive(self.redis, conversation)

    async def _watch(self) -> None:
        while True:
            try:
                await self.presence.beat()
                self._say(OK if self.presence.workers() else NO_WORKER)
            except StorageError as error:
                self._say(STORAGE_AWAY, str(error))
            await asyncio.sleep(BEAT)

    def _say(self, state: str, why: str = "") -> None:
        if state == self.state:
            return
        log.warning("service: %s %s", state, why)
        self.state = state
        for reader in self.readers:
            reader.push(protocol.service(state))
