"""Which kind of Redis an address leads to: one server, a Redis Cluster, or a primary that Sentinel names."""

import contextlib
import random
import threading
from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from tasks.redis_url import addresses, parse_sentinel

#: Seconds that opening a connection may take.
CONNECT_TIMEOUT = 3.0
#: Seconds that opening a connection to a node of a cluster may take, and a command to it: another node may have its
#: slots by now. Together they are less than the time that a health check has, so that it learns of the other node.
NODE_CONNECT_TIMEOUT, NODE_TIMEOUT = 0.9, 2.0
#: Seconds between the tries of a command: 0.1, 0.2, 0.4.
BACKOFF = ExponentialBackoff(base=0.05, cap=0.5)

#: All that redis-py raises; what it says of a cluster as a whole is no RedisError.
REDIS_ERRORS = (redis.RedisError, RedisClusterException)
#: Answers of a server that is the wrong one, or not yet ready. A new connection may lead to the right one, so these
#: drop the connection and are tried again.
WRONG_SERVER = [ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError]

#: What all connections have in common. RESP2 has one shape for JSON.GET on every server.
CONNECTION_OPTIONS: dict[str, Any] = {"protocol": 2}
#: What those over TCP have besides.
TCP_OPTIONS: dict[str, Any] = {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}
#: Those to one of several nodes or sentinels that are asked who is where: one that says nothing must not delay the
#: start, so the next one is asked soon.
ONE_OF_SEVERAL: dict[str, Any] = {
    **TCP_OPTIONS,
    "socket_connect_timeout": NODE_CONNECT_TIMEOUT,
    "socket_timeout": NODE_TIMEOUT,
}


def connection_options(url: str, connect_timeout: float = CONNECT_TIMEOUT) -> dict[str, Any]:
    """redis-py's options for each connection.

    Args:
        url: an address as in REDIS_URL.
        connect_timeout: seconds that opening it may take.
    """
    if url.startswith("unix:"):
        return CONNECTION_OPTIONS
    return {**CONNECTION_OPTIONS, **TCP_OPTIONS, "socket_connect_timeout": connect_timeout}


def in_any_order(addresses: Sequence[str]) -> list[str]:
    """Addresses as they are to be tried: a first one that is away would delay each client of each process."""
    return random.sample(addresses, len(addresses))


def is_cluster(info: dict[str, Any]) -> bool:
    """Whether a server whose `INFO cluster` said this is a node of a cluster."""
    return str(info.get("cluster_enabled", 0)) == "1"


