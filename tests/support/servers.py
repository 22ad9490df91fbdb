"""The kinds of Redis that tests run on: one server, a cluster, or servers under Sentinel."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.sentinel import Sentinel

from tasks.local.embedded_redis import start_redis
from tasks.redis_url import addresses, parse_sentinel, server_options
from tests.support.cluster import Cluster, Watched
from tests.support.ports import own_port

#: How each kind is started, by what REDIS in the environment says.
KINDS: dict[str, Callable[[Path], Any]] = {
    "single": lambda folder: start_redis(folder, port=own_port(), kind="redis"),
    "cluster": Cluster,
    "sentinel": Watched,
}


def start_server(folder: Path) -> Any:
    """Start the kind of Redis that REDIS names; all kinds have a `url` and are context managers.

    Raises StorageError if none runs here.
    """
    return KINDS[os.environ.get("REDIS") or "single"](folder)


@contextmanager
def connect_to_each(server: Any) -> Iterator[list[Any]]:
    """A client for each node of a server as `start_server` starts it."""
    nodes = getattr(server, "nodes", [server])
    clients = [redis.Redis.from_url(node.url) for node in nodes]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


@contextmanager
def connect(url: str, **options: Any) -> Iterator[Any]:
    """A client that blocks, for all that is stored at an address as in REDIS_URL."""
    nodes = addresses(url)
    if watched := parse_sentinel(url):
        sentinel = Sentinel(watched.sentinels)  # type: ignore[no-untyped-call]
        client = sentinel.master_for(watched.name, **options)  # type: ignore[no-untyped-call]
        closing = [client, *sentinel.sentinels]
    elif len(nodes) == 1:
        client = redis.Redis.from_url(url, **options)
        closing = [client]
    else:
        where = [server_options(node) for node in nodes]
        start = [ClusterNode(node["host"], node["port"]) for node in where]  # type: ignore[no-untyped-call]
        client = redis.RedisCluster(startup_nodes=start, require_full_coverage=False, **options)
        closing = [client]
    try:
        yield client
    finally:
        for one in closing:
            one.close()
