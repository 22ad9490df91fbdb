"""The kinds of Redis that tests run on: one server, a cluster, or servers under Sentinel."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tasks.local.embedded_redis import EmbeddedRedis, start_redis
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


def connect(server: Any, **options: Any) -> Any:
    """A client that blocks, for all that is stored there."""
    if isinstance(server, EmbeddedRedis):
        return redis.Redis.from_url(server.url, **options)
    return server.client(**options)
