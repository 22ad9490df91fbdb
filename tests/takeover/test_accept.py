"""Accepted once: a web process dies at any step of accepting a message, it is sent again, and one reply comes."""

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from tasks.local.processes import environment
from tests.support.client import Chat, new_token
from tests.support.stack import Stack


class Dying:
    """Processes that accept a message and die on the way; see `tests.takeover.dying`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def accept(self, token: str, id: str, whose: str, last: int) -> str:
        """Send a message to a process that dies at `last` of these lines; returns how that went."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{token} {id} {whose} {last}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture
def dying(running: Stack) -> Iterator[Dying]:
    """What dies, with the settings of the stack."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.takeover.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(running.env),
    ) as process:
        yield Dying(process)
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize(("whose", "deaths"), [("ours", 40), ("redis", 20)])
async def test_a_web_process_killed_at_any_step_of_accepting_costs_nothing(
    running: Stack, dying: Dying, whose: str, deaths: int
) -> None:
    """Whether the message was accepted or not, its client sends it again, and it is there once and answered once."""
    running.pace(rate=0, stamped=3)
    # The first one has more to do than those after it: Redis learns the scripts.
    *_, lines = [int(dying.accept(await new_token(running.url), str(uuid.uuid4()), whose, 0)) for _ in range(3)]
    tried = []
    for last in range(1, lines + 1, max(1, lines // deaths)):
        token, id = await new_token(running.url), str(uuid.uuid4())
        tried.append((token, id, await asyncio.to_thread(dying.accept, token, id, whose, last)))
    outcomes = [outcome for _, _, outcome in tried]
    assert "failed" not in outcomes
    assert outcomes.count("killed") >= deaths // 2
    kept = [await answered_once(running, token, id) for token, id, _ in tried]
    assert any(kept), "no message was accepted before its process died"
    assert not all(kept), "every message was accepted before its process died"


async def answered_once(running: Stack, token: str, id: str) -> bool:
    """The client comes back, sends the message again, and gets one reply; whether it had been accepted before."""
    async with Chat(running.url, token) as chat:
        known = (await chat.until("snapshot"))["conversation"]["messages"]
        await chat.send("Hello", id)
        await settled(chat)
    async with Chat(running.url, token) as chat:
        messages = (await chat.until("snapshot"))["conversation"]["messages"]
    assert [(message["role"], message.get("to")) for message in messages] == [("human", None), ("bot", id)]
    return bool(known)


async def settled(chat: Chat) -> None:
    """Read until the reply is there, now or since before."""
    snapshot = chat.frames[0]
    if len(snapshot["conversation"]["messages"]) < 2:
        await chat.until("reply.finished")
    else:
        await chat.until("message.accepted")


async def test_the_same_message_by_many_ways_at_once_is_one_message_with_one_reply(running: Stack) -> None:
    """Two tabs at two web processes, each sending twice, before and after the answer."""
    running.pace(rate=0, stamped=3)
    with running.another_web() as other:
        for _ in range(5):
            await same_message_everywhere(running.url, other)


async def same_message_everywhere(url: str, other: str) -> None:
    """One round of it."""
    token, id = await new_token(url), str(uuid.uuid4())
    async with contextlib.AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(Chat(where, token)) for where in (url, other, url, other)]
        for tab in tabs:
            await tab.until("snapshot")
        await asyncio.gather(*(tab.send("Hello", id) for tab in tabs for _ in range(2)))
        for tab in tabs:
            await tab.until("reply.finished")
        await tabs[1].send("Hello", id)
        await tabs[1].send("Hello", end := str(uuid.uuid4()))
        await tabs[1].until("reply.finished")
    async with Chat(url, token) as chat:
        messages = (await chat.until("snapshot"))["conversation"]["messages"]
    assert [message.get("to", message["id"]) for message in messages] == [id, id, end, end]
