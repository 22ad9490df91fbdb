"""A reader that stops reading costs bounded memory and slows nobody; a slow Redis slows the model's stream."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlparse

import httpx
import psutil
import websockets
from websockets.asyncio.client import ClientConnection, connect

from api.frames import SUBPROTOCOL
from api.http.routes import MAX_HISTORIES_WAITING
from tests.fuzz.attacks import Target, deaf_pings
from tests.support.between import Between
from tests.support.client import Chat, new_token
from tests.support.inside import pids
from tests.support.stack import Stack

#: Frames of 16 kB, enough of them to fill what the kernel keeps for a reader (up to 4 MB) and the process as well.
TABS, ROUNDS, TEXT = 8, 45, "\N{OWL}" * 3900
#: How much a web process may grow while a reader does not read: bytes.
GROWTH = 40 << 20
#: Seconds until such a reader has to be gone.
LET_GO = 60.0
#: Seconds of pings; what they would make the process grow by is many times what is allowed.
PINGING = 12.0


async def test_a_reader_that_stops_reading_is_let_go_and_slows_nobody(running: Stack) -> None:
    web = running.processes.children[0]
    running.pace(rate=0, stamped=1)
    token = await new_token(running.url)
    async with contextlib.AsyncExitStack() as tabs:
        asleep = await tabs.enter_async_context(stuck(running.url, token))
        awake = [await tabs.enter_async_context(Chat(running.url, token)) for _ in range(TABS)]
        before = memory({web.pid})
        await asyncio.gather(*(pour(tab) for tab in awake))
        assert memory({web.pid}) - before < GROWTH
        # Its close frame has to wait behind all that it has not read, and is given up with it.
        assert await close_code(asleep) in (1013, 1006)
        async with Chat(running.url, token) as back:
            conversation = (await back.until("snapshot"))["conversation"]
            assert conversation["earlier"] + len(conversation["messages"]) >= TABS * ROUNDS


async def test_answers_to_pings_that_are_not_read_do_not_fill_the_memory(running: Stack) -> None:
    """No application sees pings: uvicorn answers them, and keeps the answers that nobody takes."""
    web = running.processes.children[0]
    before = most = memory({web.pid})
    attack = asyncio.create_task(deaf_pings(Target(running.url, PINGING, seed=1)))
    while not attack.done():
        most = max(most, memory({web.pid}))
        await asyncio.sleep(0.05)
    await attack
    assert most - before < 2 * GROWTH


async def pour(tab: Chat) -> None:
    """Say a lot, each time after the last was answered."""
    for _ in range(ROUNDS):
        id = await tab.send(TEXT)
        while (await tab.until("reply.finished"))["message"]["to"] != id:
            pass


@contextlib.asynccontextmanager
async def stuck(url: str, token: str) -> AsyncIterator[ClientConnection]:
    """A socket with a small window that reads its first frame and then nothing."""
    address = urlparse(url)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect((address.hostname, address.port))
    ws = await connect(
        f"ws://{address.netloc}/chat?token={token}",
        sock=small,
        subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
        ping_interval=None,
        max_queue=1,
        close_timeout=0.1,
    )
    await ws.recv()
    ws.transport.pause_reading()
    try:
        yield ws
    finally:
        ws.transport.abort()


async def close_code(ws: ClientConnection) -> int | None:
    """Read again, to the end."""
    ws.transport.resume_reading()
    with contextlib.suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(LET_GO):
            while True:
                await ws.recv()
    return ws.close_code


async def test_while_redis_stands_still_a_bounded_number_of_histories_waits_and_the_rest_is_refused(
    own_stack: Stack,
) -> None:
    async with Between(own_stack.redis) as between:
        await asyncio.to_thread(lambda: own_stack.start_web(REDIS_URL=between.url))
        token = await new_token(own_stack.url)
        async with httpx.AsyncClient(base_url=own_stack.url, timeout=60, limits=httpx.Limits()) as http:
            stalled = asyncio.create_task(between.stall(2))
            asked = [http.get("/refresh_token", params={"token": token}) for _ in range(MAX_HISTORIES_WAITING + 50)]
            codes = Counter(answer.status_code for answer in await asyncio.gather(*asked))
            await stalled
        assert codes[200] >= MAX_HISTORIES_WAITING
        assert codes[503] > 0
        assert codes.total() == codes[200] + codes[503]


def memory(processes: Iterable[int]) -> int:
    """Bytes that these processes use."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in processes)


async def test_while_redis_stands_still_the_model_is_read_no_further_than_a_bounded_buffer(own_stack: Stack) -> None:
    """A reply that pours is held back in the model's own connection, not in the worker."""
    async with Between(own_stack.redis) as between:
        own_stack.start_worker(REDIS_URL=between.url)
        await asyncio.to_thread(own_stack.start_web)
        await asyncio.to_thread(own_stack.wait_ready)
        own_stack.pace(rate=2000, stamped=150)
        chats = [Chat(own_stack.url, await new_token(own_stack.url)) for _ in range(40)]
        async with contextlib.AsyncExitStack() as stack:
            for chat in chats:
                await stack.enter_async_context(chat)
                await chat.until("snapshot")
            before = memory(pids(own_stack.processes.children[0]))
            stalled = asyncio.create_task(between.stall(4))
            await asyncio.gather(*(chat.send("Pour") for chat in chats))
            await stalled
            assert memory(pids(own_stack.processes.children[0])) - before < GROWTH
            for chat in chats:
                await chat.until("reply.finished")
        for child in own_stack.processes.children:
            child.kill()
