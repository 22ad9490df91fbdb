"""Sockets are counted over all web processes that are alive, and a wrong report is put right."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from api.access import connection_limits
from api.access.connection_limits import ALL, ConnectionLimits
from tasks.errors import StorageUnavailableError, TooManyConnectionsError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.monitoring.background import cancel_and_wait
from tasks.settings import Settings
from tasks.storage.client import RedisClient
from tasks.storage.keys import ALIVE, SOCKETS
from tests.support.between import Between

#: Starts a process that beats, under a name; two sockets may be open of a session, three of an address.
Starting = Callable[[str], Awaitable[ConnectionLimits]]

PATIENCE = 10.0


@pytest.fixture
async def started(redis: RedisClient) -> AsyncIterator[Starting]:
    """Processes that report to each other what they hold."""
    settings = Settings(limit_sockets_per_session=2, limit_sockets_per_address=3)
    tasks: list[asyncio.Task[None]] = []

    async def start(name: str) -> ConnectionLimits:
        await redis.command("ZADD", ALIVE, int(time.time() * 1000), name)
        sockets = ConnectionLimits(settings, redis, name)
        tasks.append(asyncio.create_task(sockets.run()))
        return sockets

    yield start
    await cancel_and_wait(tasks)


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    """Holds sockets open; those that are left are closed at the end."""
    async with AsyncExitStack() as stack:
        yield stack


async def comes_in(sockets: ConnectionLimits, session: str, address: str, until: AsyncExitStack) -> bool:
    """Whether there is room for one more socket, which then stays open."""
    try:
        await until.enter_async_context(sockets.slot(session, address))
    except TooManyConnectionsError:
        return False
    return True


async def others_know(redis: RedisClient, process: str, expected: dict[str, int]) -> None:
    """Wait until this is what others know of a process."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await redis.command("HGETALL", SOCKETS + process)
            if {name.decode(): int(number) for name, number in told.items()} == expected:
                return
            await asyncio.sleep(0.01)


async def test_a_session_has_so_many_sockets_in_all_processes_together(
    redis: RedisClient, started: Starting, closing: AsyncExitStack
) -> None:
    here, there = await started("web:1"), await started("web:2")
    async with AsyncExitStack() as soon:
        assert await comes_in(here, "s", "a", closing)
        assert await comes_in(there, "s", "a", soon)
        assert not await comes_in(here, "s", "b", closing)
        assert not await comes_in(there, "s", "b", closing)
        assert await comes_in(here, "other", "a", closing)
    await others_know(redis, "web:2", {})
    assert await comes_in(here, "s", "b", closing)
    await others_know(redis, "web:1", {ALL: 3, "session s": 2, "session other": 1, "address a": 2, "address b": 1})


async def test_an_address_has_so_many_sockets_in_all_processes_together(
    started: Starting, closing: AsyncExitStack
) -> None:
    processes = [await started(f"web:{number}") for number in range(3)]
    came = [await comes_in(processes[number % 3], str(number), "a", closing) for number in range(5)]
    assert came == [True, True, True, False, False]
    assert await comes_in(processes[0], "s", "b", closing)


async def test_however_many_come_at_once_just_so_many_come_in(started: Starting, closing: AsyncExitStack) -> None:
    processes = [await started(f"web:{number}") for number in range(3)]
    coming = (comes_in(processes[number % 3], str(number), "a", closing) for number in range(60))
    assert sum(await asyncio.gather(*coming)) == 3


async def test_those_of_a_process_that_is_dead_do_not_count(
    redis: RedisClient, started: Starting, closing: AsyncExitStack
) -> None:
    dead, alive = await started("web:1"), await started("web:2")
    for _ in range(2):
        assert await comes_in(dead, "s", "a", closing)
    assert not await comes_in(alive, "s", "a", closing)
    await redis.command("ZREM", ALIVE, "web:1")
    assert await comes_in(alive, "s", "a", closing)


