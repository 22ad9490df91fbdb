"""Recovery: what waits while nobody writes it is put on the queue again, and nothing else is."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tasks.broker import WaitingBroker
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING
from tasks.worker.recovery import requeue, requeue_pending
from tests.support.steps import Steps


async def due(steps: Steps) -> None:
    """As if its time to be looked at had come."""
    await steps.redis.command("ZADD", steps.keys.pending_index, "XX", 1, steps.id)


@pytest.fixture
async def steps(redis: RedisClient) -> Steps:
    """A conversation with a message that waits, that is not on the queue."""
    async with Steps(redis) as steps:
        await steps.say("hello")
        return steps


@pytest.fixture
def broker(redis_url: str) -> Iterator[WaitingBroker]:
    """The queue."""
    broker = WaitingBroker(redis_url, max_connections=1)
    yield broker
    broker.close()


async def queued(redis: RedisClient) -> int:
    """How many conversations are on the queue."""
    waiting: int = await redis.command("ZCARD", QUEUE_WAITING)
    return waiting


async def test_what_was_only_just_enqueued_is_left_alone(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    assert await requeue_pending(redis, broker) == 0
    assert await queued(redis) == 0


async def test_what_has_waited_is_enqueued_once_by_however_many_look(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    await due(steps)
    found = await asyncio.gather(*(requeue_pending(redis, broker) for _ in range(3)), requeue(redis, broker, steps.id))
    assert sum(map(int, found)) == 1
    assert await queued(redis) == 1
    assert await requeue_pending(redis, broker) == 0


async def test_what_is_being_written_is_left_alone(redis: RedisClient, broker: WaitingBroker, steps: Steps) -> None:
    await steps.begin()
    await due(steps)
    assert await requeue_pending(redis, broker) == 0


async def test_what_a_dead_worker_left_is_enqueued_when_its_lease_is_over(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    await steps.begin()
    await redis.command("HSET", steps.keys.state, "lease_expires_at", 1)
    await due(steps)
    assert await requeue_pending(redis, broker) == 1


async def test_what_was_answered_or_has_expired_leaves_the_index(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    for gone in ("state", "document"):
        await redis.command("DEL", getattr(steps.keys, gone))
    await due(steps)
    assert await requeue_pending(redis, broker) == 0
    assert await redis.command("ZSCORE", steps.keys.pending_index, steps.id) is None


async def test_every_shard_is_looked_through(redis: RedisClient, broker: WaitingBroker) -> None:
    many = [Steps(redis) for _ in range(12)]
    for each in many:
        async with each:
            await each.say("hello")
            await due(each)
    assert len({each.keys.pending_index for each in many}) > 4
    assert await requeue_pending(redis, broker) == 12


async def test_an_entry_from_before_redis_clock_was_set_back_is_looked_at(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    far = (await redis.command("TIME"))[0] * 1000 + 120_000
    await redis.command("ZADD", steps.keys.pending_index, far, steps.id)
    assert await requeue_pending(redis, broker) == 1


async def test_what_counts_as_waiting_and_does_not_is_forgotten_after_a_while(
    redis: RedisClient, broker: WaitingBroker, steps: Steps
) -> None:
    """A connection that broke between the entry and the message leaves the entry alone."""
    for name, age in ((steps.id, 60), ("a" * 32, 60), ("b" * 32, 0)):
        await redis.command("ZADD", QUEUE_WAITING, time.time() - age, name)
    await requeue_pending(redis, broker)
    left = await redis.command("ZRANGE", QUEUE_WAITING, 0, -1)
    assert {name.decode() for name in left} == {steps.id, "b" * 32}, "one waits, and one has only just come"
