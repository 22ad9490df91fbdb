"""Listens to the channels on which scripts publish what happens in conversations."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Any

from tasks.errors import StorageUnavailableError
from tasks.storage.client import RedisClient, translate_errors
from tasks.storage.keys import event_channel

#: Seconds without a message after which Redis is asked whether it is still there, and in which it then has to answer;
#: below every proxy's idle limit.
QUIET_SECONDS = 5.0


class EventListener:
    """One connection that listens to each node in use.

    Args:
        url: address of Redis, as in REDIS_URL.
    """

    def __init__(self, url: str) -> None:
        # Without retries: redis-py would subscribe anew without a word, and what happened meanwhile would be missed.
        self._redis = RedisClient(url, max_connections=1, retries=0)

    async def shards_by_node(self) -> dict[str, frozenset[int]]:
        """Which shards are to be listened to at which node. Raises StorageError."""
        return await self._redis.shards_by_node()

    async def listen(self, node: str, shards: Collection[int]) -> AsyncGenerator[bytes]:
        """Yield notifications as `notify` in `scripts/common.lua` publishes them, one per line.

        The first one is empty: nothing is missed from then on. Raises StorageError when the connection breaks or falls
        silent, or the node has one of the shards no more; the next call connects anew.
        """
        pubsub = await self._redis.node(node).pubsub()
        unconfirmed = len(shards)
        asked = False
        try:
            with translate_errors():
                for shard in shards:
                    # A node takes channels of one slot at a time.
                    await pubsub.ssubscribe(event_channel(shard))
                while True:
                    message: dict[str, Any] | None = await pubsub.get_message(timeout=QUIET_SECONDS)
                    if message is None:
                        if asked:
                            raise StorageUnavailableError("Redis does not answer on the connection that listens.")
                        asked = True
                        await pubsub.ping()
                        continue
                    asked = False
                    match message["type"]:
                        case "smessage":
                            yield message["data"]
                        case "ssubscribe":
                            unconfirmed -= 1
                            if not unconfirmed:
                                yield b""
                        case "sunsubscribe":
                            raise StorageUnavailableError("Redis has moved conversations to another node.")
        finally:
            async with asyncio.timeout(QUIET_SECONDS):
                await pubsub.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
