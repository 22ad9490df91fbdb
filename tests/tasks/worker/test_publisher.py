"""The writer: what all replies of a process say, in order, in few goes, and as long as the lease allows."""

import asyncio
import contextlib

import pytest

from tasks.errors import LeaseLostError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.storage.client import RedisClient
from tasks.worker.publisher import MAX_UNSENT, Publisher, ReplyBuffer
from tests.support.between import Between
from tests.support.steps import Steps


async def deltas(steps: Steps) -> list[str]:
    """The texts in the stream."""
    return [event["text"] for event in await steps.events() if event["type"] == "reply.delta"]


async def test_texts_that_come_together_leave_together(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        buffer = ReplyBuffer(lease, turn.reply)
        words = [f"word{n} " for n in range(200)]
        for word in words:
            steps.publisher.write(buffer, word)
        await steps.publisher.drain(buffer)
        sent = await deltas(steps)
        assert "".join(sent) == "".join(words)
        assert len(sent) < 20
        assert lease.written == len("".join(words))


async def test_many_replies_share_the_writer_and_keep_their_own_words(redis: RedisClient) -> None:
    async with contextlib.AsyncExitStack() as stack:
        several = [await stack.enter_async_context(Steps(redis)) for _ in range(10)]
        publisher = several[0].publisher
        buffers = []
        for steps in several:
            await steps.say("hello")
            lease, turn = await steps.begin()
            buffers.append(ReplyBuffer(lease, turn.reply))
        for word in range(30):
            for number, buffer in enumerate(buffers):
                publisher.write(buffer, f"{number}.{word} ")
            await asyncio.sleep(0)
        for number, (steps, buffer) in enumerate(zip(several, buffers, strict=True)):
            await publisher.drain(buffer)
            assert "".join(await deltas(steps)) == "".join(f"{number}.{word} " for word in range(30))


async def test_a_pause_stands_between_the_words_before_and_after_it(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        buffer = ReplyBuffer(lease, turn.reply)
        steps.publisher.write(buffer, "before")
        steps.publisher.pause(buffer, "retrying", 1.0, 2e9)
        steps.publisher.write(buffer, " after")
        await steps.publisher.drain(buffer)
        assert [event["type"] for event in (await steps.events())[2:]] == [
            "reply.delta",
            "reply.waiting",
            "reply.delta",
        ]
        progress = (await steps.look()).progress
        assert (progress.partial, progress.phase, progress.waiting) == ("before after", "writing", None)


async def test_a_lost_lease_stops_its_holder_and_nobody_elses_words(redis: RedisClient) -> None:
    async with Steps(redis) as steps, Steps(redis) as other:
        buffers = []
        for each in (steps, other):
            await each.say("hello")
            lease, turn = await each.begin()
            buffers.append(ReplyBuffer(lease, turn.reply))
        await steps.stop((await steps.messages())[0]["id"])
        holder = asyncio.create_task(asyncio.Event().wait())
        buffers[0].lease.held_by(holder)
        for buffer in buffers:
            steps.publisher.write(buffer, "words")
        with pytest.raises(LeaseLostError):
            await steps.publisher.drain(buffers[0])
        await steps.publisher.drain(buffers[1])
        with contextlib.suppress(asyncio.CancelledError):
            await holder
        assert holder.cancelled()
        assert (await deltas(steps), await deltas(other)) == ([], ["words"])


async def test_words_lost_in_a_failure_of_our_own_leave_no_gap(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a writer that fails while it sends, the reply goes on from what stands in Redis, with another lease."""
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "one ")
        buffer = ReplyBuffer(lease, turn.reply)

        async def fails(*_: object) -> list[int]:
            steps.publisher.write(buffer, "three ")
            raise ValueError("a mistake of ours")

        steps.publisher.write(buffer, "two ")
        with monkeypatch.context() as broken:
            broken.setattr(steps.redis, "script", fails)
            with pytest.raises(ValueError, match="mistake"):
                await steps.publisher.flush()
        await steps.publisher.flush()
        assert lease.lost
        assert await deltas(steps) == ["one "]
        with pytest.raises(LeaseLostError):
            steps.publisher.write(buffer, "four ")
        await lease.release()
        assert (await steps.begin())[1].partial == "one "


async def test_whoever_writes_is_told_when_too_much_of_a_reply_is_unsent(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        idle = Publisher(redis)
        buffer = ReplyBuffer(lease, turn.reply)
        assert idle.write(buffer, "x" * MAX_UNSENT)
        assert not idle.write(buffer, "x")
        running = asyncio.create_task(idle.run())
        await idle.drain(buffer)
        assert lease.written == MAX_UNSENT + 1
        assert idle.write(buffer, "x")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_while_redis_is_away_words_are_kept_and_then_sent_once(real_redis: EmbeddedRedis) -> None:
    async with Between(real_redis) as between:
        through = RedisClient(between.url, max_connections=2, retries=0)
        async with Steps(between.direct) as steps:
            await steps.say("hello")
            lease, turn = await steps.begin()
            publisher = Publisher(through)
            running = asyncio.create_task(publisher.run())
            buffer = ReplyBuffer(lease, turn.reply)
            publisher.write(buffer, "before")
            await publisher.drain(buffer)
            between.refuse()
            for word in (" while", " it", " was", " away"):
                publisher.write(buffer, word)
                await asyncio.sleep(0.02)
            await between.admit()
            await publisher.drain(buffer)
            assert "".join(await deltas(steps)) == "before while it was away"
            assert not lease.lost
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        await through.aclose()
