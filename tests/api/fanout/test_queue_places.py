"""Places in the queue: told after a second check, when they change, and when they are not known any more."""

import json
from collections.abc import AsyncIterator

import pytest

from api.fanout.queue_places import QueuePlaces
from api.fanout.tail import Subscription, Tail
from tasks.monitoring.canary import CANARY
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING
from tests.support.steps import Steps


class Queue:
    """A queue whose conversations are watched by one reader each."""

    def __init__(self, redis: RedisClient, tail: Tail) -> None:
        self.redis = redis
        self.tail = tail
        self.readers: set[Subscription] = set()
        self.length = 1
        self.places = QueuePlaces(redis, tail, self.readers, lambda: self.length)

    def watch(self, steps: Steps) -> Subscription:
        """A reader of a conversation that waits."""
        reader = self.tail.join(steps.id)
        # Nothing goes on there: a retry waits without an event of its own.
        self.tail.begin(steps.id, reader, "0-0", busy=False)
        self.readers.add(reader)
        return reader

    async def put(self, *conversations: str) -> None:
        """So many conversations wait, in this order."""
        await self.redis.command("DEL", QUEUE_WAITING)
        for score, conversation in enumerate(conversations):
            await self.redis.command("ZADD", QUEUE_WAITING, score, conversation)

    async def told(self, reader: Subscription) -> list[int | None]:
        """What a reader gets at the next check."""
        reader.push('{"type":"mark"}')
        await self.places.check()
        return [json.loads(frame)["ahead"] for frame in await anext(aiter(reader)) if "queue" in frame]


@pytest.fixture
async def queue(redis: RedisClient, redis_url: str) -> AsyncIterator[Queue]:
    """Nobody waits yet."""
    tail = Tail(redis_url, redis)
    yield Queue(redis, tail)
    await tail.aclose()


async def test_a_place_is_told_at_the_second_check_and_again_only_when_it_changes(queue: Queue) -> None:
    async with Steps(queue.redis) as steps:
        reader = queue.watch(steps)
        await queue.put("a", "b", steps.id)
        assert await queue.told(reader) == [], "it may have come this moment"
        assert await queue.told(reader) == [2]
        assert await queue.told(reader) == []
        await queue.put("b", steps.id)
        assert await queue.told(reader) == [1]


async def test_a_place_that_is_not_known_any_more_is_taken_back_and_the_same_one_is_told_anew(queue: Queue) -> None:
    async with Steps(queue.redis) as steps:
        reader = queue.watch(steps)
        await queue.put(steps.id)
        assert [await queue.told(reader) for _ in range(2)] == [[], [0]]
        await queue.put()
        queue.length = 0
        assert await queue.told(reader) == [None]
        await queue.put(steps.id)
        queue.length = 1
        assert [await queue.told(reader) for _ in range(2)] == [[], [0]]


async def test_a_canary_takes_no_place(queue: Queue) -> None:
    async with Steps(queue.redis) as steps:
        reader = queue.watch(steps)
        await queue.put("a", CANARY, steps.id)
        assert [await queue.told(reader) for _ in range(2)] == [[], [1]]


async def test_after_a_new_snapshot_the_place_is_told_anew(queue: Queue) -> None:
    async with Steps(queue.redis) as steps:
        reader = queue.watch(steps)
        await queue.put(steps.id)
        assert [await queue.told(reader) for _ in range(2)] == [[], [0]]
        queue.places.forget(reader)
        assert await queue.told(reader) == [0]


async def test_who_does_not_know_the_frame_or_has_left_is_told_nothing(queue: Queue) -> None:
    async with Steps(queue.redis) as steps:
        older, left = queue.watch(steps), queue.watch(steps)
        queue.readers.discard(older)
        await queue.put(steps.id)
        assert [await queue.told(older) for _ in range(3)] == [[], [], []]
        assert await queue.told(left) == [0]
        queue.readers.discard(left)
        await queue.put()
        assert await queue.told(left) == []
