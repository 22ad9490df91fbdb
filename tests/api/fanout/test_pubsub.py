"""The listener: hears all that is published from its first piece on, and waits for no dead connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from api.fanout import pubsub
from api.fanout.pubsub import EventListener
from tasks.errors import StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import event_channel

CHANNEL = event_channel(3)
CONFIRMED = f"*3\r\n$10\r\nssubscribe\r\n${len(CHANNEL)}\r\n{CHANNEL}\r\n:1\r\n".encode()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "QUIET_SECONDS", 0.05)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[EventListener]:
    """A listener, whose connection is closed in the end."""
    listener = EventListener(url)
    yield listener
    await listener.aclose()


async def pings(redis: RedisClient) -> int:
    """How often Redis was asked whether it is there."""
    stats = await redis.command("INFO", "commandstats")
    return int(stats.get("cmdstat_ping", {}).get("calls", 0))


async def test_what_is_published_after_the_first_piece_is_heard_in_order(redis_url: str, redis: RedisClient) -> None:
    async with listening(redis_url) as listener, aclosing(listener.listen("", [3])) as pieces:
        assert await anext(pieces) == b""
        for number in range(100):
            await redis.command("SPUBLISH", CHANNEL, f"{number}")
        assert [await anext(pieces) for _ in range(100)] == [b"%d" % number for number in range(100)]


@pytest.mark.parametrize("redis_url", ["real_redis"], indirect=True)
async def test_a_redis_that_only_has_nothing_to_say_is_listened_to_further(redis_url: str, redis: RedisClient) -> None:
    async with listening(redis_url) as listener, aclosing(listener.listen("", [3])) as pieces:
        assert await anext(pieces) == b""
        before, next_piece = await pings(redis), asyncio.ensure_future(anext(pieces))
        async with asyncio.timeout(60):
            while await pings(redis) < before + 5:
                await asyncio.sleep(0.01)
        await redis.command("SPUBLISH", CHANNEL, "at last")
        assert await next_piece == b"at last"


async def test_a_redis_that_answers_no_more_is_an_error_and_not_waited_for() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What redis-py says of itself comes first.
        while b"SSUBSCRIBE" not in (asked := await reader.read(65_536)):
            assert asked
            writer.write(b"+OK\r\n" * asked.count(b"SETINFO") + b"-ERR unknown\r\n" * asked.count(b"cluster"))
        writer.write(CONFIRMED)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"redis://127.0.0.1:{port}/0"
        async with asyncio.timeout(60), listening(url) as listener, aclosing(listener.listen("", [3])) as pieces:
            assert await anext(pieces) == b""
            with pytest.raises(StorageError):
                await anext(pieces)


async def test_it_listens_anew_whenever_it_is_asked_to(redis_url: str, redis: RedisClient) -> None:
    async with listening(redis_url) as listener:
        for _ in range(2):
            async with aclosing(listener.listen("", [3])) as pieces:
                assert await anext(pieces) == b""
                await redis.command("SPUBLISH", CHANNEL, "here")
                assert await anext(pieces) == b"here"
