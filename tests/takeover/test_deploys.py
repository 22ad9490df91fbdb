"""A web process is told to go, or dies: clients come back to another one and miss nothing."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.local.processes import Child
from tests.support.client import Chat, new_token, replay
from tests.support.inside import stamps, whole, writer_of
from tests.support.stack import Stack
from tests.takeover.counting import PROMISE, RATE, TOKENS, assert_every_token_once, begun, begun_slowly


@contextmanager
def another_web(stack: Stack) -> Iterator[tuple[Child, str]]:
    """One more web process, to be ended by the test."""
    child = stack.start_web()
    port = stack.ports.pop()
    stack.processes.children.remove(child)
    try:
        yield child, f"http://127.0.0.1:{port}"
    finally:
        child.kill()


async def finish_elsewhere(running: Stack, token: str, chat: Chat) -> None:
    """Come back to another process with the cursor, and read to the end of the reply."""
    assert chat.frames[-1]["type"] != "reply.finished", "the reply was over before its socket"
    async with Chat(running.url, token, after=chat.cursor) as resumed:
        await resumed.until("reply.finished")
    assert all(frame["type"] != "snapshot" for frame in resumed.frames)
    chat.frames += resumed.frames
    assert_every_token_once(chat, chat.frames[-1])
    assert stamps(replay(chat.frames)["messages"][1]["text"]) == whole(TOKENS)


async def test_a_web_process_told_to_go_closes_with_1012_and_another_goes_on_from_the_cursor(running: Stack) -> None:
    running.pace(rate=RATE / 2)
    with another_web(running) as (web, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            web.terminate()
            assert await chat.closed_with() == 1012
        assert await asyncio.to_thread(web.wait, PROMISE)
        await finish_elsewhere(running, token, chat)


async def test_everything_told_twice_to_go_at_once_costs_no_word(running: Stack) -> None:
    """As platforms do that tell every process of a dyno, and begin the new ones only then."""
    running.pace(rate=RATE / 2)
    with another_web(running) as (web, url):
        everything = [web, running.processes.children[-1]]
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            for child in everything * 2:
                child.signal_group(signal.SIGTERM)
            assert await chat.closed_with() == 1012
        for child in everything:
            assert await asyncio.to_thread(child.wait, PROMISE), f"{child.name} is still there"
        running.start_worker()
        await finish_elsewhere(running, token, chat)


async def test_a_killed_web_process_costs_no_word(running: Stack) -> None:
    with another_web(running) as (web, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            web.kill()
            assert await chat.closed_with() == 1006
        await finish_elsewhere(running, token, chat)


async def test_a_rolling_restart_of_everything_is_a_pause(running: Stack) -> None:
    with another_web(running) as (first, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun_slowly(running, chat)
            # Nor is the reply over before its socket is.
            running.pace(rate=RATE / 2)
            old = await writer_of(running, token)
            old.terminate()
            first.terminate()
            assert await chat.closed_with() == 1012
        await finish_elsewhere(running, token, chat)
        assert await asyncio.to_thread(old.wait, PROMISE)
        running.kill(old)
