"""Whether a Redis can hold conversations: looked into once at start, answered in sentences that say what to do."""

import asyncio
import logging
import os
import re
from collections.abc import Callable
from typing import Any

import redis

from tasks.errors import StorageError, UnsupportedRedisError
from tasks.storage.client import RedisClient, require_json
from tasks.storage.keys import key_in
from tasks.storage.scripts import CHECK_CHANNEL

log = logging.getLogger("parley.redis_check")

#: The oldest version that has been tried; JSON's module crashes in the ones before.
OLDEST = (7, 0)
#: Exit code of a process that no restart would cure; uvicorn's own for an application that cannot start.
EXIT_UNSUPPORTED = 3
#: Seconds between two tries while Redis is away.
PAUSE = 1.0

EVICTS = (
    "Redis deletes conversations when it is full (maxmemory-policy %s): "
    "set maxmemory-policy to noeviction, so that it refuses new ones instead."
)
NO_CHANNELS = (
    "This Redis lets no script publish on channels: allow SPUBLISH and the channels parley:* to the user in REDIS_URL."
)
UNREPLICATED = "Redis has no replica, so no message can be accepted: give each primary one."
NARROW = (
    "Redis allows %d connections, %d are in use and this process needs up to %d: "
    "start fewer processes, or choose a plan with more connections."
)


async def check_or_exit(
    url: str, connections: int, end: Callable[[], None] = lambda: os._exit(EXIT_UNSUPPORTED)
) -> None:
    """Wait until Redis can be reached and say what is wrong with it; end the process if it cannot be used at all.

    `connections`: how many this process may open. `end` ends it; the usual way is abrupt, since there is nothing
    to close yet and a traceback would hide the sentence.
    """
    client = RedisClient(url, max_connections=1, retries=0)
    said = ""
    try:
        while True:
            try:
                for warning in await inspect_server(client, connections):
                    log.warning("redis.warning %s", warning)
                return
            except UnsupportedRedisError as error:
                log.critical("process.unsupported_redis %s This process ends.", error)
                end()
                return
            except StorageError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("redis.unavailable error=%s", said)
                await asyncio.sleep(PAUSE)
    finally:
        await client.aclose()


async def inspect_server(client: RedisClient, connections: int) -> list[str]:
    """What to warn of, if this process opens up to so many `connections`.

    Raises UnsupportedRedisError, or StorageError if Redis cannot be asked now.
    """
    warnings = []
    for name, shards in (await client.shards_by_node()).items():
        found = await _inspect_node(client.node(name), min(shards), connections, client.replicated)
        warnings += [f"{warning} (node {name})" if name else warning for warning in found]
    return warnings


async def _inspect_node(node: RedisClient, shard: int, connections: int, replicated: bool) -> list[str]:
    facts = await _facts(node)
    version = facts.get("redis_version", "")
    if (numbers := re.match(r"(\d+)\.(\d+)", version)) and (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise UnsupportedRedisError(f"This Redis is too old ({version}): use Redis 8, or 7 with its JSON module.")
    await _require_writing(node, shard)
    await _require_json(node, shard)
    await _require_channels(node, shard)
    return [*_evicts(facts), *_narrow(facts, connections), *(_unreplicated(facts) if replicated else [])]


async def _facts(client: RedisClient) -> dict[str, str]:
    """What INFO says; nothing where it is not known (fakeredis) or not allowed."""
    try:
        said: dict[str, Any] = await client.command("INFO")
    except StorageError as error:
        if isinstance(error.__cause__, redis.ResponseError):
            return {}
        raise
    return {name: str(value) for name, value in said.items()}


async def _require_writing(client: RedisClient, shard: int) -> None:
    try:
        await client.command("SET", key_in(shard) + "check", 1, "PX", 1000)
    except StorageError as error:
        if isinstance(error.__cause__, redis.exceptions.ReadOnlyError):
            raise UnsupportedRedisError(str(error)) from error
        raise


async def _require_json(client: RedisClient, shard: int) -> None:
    try:
        await require_json(client, shard)
    except StorageError as error:
        if isinstance(error.__cause__, StorageError):
            raise UnsupportedRedisError(str(error)) from error
        raise


async def _require_channels(client: RedisClient, shard: int) -> None:
    """Check that a script may publish on a shard's channel."""
    try:
        await client.script(CHECK_CHANNEL, (key_in(shard) + "check",), ())
    except StorageError as error:
        if isinstance(error.__cause__, redis.ResponseError):
            raise UnsupportedRedisError(NO_CHANNELS) from error
        raise


def _evicts(facts: dict[str, str]) -> list[str]:
    policy = facts.get("maxmemory_policy", "noeviction")
    return [] if policy == "noeviction" or facts.get("maxmemory") == "0" else [EVICTS % policy]


def _unreplicated(facts: dict[str, str]) -> list[str]:
    return [] if int(facts.get("connected_slaves", 1)) else [UNREPLICATED]


def _narrow(facts: dict[str, str], connections: int) -> list[str]:
    most, used = int(facts.get("maxclients", 0)), int(facts.get("connected_clients", 0))
    return [NARROW % (most, used, connections)] if 0 < most < used + connections else []
