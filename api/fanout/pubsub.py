"""Listens to the channel on which scripts publish what happens in conversations."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from tasks.errors import StorageUnavailableError
from tasks.storage.client import RedisClient, translate_errors
from tasks.storage.keys import EVENT_CHANNEL

#: Seconds without a message after which Redis is asked whether it is still there, and in which it then has to answer;
#: below every proxy's idle limit.
QUIET_SECONDS = 5.0


class EventListener:
    """One connection that listens.

    Args:
        url: address of Redis, as in REDIS_URL.
    """

    def __init__(self, url: str) -> None:
        # Without retries: redis-py would subscribe anew without a word, and what happened meanwhile would be missed.
        self._redis = RedisClient(url, max_connections=1, retries=0)

    async def listen(self) -> AsyncGenerator[bytes]:
        """Yield notifications as `notify` in `scripts/common.lua` publishes them, one per line.

        The first one is empty: nothing is missed from then on. Raises StorageError when the connection breaks or falls
        silent; the next call connects anew.
        """
        pubsub = self._redis.pubsub()
        asked = False
        try:
            with translate_errors():
                await pubsub.subscribe(EVENT_CHANNEL)
                while True:
                    message: dict[str, Any] | None = await pubsub.get_message(timeout=QUIET_SECONDS)
                    if message is None:
                        if asked:
                            raise StorageUnavailableError("Redis does not answer on the connection that listens.")
                        asked = True
                        await pubsub.ping()
                        continue
                    asked = False
                    if message["type"] == "message":
                        yield message["data"]
                    elif message["type"] == "subscribe":
                        yield b""
        finally:
            async with asyncio.timeout(QUIET_SECONDS):
                await pubsub.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
