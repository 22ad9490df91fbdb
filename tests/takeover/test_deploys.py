"""A web process is told to go, or dies: clients come back to another one and miss nothing."""

import asyncio
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websockets

from tasks.processes import Child, ProcessError
from tests.client import Chat, Frame, new_token, replay
from tests.inside import stamps, whole
from tests.stack import Stack
from tests.takeover.counting import PROMISE, TOKENS, assert_every_token_once, begun


async def test_a_web_process_told_to_go_closes_with_1012_and_another_goes_on_from_the_cursor(running: Stack) -> None:
    with another_web(running) as (web, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            web.terminate()
            assert await chat.closed_with() == 1012
        assert await asyncio.to_thread(web.wait, PROMISE)
        async with Chat(running.url, token, after=chat.cursor) as resumed:
            finished = await resumed.until("reply.finished")
    assert all(frame["type"] != "snapshot" for frame in resumed.frames)
    chat.frames += resumed.frames
    assert_every_token_once(chat, finished)
    assert stamps(replay(chat.frames)["messages"][1]["text"]) == whole(TOKENS)


async def test_a_web_process_told_twice_to_go_still_says_goodbye(running: Stack) -> None:
    with another_web(running) as (web, url):
        async with Chat(url, await new_token(url)) as chat:
            await begun(chat)
            web.signal_group(signal.SIGTERM)
            web.signal_group(signal.SIGTERM)
            assert await chat.closed_with() == 1012
        assert await asyncio.to_thread(web.wait, PROMISE)


async def test_a_killed_web_process_costs_no_word(running: Stack) -> None:
    with another_web(running) as (web, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            web.kill()
            assert await chat.closed_with() == 1006
        async with Chat(running.url, token, after=chat.cursor) as resumed:
            chat.frames += [frame async for frame in up_to(resumed, "reply.finished")]
    assert_every_token_once(chat, chat.frames[-1])


async def test_a_rolling_restart_of_everything_is_a_pause(running: Stack) -> None:
    with another_web(running) as (first, url):
        async with Chat(url, token := await new_token(url)) as chat:
            await begun(chat)
            old = running.processes.children[-1]
            running.start_worker()
            running.wait_workers(2)
            old.terminate()
            first.terminate()
            assert await chat.closed_with() == 1012
        async with Chat(running.url, token, after=chat.cursor) as resumed:
            chat.frames += [frame async for frame in up_to(resumed, "reply.finished")]
        assert await asyncio.to_thread(old.wait, PROMISE)
        running.processes.children.remove(old)
    assert_every_token_once(chat, chat.frames[-1])
