"""What a person can do in a conversation, as the sockets ask for it: within the limits, and told clearly."""

import asyncio
import uuid

import pytest

from api import messages
from tasks.errors import FrameRejectedError
from tasks.storage.client import RedisClient
from tasks.storage.conversations import reply_id
from tests.support.steps import TTL, Steps


async def test_the_frame_of_a_known_message_is_the_events_own(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("hello")
        again = await messages.accept(redis, steps.id, id, "another", TTL)
        (event,) = await steps.events()
        assert again.frame() == messages.Accepted(event["cursor"], event["message"], known=True).frame()


async def test_the_same_message_from_two_sockets_at_once_is_one(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = str(uuid.uuid4())
        both = await asyncio.gather(*(messages.accept(redis, steps.id, id, "hello", TTL) for _ in range(2)))
        assert sorted(accepted.known for accepted in both) == [False, True]
        assert len({accepted.cursor for accepted in both}) == 1
        assert await steps.texts() == ["hello"]


async def test_a_message_is_known_to_be_held_only_while_a_worker_will_come_to_it(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        lease, turn = steps.lease(), None
        assert not (await messages.accept(redis, steps.id, str(uuid.uuid4()), "one", TTL)).held
        assert not (await messages.accept(redis, steps.id, str(uuid.uuid4()), "two", TTL)).held
        turn = await lease.next_turn()
        assert (await messages.accept(redis, steps.id, id := str(uuid.uuid4()), "three", TTL)).held
        assert not (await messages.accept(redis, steps.id, id, "three", TTL)).held, "said again: it may not be queued"
        assert turn
        await messages.stop(redis, steps.id, turn.to, TTL)
        assert not (await messages.accept(redis, steps.id, str(uuid.uuid4()), "four", TTL)).held


async def test_an_id_that_a_retry_has_used_cannot_name_a_message(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("hello")
        await steps.answer("old")
        used = await steps.retry(id)
        for _ in range(2):
            with pytest.raises(FrameRejectedError) as rejected:
                await messages.accept(redis, steps.id, used, "lost?", TTL)
            assert (rejected.value.code, rejected.value.id) == ("bad_frame", used)
            await steps.answer("new") if (await steps.look()).reply() else None
        assert await steps.texts() == ["hello", "new"]


@pytest.mark.parametrize("before", [True, False], ids=["before the message", "while the reply is due"])
async def test_a_retry_with_the_id_of_a_messages_reply_and_that_message_are_not_both_taken(
    redis: RedisClient, before: bool
) -> None:
    """Anybody can compute that id. Taken for both, each end of the reply would count as a repeat, for ever."""
    async with Steps(redis) as steps:
        first, second = await steps.say("one"), str(uuid.uuid4())
        await steps.answer("reply one")
        if before:
            await steps.retry(first, reply_id(second))
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.say("two", second)
        else:
            await steps.say("two", second)
            await steps.answer("reply two")
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.retry(second, reply_id(second))
        assert rejected.value.code == "bad_frame"
        if before:
            await steps.answer("another reply one")
        assert (await steps.look()).reply() is None
        await steps.say("three")
        await steps.answer("reply three")
        assert (await steps.texts())[-2:] == ["three", "reply three"]


async def test_an_id_of_a_reply_or_a_message_cannot_name_anything_else(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        first = await steps.say("one")
        for due in (True, False):
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.say("two", reply_id(first))
            assert (rejected.value.code, rejected.value.id) == ("bad_frame", reply_id(first))
            await steps.answer("reply one") if due else None
        for used in (first, reply_id(first)):
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.retry(first, used)
            assert (rejected.value.code, rejected.value.id) == ("bad_frame", used)
        assert await steps.texts() == ["one", "reply one"]


async def test_an_id_of_a_retry_cannot_name_a_retry_of_another_message(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        used = await steps.retry(await steps.say_and_answer("one", "reply one"))
        await steps.answer("another reply one")
        second = await steps.say_and_answer("two", "reply two")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.retry(second, used)
        assert (rejected.value.code, rejected.value.id) == ("bad_frame", used)


async def test_of_two_retries_at_once_one_is_done_and_the_other_busy(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("hello")
        await steps.answer("old")
        done = await asyncio.gather(*(steps.retry(id) for _ in range(2)), return_exceptions=True)
        rejected = [outcome for outcome in done if isinstance(outcome, FrameRejectedError)]
        assert [outcome.code for outcome in rejected] == ["busy"]
        await steps.answer("new")
        assert await steps.texts() == ["hello", "new"]


async def test_a_retry_and_a_message_at_once_are_both_answered_or_the_retry_refused(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("one")
        await steps.answer("old")
        retried, _ = await asyncio.gather(steps.retry(id), steps.say("two"), return_exceptions=True)
        if isinstance(retried, str):
            await steps.answer("new")
        await steps.answer("reply two")
        assert (await steps.look()).reply() is None
        assert (await steps.texts())[-2:] == ["two", "reply two"]


async def test_two_stops_at_once_end_one_reply_once(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("one")
        await steps.say("two")
        await asyncio.gather(steps.stop(id), steps.stop(id))
        assert await steps.texts() == ["one", "", "two"]
        assert (await steps.state())["pending"] == "1"
