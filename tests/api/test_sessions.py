"""The session token: made where nobody can guess it, and the only key to its conversation."""

import re

import pytest

from api.sessions import BadName, conversation_of, create, legacy_history
from tasks.errors import ConversationGone
from tasks.storage.client import RedisClient
from tasks.storage.conversations import load
from tasks.storage.keys import conversation_id
from tests.support.steps import TTL, Steps


async def test_a_token_goes_raw_into_every_address_and_opens_its_conversation(redis: RedisClient) -> None:
    document = await create(redis, "Ada", TTL)
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,}", document["token"])
    view = await load(redis, conversation_of(document["token"]), TTL)
    assert legacy_history(view) == document


async def test_no_two_tokens_are_alike(redis: RedisClient) -> None:
    assert len({(await create(redis, "Ada", TTL))["token"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "token", ["", "short", "a" * 101, "a" * 19, "a" * 30 + " ", "a" * 30 + "\n", "é" * 30, "../" * 10]
)
def test_what_cannot_be_a_token_opens_nothing(token: str) -> None:
    with pytest.raises(ConversationGone):
        conversation_of(token)


def test_a_conversations_id_does_not_tell_its_token() -> None:
    token = "A" * 43
    assert conversation_id(token) == conversation_of(token)
    assert re.fullmatch(r"[0-9a-f]{32}", conversation_id(token))
    assert conversation_id("A" * 42 + "B") != conversation_id(token)


@pytest.mark.parametrize(("name", "taken"), [("  Ada\n", "Ada"), ("x" * 200, "x" * 200), ("👩🏽‍🚀", "👩🏽‍🚀")])
async def test_a_name_is_kept_without_the_space_around_it(redis: RedisClient, name: str, taken: str) -> None:
    assert (await create(redis, name, TTL))["name"] == taken


@pytest.mark.parametrize("name", ["", " ", "\n\t", "\u2003", "x" * 201])
async def test_a_name_that_nobody_can_have_is_refused_in_a_sentence(redis: RedisClient, name: str) -> None:
    with pytest.raises(BadName, match="enter a name"):
        await create(redis, name, TTL)


async def test_the_older_history_says_who_spoke_and_nothing_of_what_is_new(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await steps.say("again")
        await steps.answer("Hi")
        history = legacy_history(await steps.look())
    assert [message["msg"] for message in history["messages"]] == ["Human: hello", "Human: again", "Bot: Hi"]
    assert all(set(message) == {"id", "msg", "timestamp"} for message in history["messages"])
