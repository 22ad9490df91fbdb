"""The conversation as a document: made, looked at with its stream at one instant, forgotten."""

import json
import uuid

import pytest

from tasks.errors import ConversationGone
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.conversations import BEGINNING, reply_id
from tasks.storage.keys import conversation_id
from tests.support.steps import TTL, Steps

TOKEN = "kX3-9_aZ" * 5


async def test_a_new_conversation_is_empty_and_begins_at_the_beginning(redis: RedisClient) -> None:
    made = await conversations.create(redis, TOKEN, "Zoë 👍", TTL)
    view = await conversations.load(redis, conversation_id(TOKEN), TTL)
    assert json.loads(view.document) == made
    assert (made["token"], made["name"], made["messages"]) == (TOKEN, "Zoë 👍", [])
    assert (view.cursor, view.messages(), view.reply()) == (BEGINNING, [], None)


async def test_what_was_never_made_is_gone(redis: RedisClient) -> None:
    with pytest.raises(ConversationGone):
        await conversations.load(redis, conversation_id(TOKEN), TTL)


async def test_looking_is_use_and_prolongs_the_life_of_everything_that_lives_as_long(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        await steps.answer("Hi")
        keys = (steps.keys.document, steps.keys.state, steps.keys.ids)
        for key in keys:
            await redis.command("EXPIRE", key, 5)
        await steps.look()
        for key in keys:
            assert await redis.command("TTL", key) > 5


async def test_the_token_stands_in_no_key(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("hello")
        await steps.stop(id)
        keys = [key.decode() for key in await redis.command("KEYS", "*")]
        assert not [key for key in keys if steps.token in key]
        assert steps.token not in str(await redis.command("HGETALL", "parley:{queue}:replies.msgs"))


@pytest.mark.parametrize("many", [1, 2, 3])
async def test_the_reply_in_progress_names_the_message_in_turn(redis: RedisClient, many: int) -> None:
    async with Steps(redis) as steps:
        ids = [await steps.say(f"message {n}") for n in range(many)]
        reply = (await steps.look()).reply()
        assert reply == {"id": reply_id(ids[0]), "to": ids[0], "text": "", "state": "queued"}
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "so far")
        reply = (await steps.look()).reply()
        assert reply == {"id": reply_id(ids[0]), "to": ids[0], "text": "so far", "state": "writing"}


async def test_a_retry_in_progress_has_the_id_it_was_given(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        id = await steps.say("hello")
        await steps.answer("old")
        new = await steps.retry(id)
        await steps.say("and another")
        reply = (await steps.look()).reply()
        assert reply
        assert (reply["id"], reply["to"]) == (new, id)


async def test_who_waits_is_told_how_long_and_never_less_than_nothing(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.pause(lease, turn, "model_loading", until=1.0)
        reply = (await steps.look()).reply()
        assert reply
        assert (reply["state"], reply["reason"], reply["retry_in"]) == ("waiting", "model_loading", 0.0)


def test_the_id_of_a_reply_is_a_uuid_of_its_own_and_always_the_same() -> None:
    message = str(uuid.uuid4())
    assert reply_id(message) == reply_id(message) != message
    assert uuid.UUID(reply_id(message))