async def test_one_that_was_refused_here_or_there_leaves_nothing_behind(
    redis: RedisClient, started: Starting, closing: AsyncExitStack
) -> None:
    here, there = await started("web:1"), await started("web:2")
    for _ in range(2):
        assert await comes_in(here, "s", "a", closing)
    assert not await comes_in(here, "s", "b", closing)
    assert not await comes_in(there, "s", "b", closing)
    await others_know(redis, "web:1", {ALL: 2, "session s": 2, "address a": 2})
    await others_know(redis, "web:2", {})


async def test_who_is_one_too_many_here_does_not_stand_in_line_at_a_slow_redis(
    redis: RedisClient, started: Starting, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await started("web:1")
    for _ in range(2):
        assert await comes_in(here, "s", "a", closing)
    runtime = asyncio.Event()

    async def slowly(*script: object) -> list[int]:
        await runtime.wait()
        return [1]

    with monkeypatch.context() as patch:
        patch.setattr(redis, "script", slowly)
        other = asyncio.create_task(comes_in(here, "other", "a", closing))
        await asyncio.sleep(0)
        assert not await comes_in(here, "s", "b", closing)
        runtime.set()
        assert await other


async def test_an_answer_that_was_lost_is_put_right(
    redis: RedisClient, started: Starting, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await started("web:1")

    async def done_but_not_said(*script: Any) -> None:
        await RedisClient.script(redis, *script)
        raise StorageUnavailableError("Redis cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(redis, "script", done_but_not_said)
        with pytest.raises(StorageUnavailableError):
            await comes_in(here, "s", "a", closing)
    await others_know(redis, "web:1", {})


async def test_what_redis_forgot_is_told_again(
    redis: RedisClient, started: Starting, closing: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "REPORT_INTERVAL", 0.05)
    here = await started("web:1")
    assert await comes_in(here, "s", "a", closing)
    await redis.command("DEL", SOCKETS + "web:1")
    await others_know(redis, "web:1", {ALL: 1, "session s": 1, "address a": 1})


async def test_who_leaves_takes_everything_along(
    redis: RedisClient, started: Starting, closing: AsyncExitStack
) -> None:
    here = await started("web:1")
    assert await comes_in(here, "s", "a", closing)
    await here.leave()
    await others_know(redis, "web:1", {})


async def test_zero_is_no_limit(redis: RedisClient, closing: AsyncExitStack) -> None:
    settings = Settings(limit_sockets_per_session=0, limit_sockets_per_address=0)
    here = ConnectionLimits(settings, redis, "web:1")
    assert all([await comes_in(here, "s", "a", closing) for _ in range(200)])


async def test_a_crowd_comes_in_at_once_however_far_away_redis_is(real_redis: EmbeddedRedis) -> None:
    """One trip after the other would take longer than anybody waits."""
    async with Between(real_redis) as between, AsyncExitStack() as closing:
        distant = RedisClient(between.url, max_connections=1)
        await distant.command("PING")
        here = ConnectionLimits(Settings(limit_sockets_per_address=25), distant, "web:1")
        between.hold_back(0.1)
        came = await asyncio.gather(*(comes_in(here, str(number), "a", closing) for number in range(30)))
        between.hold_back(0)
        assert sum(came) == 25
        await distant.aclose()


async def test_who_hangs_up_while_the_answer_is_on_its_way_is_not_counted(
    redis: RedisClient, started: Starting, closing: AsyncExitStack
) -> None:
    here = await started("web:1")
    for steps in range(12):
        coming = asyncio.create_task(comes_in(here, "s", "a", closing))
        for _ in range(steps):
            await asyncio.sleep(0)
        coming.cancel()
        with suppress(asyncio.CancelledError):
            if await coming:
                await closing.aclose()
    await others_know(redis, "web:1", {})
    assert await comes_in(here, "s", "a", closing)
