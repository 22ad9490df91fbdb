"""The older contract, to the letter: what a client made before there was a queue relies on."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import websockets

from tests.support.client import Chat, LegacyChat, history, new_token
from tests.support.stack import Stack

PAGE = "http://localhost:3000"


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Calls as the older client's page makes them, from another origin."""
    async with httpx.AsyncClient(base_url=stack.url, headers={"Origin": PAGE}) as http:
        yield http


async def silent(older: LegacyChat) -> None:
    """Nothing is on its way to this socket: an answer to one more text is the next thing that comes."""
    assert "no more after this" in await older.ask("no more after this")


async def test_a_token_comes_with_all_that_the_page_shows(http: httpx.AsyncClient) -> None:
    answer = await http.post("/token?name=Ada")
    assert answer.status_code == 200
    session = answer.json()
    assert set(session) >= {"token", "name", "session_start", "messages"}
    assert session["name"] == "Ada"
    assert session["messages"] == []
    assert re.fullmatch(r"[A-Za-z0-9_-]+", session["token"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", session["session_start"])


@pytest.mark.parametrize(
    ("query", "name"),
    [("name=Tom&Jerry", "Tom"), ("name=a+b", "a b"), ("name=Ann&x=1&name2=", "Ann"), ("name=%C3%A9", "é")],
)
async def test_a_name_that_was_not_escaped_does_no_harm(http: httpx.AsyncClient, query: str, name: str) -> None:
    answer = await http.post(f"/token?{query}")
    assert (answer.status_code, answer.json()["name"]) == (200, name)


async def test_a_missing_name_is_exactly_400(http: httpx.AsyncClient) -> None:
    assert [(await http.post(f"/token{query}")).status_code for query in ("", "?name=", "?name=%20")] == [400] * 3


async def test_every_answer_may_be_read_by_the_allowed_page_errors_included(http: httpx.AsyncClient) -> None:
    for answer in (
        await http.post("/token?name=Ada"),
        await http.post("/token?name="),
        await http.get("/refresh_token?token=unknown"),
        await http.delete("/token?token=unknown"),
        await http.put("/token"),
    ):
        assert answer.headers["access-control-allow-origin"] == PAGE, answer.request.url


@pytest.mark.parametrize(("path", "method"), [("/token", "POST"), ("/refresh_token", "GET"), ("/token", "DELETE")])
async def test_options_is_answered(http: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await http.options(path, headers={"Access-Control-Request-Method": method})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"]


async def test_the_history_shows_a_new_session_at_once_through_any_process_and_is_stored_nowhere(stack: Stack) -> None:
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here, "Ada")
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{there}/refresh_token", params={"token": token})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    session = answer.json()
    assert (session["token"], session["name"], session["messages"]) == (token, "Ada", [])
    assert session["session_start"]


async def test_the_history_names_who_spoke_oldest_first(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with LegacyChat(stack.url, token) as older:
        replies = [await older.ask(text) for text in ("  first ", "second\nline")]
    messages = await history(stack.url, token)
    assert [m["msg"] for m in messages] == ["Human:   first ", replies[0], "Human: second\nline", replies[1]]
    assert all(set(m) == {"id", "msg", "timestamp"} for m in messages)
    assert all(isinstance(value, str) for m in messages for value in m.values())
    assert len({m["id"] for m in messages}) == 4


async def test_an_answer_in_the_history_is_the_frame_that_was_sent(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with LegacyChat(stack.url, token) as older:
        await older.send("hello")
        frame = await older.next()
    assert (await history(stack.url, token))[1] == frame


async def test_one_frame_for_each_message_in_order_and_nothing_else(stack: Stack) -> None:
    async with LegacyChat(stack.url, await new_token(stack.url)) as older:
        for text in ("alpha", "beta", "gamma"):
            await older.send(text)
        answers = [await older.next() for _ in range(3)]
        assert ["alpha" in answers[0]["msg"], "beta" in answers[1]["msg"], "gamma" in answers[2]["msg"]] == [True] * 3
        assert len({answer["id"] for answer in answers}) == 3
        await silent(older)


async def test_a_text_that_looks_like_a_frame_is_only_a_text(stack: Stack) -> None:
    token = await new_token(stack.url)
    text = '{"type":"reply.stop","to":"3f0c9a52-7d0e-4a55-9d6e-0d8f3f1b2a01"}'
    async with LegacyChat(stack.url, token) as older:
        assert "reply.stop" in await older.ask(text)
        await silent(older)
    assert (await history(stack.url, token))[0]["msg"] == f"Human: {text}"


@pytest.mark.parametrize("bad", ["", "   \n", "x" * 4001, b"\x00binary"])
async def test_what_cannot_be_accepted_is_answered_in_words_and_the_next_text_as_ever(
    stack: Stack, bad: str | bytes
) -> None:
    token = await new_token(stack.url)
    async with LegacyChat(stack.url, token) as older:
        assert (await older.ask(bad)).endswith((".", "!"))
        assert "good" in await older.ask("good")
        await silent(older)
    assert len(await history(stack.url, token)) == 4


async def test_a_refusal_waits_for_the_replies_before_it(stack: Stack) -> None:
    stack.pace(rate=100)
    async with LegacyChat(stack.url, await new_token(stack.url)) as older:
        for text in ("alpha", "", "x" * 5000, "beta", " "):
            await older.send(text)
        answers = [(await older.next())["msg"] for _ in range(5)]
        expected = ("alpha", "empty", "4,000", "beta", "empty")
        assert [word in msg for word, msg in zip(expected, answers, strict=True)] == [True] * 5, answers
        await silent(older)


async def test_a_failure_is_said_as_an_ordinary_message(stack: Stack) -> None:
    stack.fault(mode="status", status=403)
    async with LegacyChat(stack.url, await new_token(stack.url)) as older:
        assert "not set up correctly" in await older.ask("will this work?")
        await silent(older)


async def test_a_loading_model_is_only_a_longer_wait(stack: Stack) -> None:
    stack.fault(mode="loading", retry_after=0.1)
    async with LegacyChat(stack.url, await new_token(stack.url)) as older:
        assert "hello" in await older.ask("hello")
        await silent(older)


async def test_a_limit_is_said_as_an_ordinary_message(stack: Stack) -> None:
    with stack.another_web(LIMIT_MESSAGES_PER_MINUTE="1") as url:
        async with LegacyChat(url, await new_token(url)) as older:
            assert "one" in await older.ask("one")
            assert "messages a minute" in await older.ask("two")


async def test_a_reply_is_whole_for_every_socket_of_the_session_and_for_no_other(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with (
        LegacyChat(stack.url, token) as one,
        LegacyChat(stack.url, token) as two,
        LegacyChat(stack.url, await new_token(stack.url)) as stranger,
    ):
        await one.send("for both")
        assert await one.next() == await two.next()
        await silent(stranger)


async def test_the_socket_that_a_page_drops_at_once_does_not_touch_the_next(stack: Stack) -> None:
    stack.pace(rate=100)
    token = await new_token(stack.url)
    first = LegacyChat(stack.url, token)
    await first.__aenter__()
    async with LegacyChat(stack.url, token) as second:
        await first.__aexit__(None, None, None)
        assert "hello" in await second.ask("hello")
        await silent(second)


async def test_sockets_dropped_within_milliseconds_leave_no_error_in_the_log(stack: Stack) -> None:
    token = await new_token(stack.url)
    web = stack.processes.children[0]
    before = len(web.lines)

    async def open_and_drop(token: str) -> None:
        try:
            async with asyncio.timeout(0.005), LegacyChat(stack.url, token):
                pass
        except (TimeoutError, websockets.InvalidStatus):
            pass

    for _ in range(10):
        await asyncio.gather(open_and_drop(""), open_and_drop(token))
    async with LegacyChat(stack.url, token) as older:
        await silent(older)
    said = "\n".join(list(web.lines)[before:])
    assert not re.search("error|exception|traceback|warning", said, re.IGNORECASE), said


async def test_a_reply_that_was_in_progress_when_its_socket_went_comes_to_the_next_one_once(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as watcher:
        async with LegacyChat(stack.url, token) as gone:
            await gone.send("keep this")
            await watcher.until("reply.delta")
        async with LegacyChat(stack.url, token) as back:
            stack.pace(rate=400)
            assert "keep this" in (await back.next())["msg"]
            await silent(back)
    assert len(await history(stack.url, token)) == 4


async def test_a_reply_that_ended_while_no_socket_was_open_is_in_the_history_and_not_sent_again(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as watcher:
        async with LegacyChat(stack.url, token) as gone:
            await gone.send("keep this")
            await watcher.until("message.accepted")
        await watcher.until("reply.finished")
    assert "keep this" in (await history(stack.url, token))[1]["msg"]
    async with LegacyChat(stack.url, token) as back:
        await silent(back)


async def test_another_answer_asked_for_by_a_newer_client_is_not_a_second_frame(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as newer, LegacyChat(stack.url, token) as older:
        id = await newer.send("once")
        await older.next()
        await newer.until("reply.finished")
        await newer.retry(id)
        await newer.until("reply.finished")
        await silent(older)


async def test_what_newer_sockets_see_and_older_ones_say_is_one_conversation(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as newer, LegacyChat(stack.url, token) as older:
        await newer.next()
        answer = await older.ask("from the older page")
        accepted = await newer.until("message.accepted")
        assert accepted["message"]["text"] == "from the older page"
        assert f"Bot: {(await newer.until('reply.finished'))['message']['text']}" == answer


async def test_an_older_socket_closes_quickly_and_is_closed_when_its_conversation_is_deleted(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with LegacyChat(stack.url, token) as older:
        async with httpx.AsyncClient() as http:
            assert (await http.delete(f"{stack.url}/token", params={"token": token})).status_code == 204
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await older.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1008
