"""A conversation's length does not matter: it opens at its end, and what comes before is there for whoever asks."""

import json
import uuid

import pytest

from api.sessions import PIECE
from tasks.storage.conversations import WINDOW_BYTES, WINDOW_MESSAGES, Message
from tests.support.client import Chat, LegacyChat, history, new_token, replay
from tests.support.past import exchanges, give_past
from tests.support.servers import connect
from tests.support.stack import Stack


def put(stack: Stack, token: str, number: int, text: str) -> list[Message]:
    """Give a conversation so many exchanges; returns its messages."""
    messages = exchanges((f"{one} {text}", f"{one} {text}") for one in range(number))
    with connect(stack.redis.url) as client:
        give_past(client, token, messages)
    return messages


@pytest.mark.parametrize("text", ["hello", "\x01" * 2600])
async def test_it_opens_at_its_end_within_a_bound_and_page_by_page_all_of_it_is_there(stack: Stack, text: str) -> None:
    token = await new_token(stack.url)
    messages = put(stack, token, 150, text)
    async with Chat(stack.url, token) as chat:
        snapshot = await chat.next()
        page = snapshot["conversation"]
        assert len(json.dumps(snapshot, ensure_ascii=False).encode()) < WINDOW_BYTES + 2000
        assert len(page["messages"]) <= WINDOW_MESSAGES
        assert page["messages"] == messages[page["earlier"] :]
        pages = 1
        while (state := replay(chat.frames))["earlier"]:
            answer = await chat.history(state["messages"][0]["id"])
            assert answer["before"] == state["messages"][0]["id"]
            assert len(json.dumps(answer, ensure_ascii=False).encode()) < WINDOW_BYTES + 2000
            pages += 1
        assert pages > 3
        assert state["messages"] == messages


async def test_history_comes_in_the_middle_of_a_reply_and_disturbs_nothing(stack: Stack) -> None:
    token = await new_token(stack.url)
    messages = put(stack, token, 100, "hello")
    async with Chat(stack.url, token) as chat:
        first = (await chat.next())["conversation"]["messages"][0]["id"]
        stack.pace(rate=50)
        await chat.send("and on")
        await chat.until("reply.delta")
        await chat.history(first)
        stack.pace(rate=400)
        await chat.until("reply.finished")
        state = replay(chat.frames)
        assert state["messages"][:-2] == messages[state["earlier"] :]
        assert len(state["messages"]) > WINDOW_MESSAGES


async def test_history_before_what_is_not_there_is_refused(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        unknown = str(uuid.uuid4())
        rejected = await chat.history(unknown)
        assert (rejected["type"], rejected["code"], rejected["id"]) == ("error", "bad_frame", unknown)


async def test_the_model_reads_its_end(stack: Stack) -> None:
    token = await new_token(stack.url)
    put(stack, token, 500, "hello")
    async with Chat(stack.url, token) as chat:
        await chat.send("what now?")
        assert "what now" in (await chat.until("reply.finished"))["message"]["text"]


async def test_the_older_clients_history_has_all_of_it(stack: Stack) -> None:
    token = await new_token(stack.url)
    messages = put(stack, token, 3 * PIECE, "\x01 hello " * 100)
    assert [message["id"] for message in await history(stack.url, token)] == [message["id"] for message in messages]
    async with LegacyChat(stack.url, token) as older:
        assert "what now" in await older.ask("what now?")
    assert len(await history(stack.url, token)) == len(messages) + 2
