"""The tail: every reader gets every event of its conversation once and in order, and nothing of any other."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from api.fanout import tail as tail_module
from api.fanout.tail import (
    COUNT,
    MAX_BACKLOG,
    MAX_SHARED_BACKLOG,
    SMALL_BACKLOG,
    Backlog,
    Subscription,
    Tail,
    parse_cursor,
)
from tasks.errors import ResyncNeededError, SlowConsumerError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import wait_until
from tasks.monitoring.background import cancel_and_wait
from tasks.storage import events
from tasks.storage.client import Command, RedisClient
from tests.support.between import Between
from tests.support.steps import Steps


@pytest.fixture
async def tail(redis_url: str, redis: RedisClient) -> AsyncIterator[Tail]:
    """A tail that runs."""
    tail = Tail(redis_url, redis)
    running = asyncio.create_task(tail.run())
    yield tail
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await tail.aclose()


async def follow(tail: Tail, steps: Steps, cursor: str | None = None, *, busy: bool | None = None) -> Subscription:
    """Listen from a cursor on, or from now, as a socket does."""
    reader = tail.join(steps.id)
    view = await steps.look()
    pending = view.progress.pending > 0
    tail.begin(steps.id, reader, cursor or view.cursor, busy=pending if busy is None else busy)
    return reader


async def read(reader: Subscription, until: str) -> list[dict[str, Any]]:
    """The frames up to the first of a type, or to the first delta with this text."""
    frames: list[dict[str, Any]] = []
    # What nobody rang for takes it a few seconds by itself.
    async with asyncio.timeout(60):
        async for some in reader:
            frames += map(json.loads, some)
            if any(until in (frame["type"], frame.get("text")) for frame in frames):
                break
    return frames


async def test_a_reader_gets_every_event_once_and_in_order(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = await follow(tail, steps)
        for text in ("one", "two"):
            await steps.say(text)
            await steps.answer("so", " it", " is")
            assert (await read(reader, "reply.finished"))[-1]["type"] == "reply.finished"
        again = await follow(tail, steps, (await steps.events())[0]["cursor"], busy=True)
        assert await read(again, "reply.finished") == (await steps.events())[1:]


async def test_two_readers_that_join_at_different_times_get_the_same_from_then_on(
    tail: Tail, redis: RedisClient
) -> None:
    async with Steps(redis) as steps:
        early = await follow(tail, steps)
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "one", "two")
        seen = await read(early, "two")
        late = await follow(tail, steps)
        too_slow = await follow(tail, steps, seen[0]["cursor"], busy=True)
        await steps.write(lease, turn, "three")
        await lease.finish(turn, "stop")
        end = await read(early, "reply.finished")
        assert await read(late, "reply.finished") == end
        assert await read(too_slow, "reply.finished") == seen[1:] + end


async def test_who_saw_what_redis_does_not_have_reads_anew_also_where_another_reader_is_behind(
    tail: Tail, redis: RedisClient
) -> None:
    """A server that was replaced may have told one of them of an event that its replacement does not have."""
    async with Steps(redis) as steps:
        await steps.say("hello")
        last = (await steps.events())[-1]["cursor"]
        behind = await follow(tail, steps, last, busy=False)
        ahead = await follow(tail, steps, f"{last.split('-')[0]}-9", busy=False)
        await steps.answer("Hi")
        assert await read(behind, "reply.finished") == (await steps.events())[1:]
        with pytest.raises(ResyncNeededError):
            await read(ahead, "reply.finished")


async def test_who_read_more_than_another_reader_does_not_read_anew(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "one", "two")
        cursors = [event["cursor"] for event in await steps.events()]
        behind = await follow(tail, steps, cursors[0], busy=False)
        ahead = await follow(tail, steps, cursors[-1], busy=False)
        await lease.finish(turn, "stop")
        assert await read(behind, "reply.finished") == (await steps.events())[1:]
        assert await read(ahead, "reply.finished") == (await steps.events())[-1:]


async def test_conversations_are_kept_apart(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as mine, Steps(redis) as yours:
        readers = [await follow(tail, steps) for steps in (mine, yours)]
        for steps in (mine, yours):
            await steps.say(steps.id)
            await steps.answer("Hi")
        for reader, steps in zip(readers, (mine, yours), strict=True):
            assert await read(reader, "reply.finished") == await steps.events()


async def test_who_left_gets_nothing_more_and_who_stayed_does(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        gone, stays = await follow(tail, steps), await follow(tail, steps)
        tail.leave(steps.id, gone)
        await steps.say("hello")
        await steps.answer("Hi")
        assert await read(stays, "reply.finished") == await steps.events()
        gone.push('{"type":"last"}')
        assert [frame["type"] for frame in await read(gone, "last")] == ["last"]
        tail.leave(steps.id, stays)
        tail.leave(steps.id, stays)


async def test_messages_in_quick_succession_are_all_heard(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = await follow(tail, steps)
        for round in range(10):
            await steps.say(f"message {round}")
            await steps.answer(f"reply {round}")
        await steps.say("the last")
        await steps.answer("the end")
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1].get("message", {}).get("text") != "the end":
            frames += await read(reader, "reply.finished")
        assert frames == await steps.events()


@pytest.fixture
def _no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tail does not find at once, it does not find."""
    monkeypatch.setattr(tail_module, "POLL_SECONDS", 3600)


