"""A host that is cut off refuses nothing and answers nothing; what it had is found elsewhere all the same."""

import asyncio
from pathlib import Path

import pytest

from api.state import CHECK_TIMEOUT
from tasks.errors import StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import SHARDS, key_in
from tests.hosts.places import hosts, lacks, lacks_tap
from tests.hosts.system import NODES, ROLES, SpreadCluster
from tests.support.missing import missing

#: A replica takes over after some three seconds, and every check waits for up to three.
MOST_CHECKS = 10


async def test_a_short_check_that_is_repeated_finds_the_primary_that_took_over_from_a_host_that_is_cut_off(
    tmp_path: Path,
) -> None:
    if reason := lacks():
        missing(reason)
    if reason := lacks_tap():
        pytest.skip(reason)
    with hosts(len(ROLES)) as all_, SpreadCluster(tmp_path, all_) as cluster:
        redis = RedisClient(cluster.url, max_connections=1)
        # A host that has one primary, and nothing else of Redis.
        host, node = all_[NODES[1]], cluster.nodes[1]
        await redis.is_cluster()
        key = next(key_in(shard) for shard in range(SHARDS) if redis.node_of(shard) == f"{host.address}:{node.port}")
        await redis.command("SET", key, "there")
        await redis.wait_for_replica(next(shard for shard in range(SHARDS) if key_in(shard) == key))
        host.link.cut = True
        checks = 1
        while await _check(redis, key) != b"there":
            # Each may end by itself while no node has the key, but none as the one before, for ever.
            assert checks < MOST_CHECKS
            checks += 1
            await asyncio.sleep(1)
        host.link.restore()
        await redis.aclose()


async def _check(redis: RedisClient, key: str) -> bytes | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            value: bytes | None = await redis.command("GET", key)
            return value
    except (StorageError, TimeoutError):
        return None
