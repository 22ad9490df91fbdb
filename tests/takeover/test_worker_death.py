"""A worker is killed, paused or told to go in the middle of a reply: the reply goes on, every word once."""

import asyncio
import signal
import time

import pytest

from tasks.local.processes import Child
from tests.support.client import Chat, new_token, replay
from tests.support.inside import stamps, whole, writer_of
from tests.support.stack import Stack
from tests.takeover.counting import (
    PROMISE,
    TOKENS,
    assert_every_token_once,
    begun,
    begun_slowly,
    longest_pause,
    seconds_to_next_word,
)


async def test_a_killed_worker_is_a_pause(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun_slowly(running, chat)
        running.kill(await writer_of(running, token))
        assert await seconds_to_next_word(chat) < PROMISE
        assert_every_token_once(chat, await chat.until("reply.finished"))


async def test_with_no_other_worker_the_reply_goes_on_as_soon_as_one_starts(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun(chat)
        running.kill(await writer_of(running, token))
        await asyncio.to_thread(running.wait_not_ready)
        while (await chat.until("service"))["state"] != "no_worker":
            pass
        running.start_worker()
        await asyncio.to_thread(running.wait_workers, 1)
        began = time.monotonic()
        await chat.until("reply.delta")
        assert time.monotonic() - began < PROMISE
        assert_every_token_once(chat, await chat.until("reply.finished"))


async def test_a_message_that_a_dying_worker_had_just_fetched_is_answered(running: Stack) -> None:
    """Given a worker that stands still, its message is fetched by nobody else until it is dead."""
    worker = running.processes.children[-1]
    async with Chat(running.url, await new_token(running.url)) as chat:
        await chat.until("snapshot")
        worker.signal_group(signal.SIGSTOP)
        await chat.send("Count, please")
        await chat.until("message.accepted")
        running.kill(worker)
        running.start_worker()
        assert_every_token_once(chat, await chat.until("reply.finished"))


async def test_a_worker_that_wakes_up_after_its_lease_cannot_add_a_character(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun_slowly(running, chat)
        sleeper = await writer_of(running, token)
        sleeper.signal_group(signal.SIGSTOP)
        assert await seconds_to_next_word(chat) < PROMISE
        # It wakes up in the middle of the other's words, with the model's tokens of all that time in its hands.
        sleeper.signal_group(signal.SIGCONT)
        assert_every_token_once(chat, await chat.until("reply.finished"))
    assert sleeper.alive


async def test_a_worker_that_wakes_up_when_the_reply_is_over_changes_nothing(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun(chat)
        sleeper = await writer_of(running, token)
        sleeper.signal_group(signal.SIGSTOP)
        running.start_worker()
        finished = await chat.until("reply.finished")
        sleeper.signal_group(signal.SIGCONT)
        await chat.send("And again")
        again = await chat.until("reply.finished")
        assert stamps(again["message"]["text"]) == whole(TOKENS)
        messages = replay(chat.frames)["messages"]
    assert [message.get("to") for message in messages if message["role"] == "bot"] == [
        finished["message"]["to"],
        again["message"]["to"],
    ]
    assert stamps(messages[1]["text"]) == whole(TOKENS)


async def test_a_worker_that_wakes_up_with_nobody_else_there_goes_on_itself(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun(chat)
        sleeper = await writer_of(running, token)
        sleeper.signal_group(signal.SIGSTOP)
        await asyncio.to_thread(running.wait_not_ready)
        sleeper.signal_group(signal.SIGCONT)
        assert_every_token_once(chat, await chat.until("reply.finished"))


async def gone_within_the_promise(child: Child, *signals: str) -> None:
    """Tell a process to go, as platforms do, and see it gone."""
    for how in signals:
        if how == "master":
            child.terminate()
        else:
            child.signal_group(signal.SIGTERM)
    assert await asyncio.to_thread(child.wait, PROMISE), f"{child.name} is still there"
    assert child.returncode == 0, list(child.lines)[-5:]


@pytest.mark.parametrize("signals", [("master",), ("group", "group")], ids=["once", "twice-to-every-process"])
async def test_a_worker_told_to_go_hands_its_reply_over_at_once(running: Stack, signals: tuple[str, ...]) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await begun_slowly(running, chat)
        publisher = await writer_of(running, token)
        went = asyncio.create_task(gone_within_the_promise(publisher, *signals))
        pause = await longest_pause(chat)
        await went
        assert pause < 4, "waited for a lease instead of being handed over"
        assert_every_token_once(chat, chat.frames[-1])


@pytest.mark.parametrize("mode", ["silent", "hang", "loading"])
async def test_a_worker_told_to_go_is_gone_whatever_the_model_does(running: Stack, mode: str) -> None:
    running.fault(mode=mode, after=5, count=0)
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        await chat.until("snapshot")
        await chat.send("Count, please")
        await chat.until(
            "reply.delta" if mode == "silent" else "reply.waiting" if mode == "loading" else "reply.started"
        )
        await gone_within_the_promise(await writer_of(running, token), "master")
        running.clear_faults()
        running.start_worker()
        assert_every_token_once(chat, await chat.until("reply.finished"))
