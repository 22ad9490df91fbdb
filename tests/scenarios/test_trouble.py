"""When a part is away: the person is told, nothing accepted is lost, and it heals by itself."""

import httpx
import pytest
import websockets

from tests.support.client import PATIENCE, Chat, LegacyChat, history, new_token, replay
from tests.support.stack import Stack, answers


async def service(chat: Chat, *states: str) -> None:
    """Read until the socket has said exactly this of the service, from its beginning on."""
    while (said := [f["state"] for f in chat.frames if f["type"] == "service"]) != [*states]:
        assert said == [*states[: len(said)]]
        await chat.next()


async def test_redis_down_at_start_is_said_on_every_way_and_heals(own_stack: Stack) -> None:
    own_stack.redis.kill()
    own_stack.start_web()
    own_stack.start_worker()
    url = own_stack.url
    assert answers(f"{url}/healthz")
    headers = {"Origin": "http://localhost:3000"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert "Redis" in ready.json()["missing"][0]
        for answer in (await http.post("/token?name=Ada"), await http.get(f"/refresh_token?token={'A' * 43}")):
            assert answer.status_code == 503
            assert "try again" in answer.json()["detail"]
            assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    async with Chat(url, "A" * 43) as chat:
        assert await chat.closed_with() == 1012
    with pytest.raises(websockets.InvalidStatus):
        async with LegacyChat(url, "A" * 43):
            pass
    own_stack.redis.start()
    own_stack.wait_ready(60)
    async with Chat(url, await new_token(url)) as chat:
        await chat.send("are we well again?")
        await chat.until("reply.finished")


async def test_redis_gone_in_mid_reply_is_said_and_everything_goes_on_where_it_was(own_stack: Stack) -> None:
    own_stack.start_web()
    own_stack.start_worker()
    own_stack.wait_ready(60)
    own_stack.pace(rate=20)
    url = own_stack.url
    token = await new_token(url)
    async with Chat(url, token) as chat, LegacyChat(url, await new_token(url)) as older:
        first = await chat.send("the first")
        for _ in range(4):
            await chat.until("reply.delta")
        own_stack.redis.kill()
        await service(chat, "storage_away")
        second = await chat.send("the second")
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("unavailable", second)
        assert "could not be stored" in await older.ask("and I?")
        own_stack.redis.start()
        assert (await chat.until("reply.finished"))["message"]["to"] == first
        await service(chat, "storage_away", "ok")
        own_stack.pace(rate=0)
        await chat.send("the second", second)
        finished = (await chat.until("reply.finished"))["message"]
        assert finished["to"] == second
        assert replay(chat.frames)["messages"][-1] == finished
        assert "I again" in await older.ask("and I again?")
    messages = [message["msg"] for message in await history(url, token)]
    assert [msg for msg in messages if msg.startswith("Human")] == ["Human: the first", "Human: the second"]
    async with Chat(url, token) as newcomer:
        kept = (await newcomer.next())["conversation"]["messages"]
    assert replay(chat.frames)["messages"] == kept
    shown = "".join(f["text"] for f in chat.frames if f["type"] == "reply.delta" and f["id"] == kept[1]["id"])
    assert shown == kept[1]["text"]


async def test_without_a_worker_a_message_waits_and_says_so_until_one_comes(own_stack: Stack) -> None:
    own_stack.start_web()
    url = own_stack.url
    own_stack.wait_not_ready(60)
    token = await new_token(url)
    async with Chat(url, token) as chat:
        await service(chat, "no_worker")
        id = await chat.send("is anybody there?")
        assert (await chat.until("message.accepted"))["message"]["id"] == id
        async with Chat(url, token) as newcomer:
            snapshot = await newcomer.next()
            assert (snapshot["reply"]["to"], snapshot["reply"]["state"]) == (id, "queued")
            assert await newcomer.next() == {"type": "service", "state": "no_worker"}
        async with httpx.AsyncClient() as http:
            ready = await http.get(f"{url}/readyz")
            assert (ready.status_code, "worker" in ready.json()["missing"][0]) == (503, True)
        own_stack.start_worker()
        assert (await chat.until("reply.finished"))["message"]["to"] == id
        await service(chat, "no_worker", "ok")
    own_stack.wait_ready(60)


async def test_a_stop_without_a_worker_ends_the_waiting_at_once(own_stack: Stack) -> None:
    own_stack.start_web()
    async with Chat(own_stack.url, await new_token(own_stack.url)) as chat:
        id = await chat.send("never mind")
        await chat.until("message.accepted")
        await chat.stop(id)
        ended = (await chat.until("reply.finished"))["message"]
        assert (ended["to"], ended["text"], ended["finish_reason"]) == (id, "", "stopped")
