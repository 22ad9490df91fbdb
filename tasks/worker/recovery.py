"""Finds conversations that wait for a reply while nobody writes it, and enqueues them again."""

from tasks.broker import enqueue_commands
from tasks.storage import scripts
from tasks.storage.client import RedisClient
from tasks.storage.conversations import LONGEST_PATIENCE_MS, PATIENCE_MS
from tasks.storage.keys import SHARDS, ConversationKeys, pending_index_key

#: Conversations of one shard looked at in one go.
BATCH = 100


async def sweep(redis: RedisClient) -> int:
    """Look through every shard; returns how many conversations were enqueued again. Raises StorageError."""
    clock, some = await redis.together(("TIME",), ("EXISTS", *map(pending_index_key, range(SHARDS))), atomic=False)
    if not some:
        return 0
    now = int(clock[0]) * 1000 + int(clock[1]) // 1000
    due = await redis.together(
        *(("ZRANGE", pending_index_key(shard), "-inf", now, "BYSCORE", "LIMIT", 0, BATCH) for shard in range(SHARDS))
    )
    return sum([await requeue(redis, member.decode()) for members in due for member in members])


async def requeue(redis: RedisClient, conversation: str) -> bool:
    """Enqueue a conversation again if it waits, is due for a look, and nobody has just done so.

    Raises StorageError.
    """
    keys = ConversationKeys(conversation)
    claimed = await redis.script(
        scripts.CLAIM, (keys.state, keys.pending_index), (conversation, PATIENCE_MS, LONGEST_PATIENCE_MS)
    )
    if claimed:
        await redis.together(*enqueue_commands(conversation))
    return bool(claimed)
