"""Stop: from any tab, through any process, at any time, keeping exactly what was shown."""

import uuid

from tasks.local.processes import wait_until
from tests.support.client import Chat, Frame, history, new_token, replay
from tests.support.stack import Stack


def shown(chat: Chat, reply: str) -> str:
    """The text that a socket was shown of a reply."""
    return "".join(f["text"] for f in chat.frames if f["type"] == "reply.delta" and f["id"] == reply)


async def after_some_words(chat: Chat, text: str) -> tuple[str, Frame]:
    """Send a message and read some words of its reply; returns its id and the reply's start."""
    id = await chat.send(text)
    started = await chat.until("reply.started")
    for _ in range(3):
        await chat.until("reply.delta")
    return id, started


async def test_stop_in_mid_reply_keeps_what_was_shown_and_lets_the_model_go(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id, started = await after_some_words(chat, "a long story please")
        await chat.stop(id)
        finished = (await chat.until("reply.finished"))["message"]
        assert (finished["finish_reason"], finished["to"]) == ("stopped", id)
        assert finished["text"] == shown(chat, started["id"])
        wait_until(lambda: stack.model_stats()["open"] == 0, "the model to be let go")
        assert stack.model_stats()["cancelled"]
        assert (await history(stack.url, token))[1]["msg"] == f"Bot: {finished['text']}"
        await chat.send("are you still there?")
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stop"


async def test_stop_through_another_web_process_reaches_every_tab(stack: Stack) -> None:
    stack.pace(rate=20)
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here)
    async with Chat(here, token) as one, Chat(there, token) as two:
        await two.next()
        id, started = await after_some_words(one, "a long story please")
        await two.stop(id)
        ended = [(await chat.until("reply.finished"))["message"] for chat in (one, two)]
        assert ended[0] == ended[1]
        assert ended[0]["finish_reason"] == "stopped"
        assert shown(one, started["id"]) == shown(two, started["id"]) == ended[0]["text"]


async def test_stop_of_a_message_that_waits_its_turn_leaves_the_reply_before_it_alone(stack: Stack) -> None:
    stack.pace(rate=40)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        first = await chat.send("the first one")
        second = await chat.send("the second one")
        third = await chat.send("the third one")
        await chat.stop(second)
        ended = [(await chat.until("reply.finished"))["message"] for _ in range(3)]
        assert [message["to"] for message in ended] == [first, second, third]
        assert [message["finish_reason"] for message in ended] == ["stop", "stopped", "stop"]
        assert ended[1]["text"] == ""
    async with Chat(stack.url, token) as newcomer:
        assert replay(chat.frames)["messages"] == (await newcomer.next())["conversation"]["messages"]


async def test_a_reply_stopped_in_the_queue_is_answered_when_it_is_tried_again(stack: Stack) -> None:
    stack.pace(rate=40)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.send("the first one")
        second = await chat.send("the second one")
        await chat.stop(second)
        await chat.until("reply.finished")
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stopped"
        await chat.retry(second)
        ended = (await chat.until("reply.finished"))["message"]
        assert (ended["to"], ended["finish_reason"]) == (second, "stop")
        assert ended["text"]


async def test_stop_while_the_model_is_loading_ends_the_waiting(stack: Stack) -> None:
    stack.fault(mode="loading", estimated_time=10, count=1)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        id = await chat.send("hello?")
        waiting = await chat.until("reply.waiting")
        assert waiting["reason"] == "model_loading"
        await chat.stop(id)
        ended = (await chat.until("reply.finished"))["message"]
        assert (ended["finish_reason"], ended["text"]) == ("stopped", "")
        await chat.send("and now?")
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stop"


async def test_stop_too_late_twice_or_for_nothing_is_no_error_and_changes_nothing(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.stop(str(uuid.uuid4()))
        id = await chat.send("short")
        await chat.until("reply.finished")
        before = await history(stack.url, token)
        await chat.stop(id)
        await chat.stop(id)
        await chat.stop(str(uuid.uuid4()))
        await chat.send("and on")
        last = (await chat.until("reply.finished"))["message"]
        assert last["finish_reason"] == "stop"
        assert not [frame for frame in chat.frames if frame["type"] == "error"]
    assert (await history(stack.url, token))[:2] == before


async def test_stop_sent_right_after_the_message_ends_its_reply_once(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("never mind")
        await chat.stop(id)
        ended = (await chat.until("reply.finished"))["message"]
        assert (ended["to"], ended["finish_reason"]) == (id, "stopped")
        await chat.send("but this")
        await chat.until("reply.finished")
    assert [m["msg"].split(":")[0] for m in await history(stack.url, token)] == ["Human", "Bot"] * 2
