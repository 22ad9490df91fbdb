"""The sweep: what waits while nobody writes it is put on the queue again, and nothing else is."""

import asyncio

import pytest

from tasks.storage.client import RedisClient
from tasks.worker.recovery import requeue, sweep
from tests.support.steps import Steps


async def due(steps: Steps) -> None:
    """As if its time to be looked at had come."""
    await steps.redis.command("ZADD", steps.keys.pending_index, "XX", 1, steps.id)


@pytest.fixture
async def steps(redis: RedisClient) -> Steps:
    """A conversation with a message that waits, whose place on the queue was lost."""
    async with Steps(redis) as steps:
        await steps.say("hello")
        await redis.command("DEL", "parley:{queue}:replies", "parley:{queue}:replies.msgs")
        return steps


async def test_what_was_only_just_enqueued_is_left_alone(redis: RedisClient, steps: Steps) -> None:
    assert await sweep(redis) == 0
    assert await steps.queued() == 0


async def test_what_has_waited_is_enqueued_once_by_however_many_look(redis: RedisClient, steps: Steps) -> None:
    await due(steps)
    found = await asyncio.gather(*(sweep(redis) for _ in range(3)), requeue(redis, steps.id))
    assert sum(map(int, found)) == 1
    assert await steps.queued() == 1
    assert await sweep(redis) == 0


async def test_what_is_being_written_is_left_alone(redis: RedisClient, steps: Steps) -> None:
    await steps.begin()
    await due(steps)
    assert await sweep(redis) == 0


async def test_what_a_dead_worker_left_is_enqueued_when_its_lease_is_over(redis: RedisClient, steps: Steps) -> None:
    await steps.begin()
    await redis.command("HSET", steps.keys.state, "lease_expires_at", 1)
    await due(steps)
    assert await sweep(redis) == 1


async def test_what_was_answered_or_has_expired_leaves_the_index(redis: RedisClient, steps: Steps) -> None:
    for gone in ("state", "document"):
        await redis.command("DEL", getattr(steps.keys, gone))
    await due(steps)
    assert await sweep(redis) == 0
    assert await redis.command("ZSCORE", steps.keys.pending_index, steps.id) is None


async def test_every_shard_is_looked_through(redis: RedisClient) -> None:
    many = [Steps(redis) for _ in range(12)]
    for each in many:
        async with each:
            await each.say("hello")
            await due(each)
    assert len({each.keys.pending_index for each in many}) > 4
    assert await sweep(redis) == 12
