"""When the model fails: what the worker process makes of it for the people who wait, and for those who need not."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.client import Chat, new_token
from tests.support.inside import stamps, whole
from tests.support.proxy import Proxy
from tests.support.stack import Stack

TOKENS = 40


@pytest.fixture
def own_stack(own_stack: Stack) -> Iterator[Stack]:
    """A stack of a test's own; its processes are not asked politely at the end, which would take seconds."""
    yield own_stack
    for child in own_stack.processes.children:
        child.kill()


async def test_a_stream_that_breaks_again_and_again_is_one_reply_without_a_seam(stack: Stack) -> None:
    stack.pace(rate=200, stamped=TOKENS)
    for mode in ("cut", "error", "end"):
        stack.fault(mode=mode, after=7)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.send("Count, please")
        finished = (await chat.until("reply.finished", "reply.failed"))["message"]
    of_reply = [frame for frame in chat.frames if frame.get("id") == finished["id"]]
    types = [frame["type"] for frame in of_reply]
    assert stamps(finished["text"]) == whole(TOKENS)
    assert "".join(frame["text"] for frame in of_reply if frame["type"] == "reply.delta") == finished["text"]
    assert (types.count("reply.started"), types.count("reply.waiting")) == (1, 3)


class Counted(Proxy):
    """Counts the connections that are made through it."""

    connections = 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super()._connected(reader, writer)


async def test_all_conversations_of_a_worker_share_its_connections_to_the_model(own_stack: Stack) -> None:
    async with Counted(own_stack.model_port) as model:
        own_stack.start_web()
        own_stack.start_worker(MODEL_URL=f"http://127.0.0.1:{model.port}")
        own_stack.pace(rate=0)
        await asyncio.to_thread(own_stack.wait_ready)
        for _ in range(8):
            async with Chat(own_stack.url, await new_token(own_stack.url)) as chat:
                await chat.send("Hello")
                await chat.until("reply.finished")
        # One, and another wherever a busy machine took longer than an unused connection is kept.
        assert 1 <= model.connections < 8
