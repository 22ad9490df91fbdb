"""Who may write: what a turn reads, however long the conversation, and how a holder learns that it is over."""

import asyncio

import orjson
import pytest

from tasks.storage.client import RedisClient
from tasks.storage.conversations import LEASE_MS
from tasks.worker.lease import TURNS_READ, renew
from tests.support.steps import Steps


@pytest.mark.parametrize("before", [0, 1, TURNS_READ - 1, TURNS_READ, TURNS_READ + 1, 500])
@pytest.mark.parametrize("behind", [0, 1, TURNS_READ - 1, TURNS_READ + 40])
async def test_a_turn_reads_the_last_messages_before_it_and_no_more(
    redis: RedisClient, before: int, behind: int
) -> None:
    async with Steps(redis) as steps:
        await steps.grow(before)
        asked = await steps.say("asked")
        if behind:
            later = [{"id": f"later{n}", "role": "human", "text": "later", "timestamp": "t"} for n in range(behind)]
            await redis.command("JSON.ARRAPPEND", steps.keys.document, "$.messages", *map(orjson.dumps, later))
            await redis.command("HSET", steps.keys.state, "count", before + 1 + behind, "pending", 1 + behind)
        turn = await steps.lease().next_turn()
        assert turn
        assert turn.to == asked
        texts = [message["text"] for message in turn.messages]
        assert texts == [*(f"text {n}" for n in range(before)), "asked"][-len(texts) :]
        assert min(before + 1, TURNS_READ // 2) <= len(texts) <= TURNS_READ


async def test_every_lease_has_an_owner_of_its_own(redis: RedisClient) -> None:
    steps = Steps(redis)
    assert len({steps.lease().owner for _ in range(100)}) == 100


async def test_losing_stops_the_holder_once(redis: RedisClient) -> None:
    lease = Steps(redis).lease()
    lease.lose()
    stopped: list[int] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(1)
            await asyncio.sleep(0)
            raise

    lease = Steps(redis).lease()
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    lease.held_by(task)
    lease.lose()
    lease.lose()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == [1]


async def test_renewing_nothing_asks_nothing(redis: RedisClient) -> None:
    await renew(redis, [])


async def test_a_lease_lasts_its_time_from_each_renewal(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, _ = await steps.begin()
        await redis.command("HSET", steps.keys.state, "lease_expires_at", 1)
        await renew(redis, [lease])
        seconds, micros = await redis.command("TIME")
        left = int((await steps.state())["lease_expires_at"]) - int(seconds) * 1000 - int(micros) // 1000
        assert 0 < left <= LEASE_MS
        assert not lease.lost


async def test_a_renewal_while_the_reply_ends_takes_nobodys_lease_for_lost(redis: RedisClient) -> None:
    """The end gives the lease back, and whoever ends the reply is not told to stop."""
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.finish(turn, "stop")
        await renew(redis, [lease])
        assert not lease.lost