class Held(RedisClient):
    """Whose reads are answered, once `holding`, not before `let_go` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url, max_connections=4)
        self.holding = False
        self.held, self.let_go = asyncio.Event(), asyncio.Event()

    def node(self, name: str) -> RedisClient:
        return HeldNode(self, super().node(name)) if name else self

    async def pipeline(self, *commands: Command) -> list[Any]:
        answers = await super().pipeline(*commands)
        await self.hold(commands)
        return answers

    async def hold(self, commands: Sequence[Command]) -> None:
        """Wait if this was a read, and reads are held."""
        if self.holding and commands[0][0] == "XREAD":
            self.held.set()
            await self.let_go.wait()


class HeldNode(RedisClient):
    """A node of a cluster whose reads are held with the others."""

    def __init__(self, held: Held, node: RedisClient) -> None:
        self._held = held
        self._node = node

    async def pipeline(self, *commands: Command) -> list[Any]:
        answers = await self._node.pipeline(*commands)
        await self._held.hold(commands)
        return answers


@contextlib.asynccontextmanager
async def holding(url: str) -> AsyncIterator[tuple[Tail, Held]]:
    """A tail that runs, and what it reads with."""
    held = Held(url)
    tail = Tail(url, held)
    running = asyncio.create_task(tail.run())
    yield tail, held
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await tail.aclose()
    await held.aclose()


@pytest.mark.usefixtures("_no_look")
async def test_more_than_one_read_can_bring_is_read_at_once(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        many = 2 * COUNT + 10
        await redis.pipeline(
            *(("XADD", steps.keys.events, "*", events.FIELD, events.encode({"type": "old"})) for _ in range(many))
        )
        await happens_unheard(steps)
        reader = await follow(tail, steps, "0-0", busy=True)
        assert await read(reader, "unheard") == await steps.events()


@pytest.mark.usefixtures("_no_look")
async def test_who_knows_less_than_the_tail_is_told_the_rest_though_nothing_more_happens(
    tail: Tail, redis: RedisClient
) -> None:
    async with Steps(redis) as steps:
        early = await follow(tail, steps)
        await steps.say("hello")
        seen = await read(early, "message.accepted")
        late = await follow(tail, steps, "0-0", busy=False)
        assert await read(late, "message.accepted") == seen


@pytest.mark.usefixtures("_no_look")
async def test_who_joins_or_is_told_more_while_a_read_is_under_way_misses_nothing(
    redis_url: str, redis: RedisClient
) -> None:
    async with holding(redis_url) as (tail, held), Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "one")
        first, *_ = written = await steps.events()
        early = await follow(tail, steps, busy=False)
        held.holding = True
        late = await follow(tail, steps, first["cursor"], busy=True)
        await held.held.wait()
        # The answer to the read is on its way, without these.
        latest = await follow(tail, steps, "0-0", busy=True)
        await steps.write(lease, turn, "two", "three")
        held.let_go.set()
        everything = await steps.events()
        assert await read(latest, "three") == everything
        assert await read(late, "three") == everything[1:]
        assert await read(early, "three") == everything[len(written) :]


@pytest.mark.usefixtures("_no_look")
async def test_only_what_a_worker_wrote_is_a_sign_of_a_workers_work(tail: Tail, redis: RedisClient) -> None:
    """What web processes write by themselves must not make a system look answered."""
    async with Steps(redis) as steps:
        reader = await follow(tail, steps)
        stopped = await steps.say("hello")
        await read(reader, "message.accepted")
        await steps.stop(stopped)
        await read(reader, "reply.finished")
        assert not tail.heard
        await steps.say("hello again")
        await steps.begin()
        await read(reader, "reply.started")
        assert tail.heard


async def test_what_only_a_read_brought_is_kept_though_more_was_heard_meanwhile(
    redis_url: str, redis: RedisClient
) -> None:
    async with holding(redis_url) as (tail, held), Steps(redis) as steps:
        await steps.say("hello")
        lease, turn = await steps.begin()
        reader = await follow(tail, steps, busy=False)
        await steps.write(lease, turn, "one")
        seen = await read(reader, "one")
        held.holding = True
        tail.read_open()
        await held.held.wait()
        await steps.write(lease, turn, "two")
        seen += await read(reader, "two")
        await happens_unheard(steps)
        held.let_go.set()
        await steps.write(lease, turn, "three")
        seen += await read(reader, "three")
        assert seen == (await steps.events())[2:]


async def happens_unheard(steps: Steps) -> None:
    """Something comes into the stream whose ring is lost."""
    await steps.redis.command("XADD", steps.keys.events, "*", events.FIELD, events.encode({"type": "unheard"}))


async def test_what_nobody_rang_for_is_not_skipped_by_the_next_word(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = await follow(tail, steps)
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "one")
        seen = await read(reader, "one")
        await happens_unheard(steps)
        await steps.write(lease, turn, "two")
        assert seen + await read(reader, "two") == await steps.events()


async def test_what_nobody_rang_for_is_found_while_a_reply_is_due(tail: Tail, redis: RedisClient) -> None:
    async with Steps(redis) as steps:
        reader = await follow(tail, steps)
        await steps.say("hello")
        seen = await read(reader, "message.accepted")
        await happens_unheard(steps)
        assert seen + await read(reader, "unheard") == await steps.events()


async def test_a_reader_that_falls_too_far_behind_is_sent_away(redis: RedisClient) -> None:
    reader = Subscription()
    called: list[int] = []
    reader.on_too_slow = lambda: called.append(1)
    for _ in range(MAX_BACKLOG // 1000):
        reader.push("x" * 1000)
    assert not reader.too_slow
    reader.push("x" * 1000)
    assert reader.too_slow
    assert called
    with pytest.raises(SlowConsumerError):
        async for _ in reader:
            pass


async def test_a_reader_that_keeps_up_may_read_without_end() -> None:
    reader = Subscription()
    for _ in range(3):
        for _ in range(MAX_BACKLOG // 1000):
            reader.push("x" * 1000)
        async for frames in reader:
            assert len(frames) == MAX_BACKLOG // 1000
            break
    assert not reader.too_slow


async def test_what_waits_for_all_sockets_of_an_address_is_bounded_and_readers_who_read_are_not_cut_off() -> None:
    backlog = Backlog()
    readers = [Subscription(backlog) for _ in range(100)]
    reading, other = Subscription(backlog), Subscription(Backlog())
    for _ in range(MAX_BACKLOG // 1000 - 1):
        for reader in (*readers, reading, other):
            reader.push("x" * 1000)
        async for _ in reading:
            break
    assert backlog.size <= MAX_SHARED_BACKLOG + len(readers) * SMALL_BACKLOG
    assert any(reader.too_slow for reader in readers)
    assert not reading.too_slow
    assert not other.too_slow


async def test_what_was_read_or_dropped_does_not_wait_any_more() -> None:
    backlog = Backlog()
    readers = [Subscription(backlog) for _ in range(3)]
    for reader in readers:
        reader.push("x" * 1000)
    async for _ in readers[0]:
        break
    readers[1].interrupt(ResyncNeededError)
    readers[2].clear()
    assert backlog.size == 0


async def test_after_redis_was_away_readers_go_on_where_they_were(real_redis: EmbeddedRedis) -> None:
    async with Between(real_redis) as between, Steps(between.direct) as steps:
        commands = RedisClient(between.url, max_connections=2)
        tail = Tail(between.url, commands)
        running = asyncio.create_task(tail.run())
        reader = await follow(tail, steps)
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "before")
        seen = await read(reader, "before")
        between.refuse()
        await steps.write(lease, turn, "meanwhile")
        await between.admit()
        await lease.finish(turn, "stop")
        assert seen + await read(reader, "reply.finished") == await steps.events()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await tail.aclose()
        await commands.aclose()


class Stuck(RedisClient):
    """Its commands are not answered, and swallow their cancelling, as redis-py can do before Python 3.12."""

    begun = False

    def node(self, name: str) -> RedisClient:
        """Itself, for every node."""
        return self

    async def pipeline(self, *commands: Command) -> list[Any]:
        """Nothing, once it was cancelled."""
        self.begun = True
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return []


async def test_a_tail_ends_also_when_a_command_swallows_its_cancelling(real_redis: EmbeddedRedis) -> None:
    commands = Stuck(real_redis.url, max_connections=1)
    tail = Tail(real_redis.url, commands)
    running = asyncio.create_task(tail.run())
    reader = tail.join("a" * 32)
    tail.begin("a" * 32, reader, "0-0", busy=True)
    async with asyncio.timeout(10):
        while not commands.begun:
            await asyncio.sleep(0)
        await cancel_and_wait([running])
    await tail.aclose()
    await commands.aclose()


async def test_a_reader_who_saw_more_than_redis_still_knows_needs_a_snapshot(real_redis: EmbeddedRedis) -> None:
    async with Between(real_redis) as between, Steps(between.direct) as steps:
        commands = RedisClient(between.url, max_connections=2)
        tail = Tail(between.url, commands)
        running = asyncio.create_task(tail.run())
        reader = await follow(tail, steps)
        await steps.say("hello")
        await steps.answer("Hi")
        await read(reader, "reply.finished")
        between.refuse()
        await between.direct.command("XTRIM", steps.keys.events, "MAXLEN", 0)
        await asyncio.to_thread(wait_until, lambda: tail.away, "the tail to notice")
        await between.admit()
        with pytest.raises(ResyncNeededError):
            await read(reader, "never")
        reader.restart()
        view = await steps.look()
        tail.begin(steps.id, reader, view.cursor, busy=False)
        await steps.say("again")
        await steps.answer("Hi again")
        assert [frame["type"] for frame in await read(reader, "reply.finished")][-1] == "reply.finished"
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await tail.aclose()
        await commands.aclose()


@pytest.mark.parametrize(("text", "cursor"), [("5-1", (5, 1)), (b"1732300000000-12", (1732300000000, 12))])
def test_cursors_compare_as_numbers(text: str | bytes, cursor: tuple[int, int]) -> None:
    assert parse_cursor(text) == cursor
    assert parse_cursor("9-10") > parse_cursor("9-9")


@pytest.mark.parametrize("text", ["", "5", "5-", "-5", "x-y"])
def test_what_is_no_cursor_raises(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cursor(text)
