"""Open sockets are looked after: quiet ones hear that the server lives, all of them that their conversation ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from api import frames
from api.fanout import open_sockets
from api.fanout.open_sockets import QUIET_CHECKS, OpenSockets
from api.fanout.tail import Subscription
from tasks.errors import ResyncNeededError
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tests.support.steps import TTL, Steps


@pytest.fixture
async def sockets(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenSockets]:
    """They are looked at without a pause."""
    monkeypatch.setattr(open_sockets, "CHECK_SECONDS", 0.01)
    sockets = OpenSockets(redis)
    running = asyncio.create_task(sockets.run())
    yield sockets
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def first(reader: Subscription) -> str:
    """The first frame that a reader gets."""
    async with asyncio.timeout(30):
        async for some in reader:
            return some[0]
    raise AssertionError("nothing came")


async def interrupted(reader: Subscription) -> None:
    """Read until that is no longer possible."""
    async for _ in reader:
        pass


async def looked_at(sockets: OpenSockets, conversation: str) -> None:
    """Wait until every socket was looked at twice: so often a newcomer has heard something."""
    witness = Subscription()
    sockets.add(conversation, witness, knows_alive=True, lives_for=0)
    await first(witness)
    await first(witness)
    sockets.remove(witness)


async def test_a_quiet_socket_hears_that_the_server_lives(sockets: OpenSockets, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = Subscription()
        sockets.add(steps.id, reader, knows_alive=True, lives_for=0)
        assert [await first(reader) for _ in range(3)] == [frames.ALIVE] * 3


async def test_what_was_opened_costs_no_command_before_it_can_have_expired(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        sockets, reader = OpenSockets(redis), Subscription()
        await redis.command("DEL", steps.keys.document)
        sockets.add(steps.id, reader, knows_alive=False, lives_for=TTL)
        await sockets.check()
        reader.push("nobody asked")
        assert await first(reader) == "nobody asked"


async def test_of_many_sockets_each_hears_it(sockets: OpenSockets, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        readers = [Subscription() for _ in range(2 * open_sockets.BATCH + 1)]
        for reader in readers:
            sockets.add(steps.id, reader, knows_alive=True, lives_for=0)
        assert [await first(reader) for reader in readers] == [frames.ALIVE] * len(readers)


async def test_a_socket_that_gets_events_hears_nothing_else(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        sockets, reader = OpenSockets(redis), Subscription()
        sockets.add(steps.id, reader, knows_alive=True, lives_for=0)
        for number in range(5):
            reader.cursor = (number, 0)
            reader.push(f"event {number}")
            for _ in range(QUIET_CHECKS):
                await sockets.check()
        async for some in reader:
            assert some == [f"event {number}" for number in range(5)]
            break


async def test_a_socket_of_the_older_contract_never_hears_it(sockets: OpenSockets, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = Subscription()
        sockets.add(steps.id, reader, knows_alive=False, lives_for=0)
        await looked_at(sockets, steps.id)
        reader.push("the end")
        assert await first(reader) == "the end"


async def test_one_that_left_is_looked_at_no_more(sockets: OpenSockets, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = Subscription()
        sockets.add(steps.id, reader, knows_alive=True, lives_for=0)
        sockets.remove(reader)
        sockets.remove(reader)
        await looked_at(sockets, steps.id)
        reader.push("the end")
        assert await first(reader) == "the end"


async def test_who_takes_nothing_is_given_up_and_who_listens_is_not(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_sockets, "TAKE_SECONDS", 0.1)
    async with Steps(redis) as steps:
        sockets, deaf, listening = OpenSockets(redis), Subscription(), Subscription()
        for reader in (deaf, listening):
            sockets.add(steps.id, reader, knows_alive=True, lives_for=TTL)
        heard: list[str] = []

        async def sleep() -> None:
            async for _ in deaf:
                await asyncio.Event().wait()

        async def listen() -> None:
            async for some in listening:
                heard.extend(some)

        async with asyncio.TaskGroup() as both:
            tasks = [both.create_task(sleep()), both.create_task(listen())]
            await sockets.give_up_deaf()
            for task in tasks:
                task.cancel()
        assert deaf.too_slow
        assert not listening.too_slow
        assert heard == [frames.ALIVE]


@pytest.mark.parametrize("knows_alive", [True, False])
async def test_when_its_conversation_expires_it_has_to_read_anew_and_finds_nothing(
    sockets: OpenSockets, redis: RedisClient, knows_alive: bool
) -> None:
    async with Steps(redis) as steps:
        reader = Subscription()
        for key in steps.keys.all[:-1]:
            await redis.command("PEXPIRE", key, 50)
        sockets.add(steps.id, reader, knows_alive=knows_alive, lives_for=0)
        with pytest.raises(ResyncNeededError):
            await interrupted(reader)


async def test_use_by_somebody_else_meanwhile_keeps_it_open_at_one_command_a_lifetime(redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        sockets, reader = OpenSockets(redis), Subscription()
        sockets.add(steps.id, reader, knows_alive=False, lives_for=0)
        await redis.command("PEXPIRE", steps.keys.document, 50)
        await sockets.check()
        await conversations.load(redis, steps.id, TTL)
        await asyncio.sleep(0.06)
        await sockets.check()
        await redis.command("DEL", steps.keys.document)
        await sockets.check()
        reader.push("still open")
        assert await first(reader) == "still open"


async def test_while_redis_is_away_quiet_sockets_hear_that_the_server_lives_all_the_same() -> None:
    nobody = RedisClient("redis://127.0.0.1:1/0", max_connections=1, retries=0)
    sockets, reader = OpenSockets(nobody), Subscription()
    sockets.add("a" * 32, reader, knows_alive=True, lives_for=0)
    for _ in range(QUIET_CHECKS + 1):
        await sockets.check()
    assert await first(reader) == frames.ALIVE
    await nobody.aclose()
