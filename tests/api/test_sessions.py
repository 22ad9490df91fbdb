"""The session token: made where nobody can guess it, and the only key to its conversation."""

import json
import re
from typing import Any

import pytest

from api.sessions import conversation_of, create, legacy_history
from tasks.errors import ConversationGoneError, InvalidNameError
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.conversations import WINDOW_BYTES
from tasks.storage.keys import conversation_id
from tests.support.steps import TTL, Steps


async def test_a_token_goes_raw_into_every_address_and_opens_its_conversation(redis: RedisClient) -> None:
    document = await create(redis, "Ada", TTL)
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,}", document["token"])
    assert await whole_history(redis, document["token"]) == document


async def whole_history(redis: RedisClient, token: str) -> dict[str, Any]:
    """The history as a client of the older contract reads it."""
    pieces = await legacy_history(redis, conversation_of(token), TTL)
    history: dict[str, Any] = json.loads(b"".join([piece async for piece in pieces]))
    return history


async def test_no_two_tokens_are_alike(redis: RedisClient) -> None:
    assert len({(await create(redis, "Ada", TTL))["token"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "token", ["", "short", "a" * 101, "a" * 19, "a" * 30 + " ", "a" * 30 + "\n", "é" * 30, "../" * 10]
)
def test_what_cannot_be_a_token_opens_nothing(token: str) -> None:
    with pytest.raises(ConversationGoneError):
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
    with pytest.raises(InvalidNameError, match="enter a name"):
        await create(redis, name, TTL)


async def test_the_older_history_says_who_spoke_and_nothing_of_what_is_new(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await steps.say("again")
        await steps.answer("Hi")
        history = await whole_history(redis, steps.token)
    assert [message["msg"] for message in history["messages"]] == ["Human: hello", "Human: again", "Bot: Hi"]
    assert all(set(message) == {"id", "msg", "timestamp"} for message in history["messages"])


@pytest.mark.parametrize("many", [0, 1, 50, 51, 60, 61, 400])
async def test_the_older_history_is_whole_however_long_it_is(redis: RedisClient, many: int) -> None:
    async with Steps(redis) as steps:
        await steps.grow(many)
        history = await whole_history(redis, steps.token)
        assert [message["id"] for message in history["messages"]] == [f"m{n}" for n in range(many)]


async def test_no_piece_of_the_older_history_grows_with_the_conversation(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.grow(3000)
        pieces = await legacy_history(redis, conversation_of(steps.token), TTL)
        sizes = [len(piece) async for piece in pieces]
    assert max(sizes) < WINDOW_BYTES < sum(sizes)


async def test_replies_that_come_while_the_older_history_is_read_neither_repeat_nor_drop_a_message(
    redis: RedisClient,
) -> None:
    async with Steps(redis) as steps:
        await steps.grow(98)
        for text in ("one", "two", "three"):
            await steps.say(text)
        pieces = await legacy_history(redis, conversation_of(steps.token), TTL)
        read = [await anext(pieces)]
        for text in ("reply one", "reply two", "reply three"):
            await steps.answer(text)
        read += [piece async for piece in pieces]
    messages = [message["msg"] for message in json.loads(b"".join(read))["messages"]]
    assert messages[98:] == ["Human: one", "Human: two", "Human: three"]
    assert len(messages) == 101


async def test_a_conversation_that_is_deleted_while_it_is_read_never_looks_whole(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.grow(400)
        pieces = await legacy_history(redis, conversation_of(steps.token), TTL)
        await anext(pieces)
        await conversations.delete(redis, steps.id)
        with pytest.raises(ConversationGoneError):
            [piece async for piece in pieces]
