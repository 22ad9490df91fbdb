"""The whole chat on a real language model: nothing here was written to answer us."""

import os
import signal

from tests.local.conftest import MODEL, LocalServer
from tests.support.client import Chat, Frame, history, new_token
from tests.support.stack import Stack

STORY = "Tell me a long story about a cat who lives by the sea."


def shown(chat: Chat, reply: str) -> str:
    """The text that a socket was shown of a reply since it last began."""
    text = ""
    for frame in chat.frames:
        if frame["type"] == "reply.started" and frame["id"] == reply:
            text = frame.get("text", "")
        elif frame["type"] == "reply.delta" and frame["id"] == reply:
            text += frame["text"]
    return text


async def after_some_words(chat: Chat, text: str) -> tuple[str, str]:
    """Send a message and read some words of its reply; the ids of both."""
    id = await chat.send(text)
    started = await chat.until("reply.started")
    for _ in range(3):
        await chat.until("reply.delta")
    return id, started["id"]


async def finished(chat: Chat) -> Frame:
    """The message of the next reply that finishes."""
    message: Frame = (await chat.until("reply.finished", "reply.failed"))["message"]
    return message


async def test_a_reply_streams_and_is_kept(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        snapshot = await chat.next()
        assert snapshot["model"] == {"name": MODEL.name, "stand_in": False}
        await chat.send("What is the capital of France?")
        message = await finished(chat)
    assert "Paris" in message["text"]
    assert message["finish_reason"] == "stop"
    assert sum(frame["type"] == "reply.delta" for frame in chat.frames) > 1
    assert [said["msg"] for said in await history(stack.url, token)] == [
        "Human: What is the capital of France?",
        f"Bot: {message['text']}",
    ]


async def test_stop_in_mid_reply_lets_the_engine_rest(stack: Stack, server: LocalServer) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        id, reply = await after_some_words(chat, STORY)
        await chat.stop(id)
        message = await finished(chat)
        assert (message["finish_reason"], message["text"]) == ("stopped", shown(chat, reply))
        server.wait_idle()


async def test_two_people_are_answered_at_once(stack: Stack, server: LocalServer) -> None:
    async with (
        Chat(stack.url, await new_token(stack.url)) as ada,
        Chat(stack.url, await new_token(stack.url, "Bob")) as bob,
    ):
        await after_some_words(ada, STORY)
        await after_some_words(bob, STORY)
        assert server.requests == 2
        for chat in (ada, bob):
            assert (await finished(chat))["text"]


async def test_a_worker_killed_in_mid_reply_is_continued_by_another(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        _, reply = await after_some_words(chat, STORY)
        before = shown(chat, reply)
        for worker in [child for child in stack.processes.children if child.name == "worker"]:
            # Nobody knows from outside who writes: the one who does is among them, and two take their places.
            stack.kill(worker)
            stack.start_worker()
        message = await finished(chat)
    assert message["text"].startswith(before)
    assert message["text"] == shown(chat, reply)
    assert len(message["text"]) > len(before)


async def test_an_engine_killed_in_mid_reply_is_a_pause(stack: Stack, server: LocalServer) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        _, reply = await after_some_words(chat, STORY)
        before = shown(chat, reply)
        os.kill(server.engine.pid, signal.SIGKILL)
        assert (await chat.until("reply.waiting", "reply.failed"))["type"] == "reply.waiting"
        message = await finished(chat)
    assert message["text"].startswith(before)
    assert len(message["text"]) > len(before)


async def test_more_than_the_window_holds_is_answered_from_its_end(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.send("The sea is blue. " * 230 + "What is the capital of France?")
        message = await finished(chat)
    assert message["text"].startswith("(Your message is longer than I can read at once")
    assert len(message["text"]) > 100
