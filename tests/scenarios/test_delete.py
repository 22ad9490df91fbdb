"""A conversation that is deleted is gone, everywhere and at once."""

import httpx
import pytest
import websockets

from tasks.local.processes import wait_until
from tasks.storage.keys import ConversationKeys, conversation_id
from tests.support.client import Chat, LegacyChat, new_token
from tests.support.servers import connect
from tests.support.stack import Stack


async def forget(url: str, token: str) -> int:
    """Delete a conversation; the status of the answer."""
    async with httpx.AsyncClient() as http:
        return (await http.delete(f"{url}/token", params={"token": token})).status_code


async def test_every_open_socket_is_told_and_closed_and_nobody_comes_back(stack: Stack) -> None:
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here)
    async with Chat(here, token) as one, Chat(there, token) as two:
        await one.send("soon forgotten")
        await one.until("reply.finished")
        await two.until("reply.finished")
        assert await forget(here, token) == 204
        for chat in (one, two):
            assert await chat.closed_with() == 4401
            assert chat.frames[-1]["type"] == "conversation.deleted"
    assert await forget(here, token) == 400
    async with Chat(here, token) as late, Chat(here, token, after=one.cursor) as later:
        assert [await late.closed_with(), await later.closed_with()] == [4401, 4401]
    with pytest.raises(websockets.InvalidStatus):
        async with LegacyChat(here, token):
            pass


async def test_a_reply_that_is_being_written_ends_with_its_conversation(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.send("a long story")
        await chat.until("reply.delta")
        assert await forget(stack.url, token) == 204
        assert await chat.closed_with() == 4401
    wait_until(lambda: stack.model_stats()["open"] == 0, "the model to be let go")
    assert stack.model_stats()["cancelled"]
    keys = ConversationKeys(conversation_id(token))
    with connect(stack.redis.url) as client:
        assert not client.exists(keys.document, keys.state, keys.ids, keys.partial)
        assert client.zscore(keys.pending_index, conversation_id(token)) is None
        assert 0 < client.ttl(keys.events) <= 60
