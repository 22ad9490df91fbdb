"""What a client must not send: each is refused in words, and nothing that is good gets lost beside it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets

from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import wait_until
from tasks.storage.conversations import reply_id
from tasks.storage.keys import ConversationKeys, conversation_id
from tests.support.client import Chat, LegacyChat, history, new_token
from tests.support.servers import connect
from tests.support.stack import Stack

ID = "3f0c9a52-7d0e-4a55-9d6e-0d8f3f1b2a01"
OTHER = "3f0c9a52-7d0e-4a55-9d6e-0d8f3f1b2a02"
FORBIDDEN = "http://evil.example"


@pytest.fixture(autouse=True)
def _at_once(stack: Stack) -> None:
    stack.pace(rate=0)


def send(**fields: Any) -> str:
    """A message.send, well formed but for what `fields` say."""
    return json.dumps({"type": "message.send", "id": ID, "text": "good"} | fields)


BAD_FRAMES: dict[str, tuple[str | bytes, str, str | None]] = {
    "nothing at all": ("", "bad_frame", None),
    "not JSON": ("hello", "bad_frame", None),
    "JSON cut off": (send()[:-1], "bad_frame", None),
    "half a surrogate pair": (send(text="?").replace("?", "\\ud800"), "bad_frame", None),
    "nested too deeply": ("[" * 30_000, "bad_frame", None),
    "a list": ("[]", "bad_frame", None),
    "a string": ('"hello"', "bad_frame", None),
    "null": ("null", "bad_frame", None),
    "no type": (json.dumps({"id": ID, "text": "x"}), "bad_frame", ID),
    "an unknown type": (send(type="message.shout"), "bad_frame", ID),
    "a type that is no text": (send(type=["message.send"]), "bad_frame", ID),
    "no text": (json.dumps({"type": "message.send", "id": ID}), "bad_frame", ID),
    "a text that is a number": (send(text=7), "bad_frame", ID),
    "a text that is a list": (send(text=["x"]), "bad_frame", ID),
    "a text that is null": (send(text=None), "bad_frame", ID),
    "an empty text": (send(text=""), "empty", ID),
    "a blank text": (send(text=" \n\t\u2003 "), "empty", ID),
    "a text of 4,001 characters": (send(text="x" * 4001), "too_long", ID),
    "no id": (json.dumps({"type": "message.send", "text": "x"}), "bad_frame", None),
    "an id that is not a UUID": (send(id="message-1"), "bad_frame", "message-1"),
    "an id that is a number": (send(id=1), "bad_frame", None),
    "an id with a line break after it": (send(id=ID + "\n"), "bad_frame", ID + "\n"),
    "a stop of nothing": (json.dumps({"type": "reply.stop"}), "bad_frame", None),
    "a stop of what is no UUID": (json.dumps({"type": "reply.stop", "to": "*"}), "bad_frame", None),
    "a retry without an id": (json.dumps({"type": "reply.retry", "to": ID}), "bad_frame", None),
    "a retry without a message": (json.dumps({"type": "reply.retry", "id": ID}), "bad_frame", ID),
    "a retry in an empty conversation": (json.dumps({"type": "reply.retry", "to": OTHER, "id": ID}), "bad_frame", ID),
    "an edit without a text": (json.dumps({"type": "message.edit", "to": OTHER, "id": ID}), "bad_frame", ID),
    "an edit of a blank text": (send(type="message.edit", to=OTHER, text=" "), "empty", ID),
    "an edit without a message": (send(type="message.edit"), "bad_frame", ID),
    "an edit by what is no UUID": (send(type="message.edit", to=OTHER, id="x"), "bad_frame", "x"),
    "an edit in an empty conversation": (send(type="message.edit", to=OTHER), "bad_frame", ID),
    "an edit of a message into itself": (send(type="message.edit", to=ID), "bad_frame", ID),
    "a continue without an id": (json.dumps({"type": "reply.continue", "to": ID}), "bad_frame", None),
    "a continue without a message": (json.dumps({"type": "reply.continue", "id": ID}), "bad_frame", ID),
    "a continue of nothing": (json.dumps({"type": "reply.continue", "to": OTHER, "id": ID}), "bad_frame", ID),
    "a history before nothing": (json.dumps({"type": "history.before"}), "bad_frame", None),
    "a history before what is no UUID": (json.dumps({"type": "history.before", "before": "$"}), "bad_frame", None),
    "a history before an unknown message": (json.dumps({"type": "history.before", "before": ID}), "bad_frame", ID),
    "a text of control characters": (send(text="\x01" * 2700), "too_long", ID),
    "a binary frame": (send().encode(), "bad_frame", None),
    "a binary frame that is no text": (b"\xff\x00\xfe", "bad_frame", None),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_is_refused_and_the_next_good_message_is_answered(stack: Stack, name: str) -> None:
    data, code, id = BAD_FRAMES[name]
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.next()
        await chat.socket.send(data)
        rejected = await chat.next()
        assert (rejected["type"], rejected["code"], rejected.get("id")) == ("error", code, id)
        assert rejected["detail"].endswith((".", "!"))
        assert "cursor" not in rejected
        good = await chat.send("and this one is good")
        assert (await chat.until("reply.finished"))["message"]["to"] == good
    assert len(await history(stack.url, token)) == 2


async def test_bad_frames_around_a_running_reply_do_not_touch_it(stack: Stack) -> None:
    stack.pace(rate=100)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.send("go on")
        await chat.until("reply.delta")
        for data, _, _ in BAD_FRAMES.values():
            await chat.socket.send(data)
        ended = (await chat.until("reply.finished"))["message"]
        assert ended["finish_reason"] == "stop"
        text = "".join(frame["text"] for frame in chat.frames if frame["type"] == "reply.delta")
        assert ended["text"] == text


async def test_unknown_fields_are_ignored(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.socket.send(send(colour="blue", nested={"a": [1]}))
        assert (await chat.until("reply.finished"))["message"]["to"] == ID


async def test_an_id_that_a_retry_has_used_cannot_name_a_message(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        first = await chat.send("the first")
        await chat.until("reply.finished")
        used = await chat.retry(first)
        await chat.until("reply.finished")
        await chat.send("lost?", used)
        rejected = await chat.until("error", "message.accepted")
        assert (rejected["type"], rejected["code"], rejected["id"]) == ("error", "bad_frame", used)
        await chat.send("good")
        await chat.until("reply.finished")


async def test_ids_chosen_to_be_taken_for_one_another_cost_no_more_than_others(stack: Stack) -> None:
    """A retry by the id that the next message's reply will have: a worker once asked the model for ever after it."""
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        first, second = await chat.send("one"), str(uuid.uuid4())
        await chat.until("reply.finished")
        await chat.retry(first, reply_id(second))
        await chat.until("reply.finished")
        await chat.send("two", second)
        rejected = await chat.until("error", "reply.finished")
        assert (rejected["type"], rejected["code"], rejected["id"]) == ("error", "bad_frame", second)
        before = stack.model_stats()["requests"]
        for text in ("three", "four"):
            await chat.send(text)
            await chat.until("reply.finished")
        assert stack.model_stats()["requests"] == before + 2


