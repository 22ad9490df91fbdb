"""Redis is restarted, gone, full, narrow, slow or forgetful in the middle of a reply: it heals by itself, every word
once, sockets stay, and the log says so in a few lines."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis

from tasks.local.embedded_redis import start_redis
from tests.support.between import Between
from tests.support.client import Chat, Frame, new_token, replay
from tests.support.inside import stamps, whole
from tests.support.ports import own_port
from tests.support.proxy import Proxy
from tests.support.servers import connect_to_each
from tests.support.stack import Stack
from tests.takeover.counting import RATE, TOKENS, assert_every_token_once, begun

#: Warnings that one process may print for one trouble, however many replies it writes: each part goes and returns, and
#: on a cluster it does so for each primary.
FEW_LINES = 8
#: How long the trouble lasts, in seconds.
GONE, GONE_LONG = 2.0, 15.0
TALKING = 8
#: Tokens a second of a reply that is only to show that all is well again.
QUICKLY = 400


def configure(stack: Stack, name: str, value: str) -> None:
    """Change an option of every node of Redis."""
    with connect_to_each(stack.redis) as clients:
        for client in clients:
            client.config_set(name, value)


def cut_power(stack: Stack) -> None:
    """Redis dies; the append-only file has it all, which a busy disk might otherwise have kept back for a moment."""
    configure(stack, "appendfsync", "always")
    stack.redis.kill()


async def killed(stack: Stack) -> None:
    """As by a power cut."""
    cut_power(stack)
    await asyncio.sleep(GONE)
    await asyncio.to_thread(stack.redis.start)


async def gone_long(stack: Stack) -> None:
    """Longer than every lease, every retry and every watch for the dead."""
    cut_power(stack)
    await asyncio.sleep(GONE_LONG)
    await asyncio.to_thread(stack.redis.start)


async def told_to_go(stack: Stack) -> None:
    """As by an update."""
    await asyncio.to_thread(stack.redis.stop)
    await asyncio.to_thread(stack.redis.start)


async def scripts_forgotten(stack: Stack) -> None:
    """As after a failover."""
    with connect_to_each(stack.redis) as clients:
        for client in clients:
            client.script_flush()


async def full(stack: Stack) -> None:
    """Every write is refused."""
    configure(stack, "maxmemory", "1mb")
    await asyncio.sleep(GONE)
    configure(stack, "maxmemory", "0")


async def narrow(stack: Stack) -> None:
    """Nobody gets in any more, and everybody is thrown out."""
    with connect_to_each(stack.redis) as clients:
        for client in clients:
            client.config_set("maxclients", "1")
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await asyncio.sleep(GONE)
        for client in clients:
            client.config_set("maxclients", "10000")


async def slow(stack: Stack) -> None:
    """It stands still for a second, again and again."""
    with connect_to_each(stack.redis) as clients:
        for _ in range(3):
            for client in clients:
                client.execute_command("CLIENT", "PAUSE", 900, "ALL")
            await asyncio.sleep(1)


Trouble = Callable[[Stack], Awaitable[None]]


@pytest.mark.parametrize("trouble", [killed, gone_long, told_to_go, scripts_forgotten, full, narrow, slow])
async def test_redis_in_trouble_is_a_pause(running: Stack, trouble: Trouble) -> None:
    lines_before = {child.name: len(child.lines) for child in running.processes.children}
    chats = [Chat(running.url, await new_token(running.url)) for _ in range(TALKING)]
    for chat in chats:
        await chat.__aenter__()
    try:
        await asyncio.gather(*(begun(chat, tokens=5) for chat in chats))
        await asyncio.gather(trouble(running), *(chat.until("reply.finished") for chat in chats))
        running.pace(rate=QUICKLY, stamped=TOKENS)
        for chat in chats:
            assert_every_token_once(chat, _finished(chat)[0])
        for again in await asyncio.gather(*(insisted(chat, "And again") for chat in chats)):
            assert stamps(again["message"]["text"]) == whole(TOKENS)
    finally:
        await asyncio.gather(*(chat.__aexit__(None, None, None) for chat in chats))
    for child in running.processes.children:
        said = [line for line in list(child.lines)[lines_before[child.name] :] if " INFO " not in line]
        assert len(said) <= FEW_LINES * getattr(running.redis, "primaries", 1), "\n".join(said)
        assert not any("Traceback" in line for line in said), said


async def insisted(chat: Chat, text: str, id: str | None = None) -> Frame:
    """Send a message, again and again while it is refused, as pages do; the end of its reply."""
    id = await chat.send(text, id)
    while (frame := await chat.until("error", "reply.finished"))["type"] == "error":
        await chat.send(text, id)
    return frame


def _finished(chat: Chat) -> list[Frame]:
    return [frame for frame in chat.frames if frame["type"] == "reply.finished"]


async def test_what_is_said_while_redis_is_gone_is_refused_and_can_be_sent_again(running: Stack) -> None:
    async with Chat(running.url, await new_token(running.url)) as chat:
        await chat.until("snapshot")
        cut_power(running)
        id = await chat.send("Are you there?")
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("unavailable", id)
        await asyncio.to_thread(running.redis.start)
        frame = await insisted(chat, "Are you there?", id)
        assert stamps(frame["message"]["text"]) == whole(TOKENS)
        assert [message["id"] for message in replay(chat.frames)["messages"]] == [id, frame["message"]["id"]]


async def test_a_redis_that_stands_still_longer_than_anyone_waits_is_a_pause(own_stack: Stack) -> None:
    async with Between(own_stack.redis) as between:
        await asyncio.to_thread(lambda: own_stack.start_web(REDIS_URL=between.url))
        own_stack.start_worker(REDIS_URL=between.url)
        await asyncio.to_thread(own_stack.wait_ready)
        own_stack.pace(rate=RATE / 2)
        async with Chat(own_stack.url, await new_token(own_stack.url)) as chat:
            await begun(chat)
            await between.stall(7)
            between.cut()
            assert_every_token_once(chat, await chat.until("reply.finished"))


async def test_a_primary_that_became_a_replica_is_left_for_the_new_primary(single_stack: Stack, tmp_path: Path) -> None:
    """A failover behind one address: new connections lead to the new primary, old ones stay open and refuse writes."""
    port = single_stack.redis.port
    with (
        start_redis(tmp_path / "replica", port=own_port(), kind="redis") as other,
        redis.Redis.from_url(single_stack.redis.url) as primary,
    ):
        primary.config_set("repl-diskless-sync-delay", "0")
        with redis.Redis.from_url(other.url) as replica:
            replica.replicaof("127.0.0.1", port)
            await comes_true(lambda: replica.info("replication")["master_link_status"] == "up")
            async with Proxy(port) as proxy:
                address = f"redis://127.0.0.1:{proxy.port}/0"
                await asyncio.to_thread(lambda: single_stack.start_web(REDIS_URL=address))
                single_stack.start_worker(REDIS_URL=address)
                await asyncio.to_thread(single_stack.wait_ready)
                single_stack.pace(rate=RATE / 4)
                async with Chat(single_stack.url, await new_token(single_stack.url)) as chat:
                    await begun(chat, tokens=3)
                    proxy.target = other.port
                    primary.execute_command("FAILOVER", "TO", "127.0.0.1", other.port)
                    await comes_true(lambda: replica.role()[0] == b"master")
                    assert_every_token_once(chat, await chat.until("reply.finished"))
                    single_stack.pace(rate=QUICKLY)
                    await chat.send("And again")
                    await chat.until("reply.finished")
                await new_token(single_stack.url)


async def comes_true(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.02)


async def test_a_redis_that_forgot_its_last_second_costs_nobody_a_word(own_stack: Stack) -> None:
    """Live sockets get a new snapshot, a cursor from the future too; what was said is sent again and answered once."""
    own_stack.start_web()
    own_stack.start_worker()
    own_stack.wait_ready()
    own_stack.pace(rate=RATE * 5)
    token = await new_token(own_stack.url)
    async with Chat(own_stack.url, token) as chat:
        await begun(chat)
        first = (await chat.until("reply.finished"))["message"]
        backup = await copy_of_data(own_stack)
        forgotten = await chat.send("This will be forgotten")
        await chat.until("reply.delta")
        future = chat.cursor
        await forget_since(own_stack, backup)
        snapshot = await chat.until("snapshot")
        assert [message["id"] for message in snapshot["conversation"]["messages"]] == [first["to"], first["id"]]
        async with Chat(own_stack.url, token, after=future) as late:
            assert (await late.next())["type"] == "snapshot"
        finished = await insisted(chat, "This will be forgotten", forgotten)
        assert (finished["message"]["to"], stamps(finished["message"]["text"])) == (forgotten, whole(TOKENS))
        seen = replay(chat.frames)["messages"]
    async with Chat(own_stack.url, token) as chat:
        assert (await chat.until("snapshot"))["conversation"]["messages"] == seen


def data_folders(stack: Stack) -> list[Path]:
    """Where the nodes of Redis keep their data."""
    with connect_to_each(stack.redis) as clients:
        return [Path(client.config_get("dir")["dir"]) for client in clients]


async def copy_of_data(stack: Stack) -> list[Path]:
    """What is on the disk at this moment, in a folder for each node."""
    folders = data_folders(stack)
    await told_to_go(stack)
    copies = [folder.with_name(f"{folder.name}-earlier") for folder in folders]
    for folder, copy in zip(folders, copies, strict=True):
        shutil.copytree(folder, copy)
    return copies


async def forget_since(stack: Stack, copies: list[Path]) -> None:
    """A power cut that took the last writes with it."""
    folders = data_folders(stack)
    stack.redis.kill()
    for folder, copy in zip(folders, copies, strict=True):
        shutil.rmtree(folder / "appendonlydir")
        shutil.copytree(copy / "appendonlydir", folder / "appendonlydir")
    await asyncio.to_thread(stack.redis.start)
