"""Limits: each is answered clearly, counts for its own only, and 0 means none."""

import asyncio
import contextlib
import json

import httpx
import pytest
import websockets

from tasks.storage.client import RedisClient
from tests.support.client import PATIENCE, Chat, LegacyChat, new_token
from tests.support.stack import Stack
from tests.support.steps import Steps


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


#: Frames that no person sends in a few seconds, of every kind that costs something.
FLOODS = {
    "messages": '{"type":"message.send","id":"00000000-0000-4000-8000-000000000001","text":"More"}',
    "stops": '{"type":"reply.stop","to":"00000000-0000-4000-8000-000000000001"}',
    "retries": '{"type":"reply.retry","to":"00000000-0000-4000-8000-000000000001","id":"not a uuid"}',
    "nonsense": "{",
}


@pytest.mark.parametrize("frame", FLOODS.values(), ids=FLOODS)
async def test_a_socket_that_floods_is_closed_with_1008_and_others_of_its_conversation_are_not(
    stack: Stack, frame: str
) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as quiet:
        async with Chat(stack.url, token) as flooding:
            sending = asyncio.create_task(send_forever(flooding.socket, frame))
            assert await flooding.closed_with() == 1008
            await sending
        await quiet.send("I am still here")
        await quiet.until("reply.finished")


async def test_an_older_socket_that_floods_is_closed_with_1008(stack: Stack) -> None:
    async with LegacyChat(stack.url, await new_token(stack.url)) as chat:
        sending = asyncio.create_task(send_forever(chat.socket, "More"))
        await asyncio.wait_for(chat.socket.wait_closed(), PATIENCE)
        await sending
        assert chat.socket.close_code == 1008


async def test_a_burst_that_people_send_after_an_outage_is_taken_whole(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.until("snapshot")
        for _ in range(50):
            await chat.socket.send('{"type":"reply.stop","to":"00000000-0000-4000-8000-000000000001"}')
        await chat.send("All of this was waiting")
        await chat.until("reply.finished")


async def send_forever(socket: websockets.ClientConnection, frame: str) -> None:
    """Send as fast as the wire takes it, until it is closed."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await socket.send(frame)
            await asyncio.sleep(0)  # to read what the server says


async def test_more_frames_of_an_address_than_possible_are_refused_with_the_time_to_wait(stack: Stack) -> None:
    with stack.another_web(LIMIT_MESSAGES_PER_ADDRESS="6") as url:
        async with Chat(url, await new_token(url)) as chat:
            await chat.until("snapshot")
            for _ in range(20):
                await chat.stop("00000000-0000-4000-8000-000000000001")
            rejected = await chat.until("error")
    assert (rejected["code"], rejected["id"]) == ("rate_limited", "00000000-0000-4000-8000-000000000001")
    assert rejected["retry_in"] > 0


async def test_stops_of_a_session_are_limited_and_messages_are_counted_apart(stack: Stack) -> None:
    with stack.another_web(LIMIT_MESSAGES_PER_MINUTE="2") as url:
        async with Chat(url, await new_token(url)) as chat:
            await chat.until("snapshot")
            for _ in range(5):
                await chat.stop("00000000-0000-4000-8000-000000000001")
            rejected = await chat.until("error")
            assert rejected["code"] == "rate_limited"
            assert "4 stops a minute" in rejected["detail"]
            await chat.send("Still possible")
            await chat.until("reply.finished")


async def test_more_calls_of_an_address_than_possible_are_answered_with_429_and_sockets_are_closed(
    stack: Stack,
) -> None:
    with stack.another_web(LIMIT_CALLS_PER_ADDRESS="50", TRUSTED_PROXIES="1") as url:
        token = await new_token(url)
        mine, yours = [{"X-Forwarded-For": address} for address in ("192.0.2.77", "192.0.2.78")]
        async with httpx.AsyncClient(base_url=url, headers={"Origin": "http://localhost:3000"}) as http:
            answers = [await http.get("/refresh_token", params={"token": token}, headers=mine) for _ in range(12)]
            assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
            assert 0 < int(answers[-1].headers["retry-after"]) <= 60
            assert answers[-1].headers["access-control-allow-origin"] == "http://localhost:3000"
            for method, path in (("POST", "/token?name=Ada"), ("DELETE", "/token?token=x"), ("GET", "/metrics")):
                assert (await http.request(method, path, headers=mine)).status_code == 429
            assert (await http.get("/healthz", headers=mine)).status_code == 200
            assert (await http.get("/refresh_token", params={"token": token}, headers=yours)).status_code == 200
        async with Chat(url, token, additional_headers=mine) as chat:
            assert await chat.closed_with() == 4429
        with pytest.raises(websockets.InvalidStatus):
            async with LegacyChat(url, token, additional_headers=mine):
                pass
        async with Chat(url, token, additional_headers=yours) as chat:
            assert (await chat.next())["type"] == "snapshot"


async def test_with_no_worker_alive_the_sockets_of_a_killed_web_process_do_not_count_for_long_either(
    own_stack: Stack,
) -> None:
    limit = {"LIMIT_SOCKETS_PER_SESSION": "1"}
    killed = own_stack.start_web(**limit)
    own_stack.start_web(**limit)
    there, here = [f"http://127.0.0.1:{port}" for port in own_stack.ports]
    mine = await new_token(here)
    async with Chat(there, mine) as first:
        await first.next()
        own_stack.kill(killed)
        async with asyncio.timeout(PATIENCE):
            while await rejected(here, mine):
                await asyncio.sleep(0.1)


async def test_clients_that_ask_for_a_history_and_hang_up_take_no_connection_to_redis_with_them(stack: Stack) -> None:
    redis = RedisClient(stack.redis.url, max_connections=1)
    with stack.another_web() as url:
        port = int(url.rpartition(":")[2])
        async with Steps(redis) as steps:
            await steps.grow(2000)
            ask = f"GET /refresh_token?token={steps.token} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            for number in range(60):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(ask)
                await asyncio.sleep(0.001 * number)  # each hangs up at another moment
                writer.transport.abort()
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
            assert [(await http.post("/token?name=Ada")).status_code for _ in range(3)] == [200] * 3
    await redis.aclose()


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
