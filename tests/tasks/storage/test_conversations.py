"""The conversation as a document: created, read with its stream at one instant, deleted."""

import uuid

import orjson
import pytest

from tasks.errors import ConversationGoneError
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.conversations import (
    BEGINNING,
    MAX_PENDING,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Message,
    Page,
    reply_id,
)
from tasks.storage.keys import conversation_id
from tests.support.steps import TTL, Steps

TOKEN = "kX3-9_aZ" * 5


async def test_a_new_conversation_is_empty_and_begins_at_the_beginning(redis: RedisClient) -> None:
    made = await conversations.create(redis, TOKEN, "Zoë 👍", TTL)
    view = await conversations.load(redis, conversation_id(TOKEN), TTL)
    assert view.conversation() == {**made, "earlier": 0}
    assert (made["token"], made["name"], made["messages"]) == (TOKEN, "Zoë 👍", [])
    assert (view.cursor, view.page, view.reply()) == (BEGINNING, Page([], 0), None)


async def test_what_was_never_made_is_gone(redis: RedisClient) -> None:
    with pytest.raises(ConversationGoneError):
        await conversations.load(redis, conversation_id(TOKEN), TTL)


async def test_looking_is_use_and_prolongs_the_life_of_everything_that_lives_as_long(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        await steps.answer("Hi")
        await steps.say("and more")
        await steps.write(*await steps.begin(), "so far")
        keys = (steps.keys.document, steps.keys.state, steps.keys.ids, steps.keys.partial)
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


def size(page: Page) -> int:
    """Bytes of JSON that the messages of a page take."""
    return len(orjson.dumps(page.messages))


@pytest.mark.parametrize("many", [0, 1, 2, WINDOW_MESSAGES - 1, WINDOW_MESSAGES, WINDOW_MESSAGES + 1, 500])
async def test_a_view_holds_the_last_exchanges_and_says_how_many_messages_come_before(
    redis: RedisClient, many: int
) -> None:
    async with Steps(redis) as steps:
        await steps.grow(many)
        page = (await steps.look()).page
        assert page.messages == (await steps.messages())[page.earlier :]
        assert len(page.messages) > min(many, WINDOW_MESSAGES) - 2
        assert [message["role"] for message in page.messages[:1]] == ["human"][:many]


def exchange(number: int, text: str) -> list[Message]:
    """A message and its reply, both of this text."""
    asked = {"id": f"m{number}", "role": "human", "text": text, "timestamp": "t"}
    reply = {"id": f"r{number}", "role": "bot", "text": text, "timestamp": "t", "finish_reason": "stop"}
    return [asked, {**reply, "to": f"m{number}"}]


@pytest.mark.parametrize("text", ["x" * 4000, "\x01" * 4000, "\n" * 4000, "👍" * 4000])
async def test_a_view_is_bounded_in_bytes_whatever_stands_in_its_messages(redis: RedisClient, text: str) -> None:
    async with Steps(redis) as steps:
        await steps.put([message for n in range(100) for message in exchange(n, text)])
        page = (await steps.look()).page
        assert size(page) <= WINDOW_BYTES
        assert page.messages
        assert page.earlier + len(page.messages) == 200
        older = await conversations.history(redis, steps.id, page.messages[0]["id"])
        assert older
        assert size(older) <= WINDOW_BYTES
        assert older.earlier + len(older.messages) == page.earlier


async def test_the_last_exchange_is_there_however_large(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.put([*exchange(1, "small"), *exchange(2, "x" * WINDOW_BYTES)])
        page = (await steps.look()).page
        assert [message["id"] for message in page.messages] == ["m2", "r2"]
        older = await conversations.history(redis, steps.id, "m2")
        assert older == Page(exchange(1, "small"), 0)


async def test_everything_that_is_pending_is_there_however_large(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.put(exchange(0, "settled"))
        ids = [await steps.say("x" * 4000) for _ in range(MAX_PENDING)]
        view = await steps.look()
        assert [message["id"] for message in view.page.messages] == ids
        assert view.page.earlier == 2
        reply = view.reply()
        assert reply
        assert reply["to"] == ids[0]


async def test_while_an_answer_is_retried_with_others_waiting_its_exchange_is_there(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.grow(100)
        await steps.retry("m98")
        for _ in range(MAX_PENDING - 1):
            await steps.say("x" * 4000)
        view = await steps.look()
        assert [message["id"] for message in view.page.messages[:2]] == ["m98", "m99"]
        reply = view.reply()
        assert reply
        assert reply["to"] == "m98"


async def test_page_by_page_all_of_a_conversation_is_found_each_message_once(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.grow(300)
        page = (await steps.look()).page
        found, earlier = page.messages, page.earlier
        while earlier:
            older = await conversations.history(redis, steps.id, found[0]["id"])
            assert older
            assert older.messages
            assert older.earlier + len(older.messages) == earlier
            found, earlier = [*older.messages, *found], older.earlier
        assert found == await steps.messages()
        assert await conversations.history(redis, steps.id, found[0]["id"]) == Page([], 0)


async def test_what_is_before_a_message_is_found_wherever_replies_have_moved_it(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        ids = [await steps.say(text) for text in ("one", "two", "three")]
        await steps.answer("reply one")
        await steps.answer("reply two", finish_reason="length")
        await steps.answer("reply three", finish_reason="length")
        new = await steps.retry(ids[2])
        await steps.answer("reply drei", finish_reason="length")
        await steps.grow_reply(ids[2])
        await steps.answer(" and more")
        texts = ["one", "reply one", "two", "reply two", "three"]
        for before, count in ((ids[0], 0), (ids[1], 2), (ids[2], 4), (reply_id(ids[0]), 1), (new, 5)):
            older = await conversations.history(redis, steps.id, before)
            assert older
            assert [message["text"] for message in older.messages] == texts[:count]
        edited = await steps.edit(ids[2], "edited")
        older = await conversations.history(redis, steps.id, edited)
        assert older
        assert [message["text"] for message in older.messages] == texts[:4]


async def test_before_what_is_not_there_is_nothing(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        old = await steps.say_and_answer("one", "reply one")
        wish = await steps.retry(old)
        await steps.answer("another")
        await steps.edit(old, "two")
        for id in (old, reply_id(old), wish, reply_id("nobody"), "stop:x", "*", ""):
            assert await conversations.history(redis, steps.id, id) is None
        await conversations.delete(redis, steps.id)
        with pytest.raises(ConversationGoneError):
            await conversations.history(redis, steps.id, old)
