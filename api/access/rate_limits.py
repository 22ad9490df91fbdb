"""How much one session or one address may do; counted in Redis, so that it holds across processes."""

import asyncio
import math
import time
from typing import Any

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import RedisClusterStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from tasks.errors import FrameRejectedError
from tasks.redis_url import addresses, location, server_options
from tasks.settings import Settings
from tasks.storage.client import COMMAND_TIMEOUT, RedisClient, translate_errors
from tasks.storage.topology import async_pool, close_pool, cluster_options

#: Redis connections for counting.
CONNECTIONS = 1
#: Seconds after which to try again when too many wait.
CROWDED = 30.0


class RateLimits:
    """The limits of `settings`; 0 means none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage: RedisStorage | None = None
        self._pool: Any = None
        #: Connections that are free: redis-py would raise an error rather than wait for one.
        self._free = asyncio.Semaphore(CONNECTIONS)
        #: When what was refused may happen again.
        self._closed: dict[str, float] = {}

    async def message(self, conversation: str, address: str, *, queued: int, id: str | None = None) -> None:
        """Count a message of a session, unless `queued` others wait already or it is one too many.

        Raises FrameRejectedError, StorageError.
        """
        settings = self._settings
        if settings.limit_waiting and queued >= settings.limit_waiting:
            detail = "Very many people are waiting for replies right now. Please try again in a minute."
            raise FrameRejectedError("rate_limited", detail, id=id, retry_in=CROWDED)
        await self._check("messages", 1, conversation, address, id)

    async def stop(self, conversation: str, address: str, *, id: str) -> None:
        """Count a request to stop a reply; the limit is twice that of messages.

        Raises FrameRejectedError, StorageError.
        """
        await self._check("stops", 2, conversation, address, id)

    async def session(self, address: str) -> float:
        """Count a new session of an address; returns the seconds to wait, 0 if it is allowed. Raises StorageError."""
        maximum = self._settings.limit_sessions_per_hour
        return await self._hit(RateLimitItemPerHour(maximum), "sessions", address) if maximum else 0

    async def _check(self, what: str, factor: int, conversation: str, address: str, id: str | None) -> None:
        """Count one of a session and of an address; `factor` times as many as messages are possible."""
        settings = self._settings
        for maximum, *name in (
            (factor * settings.limit_messages_per_minute, what, conversation),
            (factor * settings.limit_messages_per_address, what, "address", address),
        ):
            wait = await self._hit(RateLimitItemPerMinute(maximum), *name) if maximum else 0
            if wait:
                detail = f"That was fast: {maximum} {what} a minute are possible. Please wait {wait} seconds."
                raise FrameRejectedError("rate_limited", detail, id=id, retry_in=wait)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._storage is not None:
            client: Any = self._storage.bridge
            await client.get_connection().aclose()
        if self._pool is not None:
            await close_pool(self._pool)

    async def _connected(self) -> RedisStorage:
        """The library's storage, of the kind that REDIS_URL leads to."""
        if self._storage is None:
            url = self._settings.redis_url
            client = RedisClient(url, max_connections=1, retries=0)
            try:
                clustered = await client.is_cluster()
            finally:
                await client.aclose()
            options: dict[str, Any] = {"implementation": "redispy", "key_prefix": "parley:limits"}
            if clustered:
                nodes = [server_options(address) for address in addresses(url)]
                where = ",".join(location(node.pop("host"), node.pop("port")) for node in nodes)
                options |= {**nodes[0], **cluster_options(url, COMMAND_TIMEOUT, retries=1)}
                self._storage = RedisClusterStorage(f"async+redis+cluster://{where}", **options)
            else:
                # The pool knows the address; the library reads only the kind of server here.
                self._pool = async_pool(url, CONNECTIONS, COMMAND_TIMEOUT, retries=0)
                self._storage = RedisStorage("async+redis://", **options, connection_pool=self._pool)
        return self._storage

    async def _hit(self, item: RateLimitItem, *names: str) -> int:
        """Seconds until this may happen again; 0 if it may now."""
        name, now = item.key_for(*names), time.time()
        if self._closed.get(name, 0.0) <= now:
            with translate_errors():
                async with asyncio.timeout(COMMAND_TIMEOUT), self._free:
                    counter = MovingWindowRateLimiter(await self._connected())
                    if await counter.hit(item, *names):
                        return 0
                    again, _ = await counter.get_window_stats(item, *names)
            # Until then every request is refused here, without Redis. So a flood does not delay other visitors.
            self._closed = {other: end for other, end in self._closed.items() if end > now} | {name: again}
        return max(1, math.ceil(self._closed[name] - now))