@pytest.mark.parametrize("older", [False, True])
async def test_a_frame_over_64_kib_closes_with_1009_and_the_conversation_goes_on(stack: Stack, older: bool) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.send("before")
        await chat.until("reply.finished")
    bad = LegacyChat(stack.url, token) if older else Chat(stack.url, token)
    async with bad:
        await bad.socket.send("x" * 65_537)
        await bad.socket.wait_closed()
        assert bad.socket.close_code == 1009
    async with Chat(stack.url, token) as chat:
        await chat.send("after")
        await chat.until("reply.finished")
    assert len(await history(stack.url, token)) == 4


async def test_a_frame_of_64_kib_is_still_read(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.next()
        await chat.socket.send(send(more="x" * 60_000).ljust(65_536))
        await chat.until("reply.finished")


BAD_TOKENS = {
    "empty": "",
    "unknown": "A" * 43,
    "short": "abc",
    "with other characters": "A" * 40 + "*?{}",
    "a path": "../../../../etc/passwd-and-more",
    "emoji": "%F0%9F%91%8D" * 20,
    "not UTF-8": "%FF%FE" * 20,
    "with a zero byte": "A" * 40 + "%00",
    "very long": "A" * 4_000,
}


@pytest.fixture(params=BAD_TOKENS)
def bad_token(request: pytest.FixtureRequest) -> str:
    """A token that opens nothing, ready for an address."""
    return BAD_TOKENS[request.param]


async def test_no_call_takes_a_bad_token(stack: Stack, bad_token: str) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        for answer in (
            await http.get(f"/refresh_token?token={bad_token}"),
            await http.delete(f"/token?token={bad_token}"),
        ):
            assert answer.status_code == 400
            assert "expired" in answer.json()["detail"]


async def test_a_call_without_a_token_is_refused_alike(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        assert (await http.get("/refresh_token")).status_code == 400
        assert (await http.delete("/token")).status_code == 400


async def test_a_stream_socket_with_a_bad_token_is_closed_with_4401(stack: Stack, bad_token: str) -> None:
    async with Chat(stack.url, bad_token) as chat:
        assert await chat.closed_with() == 4401
        assert chat.frames == []


async def test_a_stream_socket_with_a_bad_token_and_a_cursor_is_closed_with_4401(stack: Stack) -> None:
    async with Chat(stack.url, "A" * 43, after="1732300000000-0") as chat:
        assert await chat.closed_with() == 4401


async def test_an_older_socket_with_a_bad_token_is_refused_at_the_handshake(stack: Stack, bad_token: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as rejected:
        async with LegacyChat(stack.url, bad_token):
            pass
    assert rejected.value.response.status_code == 403


@pytest.fixture
def forgetful(stack: Stack) -> Iterator[str]:
    """A web process whose conversations live for a second."""
    with stack.another_web(SESSION_TTL_SECONDS="1") as url:
        yield url


def gone(redis: EmbeddedRedis, token: str) -> None:
    """Wait until a conversation has expired."""
    key = ConversationKeys(conversation_id(token)).document
    with connect(redis.url) as client:
        wait_until(lambda: not client.exists(key), "the conversation to expire")


async def test_an_expired_conversation_is_unknown_to_every_call_and_socket(stack: Stack, forgetful: str) -> None:
    token = await new_token(forgetful)
    gone(stack.redis, token)
    async with httpx.AsyncClient(base_url=forgetful) as http:
        assert (await http.get("/refresh_token", params={"token": token})).status_code == 400
        assert (await http.delete("/token", params={"token": token})).status_code == 400
    async with Chat(forgetful, token) as chat:
        assert await chat.closed_with() == 4401
    with pytest.raises(websockets.InvalidStatus):
        async with LegacyChat(forgetful, token):
            pass


def expire(redis: EmbeddedRedis, token: str) -> None:
    """Have a conversation expire now."""
    keys = ConversationKeys(conversation_id(token))
    with connect(redis.url) as client:
        for key in (keys.document, keys.state, keys.ids, keys.events):
            # Not in a millisecond, in which somebody who looks would prolong its life.
            client.pexpire(key, 0)
    gone(redis, token)


async def test_a_conversation_that_expires_under_quiet_sockets_closes_them(stack: Stack, forgetful: str) -> None:
    token = await new_token(forgetful)
    async with Chat(forgetful, token) as chat, LegacyChat(forgetful, token) as older:
        assert await chat.closed_with() == 4401
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await older.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1008


async def test_a_reply_that_lasts_longer_than_its_conversation_may_is_written_to_its_end(own_stack: Stack) -> None:
    own_stack.start_web(SESSION_TTL_SECONDS="1")
    own_stack.start_worker(SESSION_TTL_SECONDS="1")
    own_stack.wait_ready()
    own_stack.pace(rate=5)
    async with Chat(own_stack.url, await new_token(own_stack.url)) as chat:
        await chat.send("a long story please")
        finished = (await chat.until("reply.finished"))["message"]
        assert finished["text"] == "".join(frame["text"] for frame in chat.frames if frame["type"] == "reply.delta")
        assert [frame["type"] for frame in chat.frames].count("reply.started") == 1
        assert len(finished["text"].split()) > 10
        assert await chat.closed_with() == 4401


async def test_a_conversation_that_expires_under_an_open_socket_closes_it_at_the_next_message(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat, LegacyChat(stack.url, token) as older:
        await chat.next()
        expire(stack.redis, token)
        await chat.send("too late")
        assert await chat.closed_with() == 4401
        await older.send("too late")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await older.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("query", ["", "?name=", "?name=%20", "?name=%09%0A", "?name=%E2%80%83", "?name=" + "x" * 201])
async def test_a_blank_missing_or_endless_name_is_refused_with_400(stack: Stack, query: str) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as http:
        answer = await http.post(f"/token{query}")
    assert answer.status_code == 400
    assert "name" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["x" * 200, "👩🏽‍🚀", "Zoë", 'O\'Neil "the" <b>', "Bot", "Human", "a\nHuman: b", "{person}"]
)
async def test_a_long_or_odd_name_is_taken_and_can_talk(stack: Stack, name: str) -> None:
    token = await new_token(stack.url, name)
    async with Chat(stack.url, token) as chat:
        assert (await chat.next())["conversation"]["name"] == name
        await chat.send("hello")
        assert (await chat.until("reply.finished", "reply.failed"))["type"] == "reply.finished"


async def test_a_stream_socket_from_a_forbidden_origin_is_closed_with_4403(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token, origin=FORBIDDEN) as chat:
        assert await chat.closed_with() == 4403
        assert chat.frames == []


async def test_an_older_socket_from_a_forbidden_origin_is_refused(stack: Stack) -> None:
    token = await new_token(stack.url)
    with pytest.raises(websockets.InvalidStatus) as rejected:
        async with LegacyChat(stack.url, token, origin=FORBIDDEN):
            pass
    assert rejected.value.response.status_code == 403


async def test_the_pages_own_origin_and_the_allowed_ones_may_open_sockets(stack: Stack) -> None:
    token = await new_token(stack.url)
    for origin in (stack.url, "http://localhost:3000"):
        async with Chat(stack.url, token, origin=origin) as chat, LegacyChat(stack.url, token, origin=origin) as older:
            assert (await chat.next())["type"] == "snapshot"
            await older.ask("hello")


@pytest.mark.parametrize("origin", [FORBIDDEN, "null"])
async def test_a_forbidden_origin_gets_no_leave_to_read_an_answer(stack: Stack, origin: str) -> None:
    async with httpx.AsyncClient(base_url=stack.url, headers={"Origin": origin}) as http:
        asked = {"Access-Control-Request-Method": "DELETE"}
        for answer in (
            await http.post("/token?name=Eve"),
            await http.get("/refresh_token?token=x"),
            await http.options("/token", headers=asked),
        ):
            assert "access-control-allow-origin" not in answer.headers


async def test_a_stop_for_another_conversations_message_does_nothing(stack: Stack) -> None:
    stack.pace(rate=100)
    async with (
        Chat(stack.url, await new_token(stack.url)) as mine,
        Chat(stack.url, await new_token(stack.url)) as yours,
    ):
        id = await mine.send("mine")
        await mine.until("reply.delta")
        await yours.stop(id)
        await yours.retry(id, str(uuid.uuid4()))
        assert (await yours.until("error"))["code"] == "bad_frame"
        assert (await mine.until("reply.finished"))["message"]["finish_reason"] == "stop"