def async_pool(
    url: str, max_connections: int, timeout: float, retries: int, connect_timeout: float = CONNECT_TIMEOUT
) -> Any:
    """A pool of connections to one server, or to the primary that Sentinel names.

    Args:
        url: an address as in REDIS_URL.
        max_connections: connections that are open at most; one more is an error, so callers wait before they ask.
        timeout: seconds until a command counts as lost.
        retries: how often a command is sent again after its connection failed.
        connect_timeout: seconds that opening a connection may take.
    """
    options = {**connection_options(url, connect_timeout), "retry_on_error": WRONG_SERVER, "socket_timeout": timeout}
    options["retry"] = AsyncRetry(BACKOFF, retries)
    if address := parse_sentinel(url):
        sentinel_options = {**ONE_OF_SEVERAL, "retry": AsyncRetry(BACKOFF, 0), **address.sentinel_options}
        sentinel = AsyncSentinel(address.sentinels, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
        options |= {**address.options, "max_connections": max_connections}
        return AsyncSentinelPool(address.name, sentinel, **options)  # type: ignore[no-untyped-call]
    return aioredis.ConnectionPool.from_url(url, **options, max_connections=max_connections)


async def close_pool(pool: Any) -> None:
    """Close a pool's connections, and those to the sentinels that it asks."""
    await pool.disconnect()
    if isinstance(pool, AsyncSentinelPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def async_cluster(url: str, timeout: float, retries: int) -> Any:
    """A client for the cluster with a node at `url`; `timeout` (s) and `retries` are as in `cluster_options`."""
    return aioredis.RedisCluster.from_url(url, **cluster_options(url, timeout, retries))


def cluster_options(url: str, timeout: float, retries: int) -> dict[str, Any]:
    """redis-py's options for a client of a Redis Cluster.

    Args:
        url: an address as in REDIS_URL.
        timeout: seconds until a command counts as lost; at a single node it is less.
        retries: how often a command is sent again after its connection failed.
    """
    return {
        **connection_options(url, NODE_CONNECT_TIMEOUT),
        "socket_timeout": min(timeout, NODE_TIMEOUT),
        "retry": AsyncRetry(BACKOFF, retries),
        # Some slots may be without a node for a while; the others work on.
        "require_full_coverage": False,
    }


class SyncClient:
    """A client for threads, of the kind that the address turns out to lead to at its first use.

    It has those methods of redis-py's clients that Dramatiq's broker and ours use.

    Args:
        url: an address as in REDIS_URL.
        max_connections: connections that are open at most; in a cluster, to each node. redis-py's pool for Sentinel
            does not wait for a free one, so there only scripts are held to it.
        timeout: seconds until a command, or the wait for a connection, counts as lost; in a cluster less.
        blocks: seconds that a command may block besides.
    """

    def __init__(self, url: str, *, max_connections: int, timeout: float, blocks: float = 0.0) -> None:
        self._url = url
        self._max_connections = max_connections
        self._timeout = timeout
        self._blocks = blocks
        self._client: Any = None
        self._connecting = threading.Lock()
        #: Each of a worker's many threads acknowledges by a script.
        self._free = threading.Semaphore(max_connections)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected(), name)

    def register_script(self, text: str | bytes) -> Any:
        """As redis-py's, without asking the server now."""
        registered: Any = None

        def run(keys: Any = (), args: Any = ()) -> Any:
            nonlocal registered
            if registered is None:
                registered = self._connected().register_script(text)
            with self._free:
                return registered(keys, args)

        return run

    def close(self) -> None:
        """Close every connection."""
        if self._client is None:
            return
        # redis-py leaves open the connections of a pool that it was given, in a cluster those of each node.
        clustered = isinstance(self._client, redis.RedisCluster)
        nodes = self._client.get_nodes() if clustered else ()
        for client in [self._client.get_redis_connection(node) for node in nodes] or [self._client]:
            pool = client.connection_pool
            pool.disconnect()
            if isinstance(pool, SentinelConnectionPool):
                for sentinel in pool.sentinel_manager.sentinels:
                    sentinel.close()
        self._client.close()

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        options = {**connection_options(self._url), "socket_timeout": self._timeout + self._blocks}
        limits = {"max_connections": self._max_connections, "timeout": self._timeout + self._blocks}
        if address := parse_sentinel(self._url):
            sentinel_options = {**ONE_OF_SEVERAL, "retry": Retry(BACKOFF, 0), **address.sentinel_options}
            sentinel = Sentinel(address.sentinels, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
            options |= {**address.options, "retry_on_error": WRONG_SERVER, "retry": _one_retry()}
            pool = SentinelConnectionPool(address.name, sentinel, **options)  # type: ignore[no-untyped-call]
            return redis.Redis(connection_pool=pool)
        *others, last = in_any_order(addresses(self._url))
        for url in others:
            with contextlib.suppress(*REDIS_ERRORS, OSError):
                return self._connect_to(url, options, limits, several=True)
        return self._connect_to(last, options, limits, several=bool(others))

    def _connect_to(self, url: str, options: dict[str, Any], limits: dict[str, Any], *, several: bool) -> Any:
        options = {**options, "retry": _one_retry()}
        if several:
            options |= {**ONE_OF_SEVERAL, "retry": Retry(BACKOFF, 0)}
        pool = redis.BlockingConnectionPool.from_url(url, **options, **limits, retry_on_error=WRONG_SERVER)
        client = redis.Redis(connection_pool=pool)
        try:
            clustered = is_cluster(client.info("cluster"))
        except ResponseError:
            clustered = False
        if not clustered:
            return client
        pool.disconnect()
        return redis.RedisCluster.from_url(
            url,
            **connection_options(url, NODE_CONNECT_TIMEOUT),
            **limits,
            socket_timeout=min(self._timeout, NODE_TIMEOUT) + self._blocks,
            connection_pool_class=redis.BlockingConnectionPool,
            retry=_one_retry(),
            require_full_coverage=False,
        )


def _one_retry() -> Retry:
    """One more try is for a connection that was closed while nobody used it."""
    return Retry(ExponentialBackoff(base=0.05, cap=0.5), 1)
