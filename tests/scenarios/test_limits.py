"""Limits: each is answered clearly, counts for its own only, and 0 means none."""

import asyncio
import json

import httpx
import pytest
import websockets

from tests.support.client import PATIENCE, Chat, LegacyChat, new_token
from tests.support.stack import Stack


async def test_too_many_messages_are_refused_with_the_time_to_wait_in_every_process_and_other_sessions_are_not(
    stack: Stack,
) -> None:
    limit = {"LIMIT_MESSAGES_PER_MINUTE": "2"}
    with stack.another_web(**limit) as here, stack.another_web(**limit) as there:
        token = await new_token(here)
        async with Chat(here, token) as one, Chat(there, token) as two, Chat(there, await new_token(here)) as other:
            for chat in (one, two):
                await chat.send("allowed")
                await one.until("reply.finished")
            for chat in (one, two):
                id = await chat.send("too much")
                rejected = await chat.until("error")
                assert (rejected["code"], rejected["id"]) == ("rate_limited", id)
                assert 0 < rejected["retry_in"] <= 60
                assert "2 messages a minute" in rejected["detail"]
            await other.send("not limited")
            await other.until("reply.finished")


async def test_too_many_sessions_of_one_address_are_answered_with_429(stack: Stack) -> None:
    with stack.another_web(LIMIT_SESSIONS_PER_HOUR="1") as url:
        async with httpx.AsyncClient(base_url=url, headers={"Origin": "http://localhost:3000"}) as http:
            first, second = [await http.post("/token?name=Ada") for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 429)
    assert 0 < int(second.headers["retry-after"]) <= 3600
    assert "seconds" in second.json()["detail"]
    assert second.headers["access-control-allow-origin"] == "http://localhost:3000"


async def rejected(url: str, token: str) -> bool:
    """Whether there is no room for another socket."""
    async with Chat(url, token) as chat:
        try:
            return bool((await chat.next())["type"] != "snapshot")
        except websockets.ConnectionClosed as closed:
            return bool(closed.rcvd and closed.rcvd.code == 4429)


async def check_refused(url: str, token: str) -> None:
    """A socket of either kind is turned away."""
    async with Chat(url, token) as more:
        assert await more.closed_with() == 4429
    with pytest.raises(websockets.InvalidStatus):
        async with LegacyChat(url, token):
            pass


async def test_a_socket_too_many_is_closed_with_4429_and_a_closed_one_makes_room(stack: Stack) -> None:
    with stack.another_web(LIMIT_SOCKETS_PER_SESSION="1", LIMIT_SOCKETS_PER_ADDRESS="2") as url:
        mine, other, newcomer = [await new_token(url) for _ in range(3)]
        async with Chat(url, mine) as first:
            await first.next()
            await check_refused(url, mine)  # one too many of its session
            async with Chat(url, other) as second:
                await second.next()
                await check_refused(url, newcomer)  # one too many of its address
                await first.send("still served")
                await first.until("reply.finished")
            while await rejected(url, newcomer):
                pass
        while await rejected(url, mine):
            pass


async def test_sockets_are_counted_over_all_web_processes_and_those_of_a_killed_one_not_for_long(
    own_stack: Stack,
) -> None:
    limit = {"LIMIT_SOCKETS_PER_SESSION": "1"}
    killed = own_stack.start_web(**limit)
    own_stack.start_worker()
    own_stack.wait_ready()
    own_stack.start_web(**limit)
    there, here = [f"http://127.0.0.1:{port}" for port in own_stack.ports]
    mine, other = await new_token(here), await new_token(here)
    async with Chat(there, mine) as first:
        await first.next()
        await check_refused(here, mine)
        assert not await rejected(here, other)
        own_stack.kill(killed)
        async with asyncio.timeout(PATIENCE):
            while await rejected(here, mine):
                await asyncio.sleep(0.1)


async def test_the_limit_of_a_texts_length_is_told_in_the_snapshot_and_held(stack: Stack) -> None:
    with stack.another_web(LIMIT_TEXT="5") as url:
        async with Chat(url, await new_token(url)) as chat:
            assert (await chat.next())["limits"]["text"] == 5
            await chat.send("123456")
            rejected = await chat.until("error")
            assert rejected["code"] == "too_long"
            assert "6" in rejected["detail"]
            await chat.send("12345")
            await chat.until("reply.finished")


async def test_no_limit_of_a_texts_length_leaves_the_frames_own(stack: Stack) -> None:
    with stack.another_web(LIMIT_TEXT="0") as url:
        async with Chat(url, await new_token(url)) as chat:
            await chat.send("word " * 12_000)
            assert (await chat.until("reply.finished", "reply.failed"))["type"] == "reply.finished"


async def test_a_full_conversation_says_so_and_stays_readable(stack: Stack) -> None:
    with stack.another_web(LIMIT_MESSAGES="2") as url:
        async with Chat(url, await new_token(url)) as chat:
            id = await chat.send("one")
            await chat.until("reply.finished")
            rejected = await chat.send("two")
            assert json.dumps(rejected) in json.dumps(error := await chat.until("error"))
            assert "new one" in error["detail"]
            await chat.retry(id)
            await chat.until("reply.finished")
