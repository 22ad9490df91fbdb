"""Finds conversations that wait for a reply while no worker writes it, and enqueues them again."""

import asyncio
import time

from tasks.broker import WaitingBroker
from tasks.storage import scripts
from tasks.storage.client import Part, RedisClient
from tasks.storage.conversations import LEASE_MS, MAX_RECOVERY_DELAY_MS, RECOVERY_DELAY_MS
from tasks.storage.keys import QUEUE_WAITING, SHARDS, ConversationKeys, pending_index_key

#: Seconds after which a conversation that counts as waiting is checked: its message may never have been enqueued.
CHECK_WAITING_SECONDS = 30.0
#: Conversations per shard in one search.
BATCH = 100


async def requeue_pending(redis: RedisClient, broker: WaitingBroker) -> int:
    """Look through every shard; returns how many conversations were enqueued again.

    Each node is asked for itself, so that one that is away does not keep the others' conversations waiting.
    Raises StorageError, once all nodes were asked.
    """
    by_node: dict[str, list[int]] = {}
    for shard in range(SHARDS):
        by_node.setdefault(redis.node_of(shard), []).append(shard)
    searches = (_requeue_shards(redis, broker, shards) for shards in by_node.values())
    found = await asyncio.gather(*searches, return_exceptions=True)
    await _forget_answered(redis)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return sum(number for number in found if isinstance(number, int))


async def _requeue_shards(redis: RedisClient, broker: WaitingBroker, shards: list[int]) -> int:
    indexes = [Part(shard, (pending_index_key(shard),)) for shard in shards]
    due = await redis.script_on_parts(scripts.DUE, indexes, (BATCH, MAX_RECOVERY_DELAY_MS + RECOVERY_DELAY_MS))
    return sum([await requeue(redis, broker, member.decode()) for members in due for member in members])


async def _forget_answered(redis: RedisClient) -> None:
    """Take off the set of waiting conversations what does not wait: a broken connection can leave an entry behind."""
    long_ago = time.time() - CHECK_WAITING_SECONDS
    waiting = await redis.command("ZRANGE", QUEUE_WAITING, "-inf", long_ago, "BYSCORE", "LIMIT", 0, BATCH)
    conversations = [member.decode() for member in waiting]
    if not conversations:
        return
    pending = await redis.pipeline(*(("HGET", ConversationKeys(name).state, "pending") for name in conversations))
    answered = [name for name, number in zip(conversations, pending, strict=True) if not int(number or 0)]
    if answered:
        await redis.command("ZREM", QUEUE_WAITING, *answered)


async def requeue(redis: RedisClient, broker: WaitingBroker, conversation: str) -> bool:
    """Enqueue a conversation again if this caller may; returns whether it did. Raises StorageError."""
    return await claim(redis, conversation) and await broker.request_reply(conversation)


async def claim(redis: RedisClient, conversation: str) -> bool:
    """Claim a conversation that waits, is due, and is not claimed by another process. Raises StorageError."""
    keys = ConversationKeys(conversation)
    args = (conversation, RECOVERY_DELAY_MS, MAX_RECOVERY_DELAY_MS, LEASE_MS)
    return bool(await redis.script(scripts.CLAIM, (keys.state, keys.pending_index), args))
