"""What a test may look up behind the wire: who holds a conversation, what is left in Redis, what was said in stamps."""

import re
from typing import Any

import psutil

from tasks.local.processes import Child
from tasks.monitoring.canary import CANARY
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING, SHARDS, ConversationKeys, conversation_id, pending_index_key
from tests.support.stack import Stack


def stamps(text: str) -> list[int]:
    """The numbers of a stamped reply's tokens, in the order they appear."""
    return [int(number) for number in re.findall(r"(\d+)\|\d+\.\d+", text)]


def whole(number: int) -> list[int]:
    """The stamps of a reply of so many tokens, each once and in order."""
    return list(range(1, number + 1))


async def owner_pid(redis: RedisClient, conversation: str) -> int | None:
    """The process that holds a conversation's lease, if one does."""
    owner = await redis.command("HGET", ConversationKeys(conversation).state, "owner")
    return int(owner.split(b":")[1]) if owner else None


def pids(child: Child) -> set[int]:
    """A child's own id and those of its children."""
    try:
        return {child.pid, *(one.pid for one in psutil.Process(child.pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return {child.pid}


async def writer_of(stack: Stack, token: str) -> Child:
    """The worker that writes the reply in a conversation."""
    redis = RedisClient(stack.redis.url, max_connections=1)
    try:
        pid = await owner_pid(redis, conversation_id(token))
    finally:
        await redis.aclose()
    return next(child for child in stack.processes.children if child.alive and pid in pids(child))


async def leftovers(redis: RedisClient) -> dict[str, Any]:
    """What a quiet system must not have: leases, begun replies, open conversations, waiting messages."""
    left: dict[str, Any] = {}
    for shard in range(SHARDS):
        if members := await redis.command("ZRANGE", pending_index_key(shard), 0, -1):
            left[pending_index_key(shard)] = members
    for key in await _keys(redis, "parley:*:partial"):
        left[key] = "there"
    states = set(await _keys(redis, "parley:*:state")) - {ConversationKeys(CANARY).state}
    for key in sorted(states):
        fields = ("pending", "owner", "lease_expires_at", "reply", "retry", "is_retry", "phase", "waiting")
        values = await redis.command("HMGET", key, *fields)
        held = {name: value for name, value in zip(fields, values, strict=True) if value not in (None, b"0")}
        if held:
            left[key] = held
    if queued := await redis.command("ZRANGE", QUEUE_WAITING, 0, -1):
        left["queue"] = [member for member in queued if member.decode() != CANARY]
    return {name: value for name, value in left.items() if value}


async def _keys(redis: RedisClient, pattern: str) -> list[str]:
    keys: list[str] = []
    for name in await redis.shards_by_node():
        node, cursor = redis.node(name), 0
        while True:
            cursor, found = await node.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            keys += [key.decode() for key in found]
            if int(cursor) == 0:
                break
    return keys
