"""What a worker process does around its replies: it hands over, tries again, gives up, and never in silence."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasks.broker import WaitingBroker
from tasks.errors import StorageError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.monitoring import heartbeat
from tasks.monitoring.canary import CANARY
from tasks.monitoring.heartbeat import Heartbeat
from tasks.settings import Settings
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.keys import QUEUE_WAITING
from tasks.worker import runtime as runtime_module
from tasks.worker.lease import Lease, Turn
from tasks.worker.publisher import ReplyBuffer
from tasks.worker.reply import answer_conversation
from tasks.worker.runtime import MAX_CRASHES, WorkerRuntime
from tests.support.between import Between
from tests.support.servers import connect
from tests.support.steps import TTL, Steps


@pytest.fixture
async def redis(real_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    """An empty Redis."""
    with connect(real_redis.url) as client:
        client.flushall()
    client = RedisClient(real_redis.url, max_connections=4)
    yield client
    await client.aclose()


Handler = Callable[[WorkerRuntime, Lease], Coroutine[Any, Any, None]]


@asynccontextmanager
async def running(url: str, handler: Handler) -> AsyncIterator[WorkerRuntime]:
    """A worker process's runtime, without Dramatiq's threads."""
    broker = WaitingBroker(url, max_connections=2)
    runtime = WorkerRuntime(Settings(redis_url=url), broker, handler)
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()
        broker.close()


async def waiting(redis: RedisClient) -> list[str]:
    """The conversations on the queue."""
    return [member.decode() for member in await redis.command("ZRANGE", QUEUE_WAITING, 0, -1)]


async def test_every_reply_that_a_stopping_worker_holds_is_handed_over(
    redis: RedisClient, real_redis: EmbeddedRedis
) -> None:
    begun = asyncio.Event()

    async def handler(runtime: WorkerRuntime, lease: Lease) -> None:
        await lease.next_turn()
        begun.set()
        await asyncio.Event().wait()

    async with Steps(redis) as steps:
        await steps.say("hello")
        async with running(real_redis.url, handler) as runtime:
            answering = asyncio.create_task(runtime.answer(steps.id))
            await begun.wait()
            # Dramatiq's threads go on with what they have while the process stops.
            late = asyncio.create_task(runtime.answer("a" * 32))
        await answering
        await late
        assert sorted(await waiting(redis)) == sorted([steps.id, "a" * 32])
        assert (await steps.look()).progress.leased is False


async def test_what_comes_while_the_process_stops_goes_back_to_the_queue_and_is_not_begun(
    redis: RedisClient, real_redis: EmbeddedRedis
) -> None:
    """Dramatiq's threads go on with what they have, also when the model's connections are closed already."""
    begun: list[str] = []

    async def handler(runtime: WorkerRuntime, lease: Lease) -> None:
        begun.append(lease.conversation)

    async with running(real_redis.url, handler) as runtime:
        stopping = asyncio.create_task(runtime.stop())
        late = [asyncio.create_task(runtime.answer(number * 32)) for number in "abc"]
        await asyncio.gather(stopping, *late)
        await runtime.answer("d" * 32)
        assert begun == []
        assert sorted(await waiting(redis)) == [number * 32 for number in "abcd"]


async def test_a_long_search_keeps_no_worker_from_its_heartbeat(real_redis: EmbeddedRedis) -> None:
    """20 ms to Redis, and so many conversations to put back that it takes longer than a heartbeat is believed."""
    redis = RedisClient(real_redis.url, max_connections=4)
    await redis.command("FLUSHALL")
    pending = [Steps(redis) for _ in range(60)]
    for steps in pending:
        await conversations.create(redis, steps.token, "Ada", TTL)
        await steps.say("hello")
        await redis.command("ZADD", steps.keys.pending_index, 1, steps.id)
    observer = Heartbeat(redis, "web:1:observer")
    async with Between(real_redis) as between:
        between.hold_back(0.02)
        async with running(between.url, answer_conversation) as runtime:
            began, seen = time.monotonic(), False
            while len(await waiting(redis)) < len(pending):
                assert await observer.beat() == []
                seen = seen or runtime.heartbeat.process in observer.alive()
                await asyncio.sleep(0.1)
    await redis.aclose()
    assert seen
    assert time.monotonic() - began > heartbeat.TIMEOUT, "the search was too short to show anything"


async def test_any_crash_of_any_step_is_tried_again_after_pauses_that_grow_then_fails_the_reply(
    redis: RedisClient, real_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The pauses stay below the longest that recovery believes in, so that no search cuts one short.
    monkeypatch.setattr(runtime_module, "CRASH_PAUSE_MS", 8_000)
    tries = 0

    async def handler(runtime: WorkerRuntime, lease: Lease) -> None:
        nonlocal tries
        tries += 1
        assert await lease.next_turn()
        raise ZeroDivisionError("a defect of ours")

    async with Steps(redis) as steps, running(real_redis.url, handler) as runtime:
        id = await steps.say("hello")
        pauses = []
        for _ in range(MAX_CRASHES):
            await runtime.answer(steps.id)
            assert await waiting(redis) == [], "it is put on the queue at once"
            seconds, _micros = await redis.command("TIME")
            score = await redis.command("ZSCORE", steps.keys.pending_index, steps.id)
            pauses.append(round(((score or 0) / 1000 - seconds) / 8))
        assert tries == MAX_CRASHES
        assert pauses[:4] == [1, 2, 4, 8]
        (failed,) = [event for event in await steps.events() if event["type"] == "reply.failed"]
        assert (failed["to"], failed["code"]) == (id, "internal")
        assert caplog.text.count("ZeroDivisionError: a defect of ours") == MAX_CRASHES


async def test_when_a_reply_is_given_up_the_next_message_is_handed_to_a_worker_at_once(
    redis: RedisClient, real_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "CRASH_PAUSE_MS", 4_000)

    async def handler(runtime: WorkerRuntime, lease: Lease) -> None:
        assert await lease.next_turn()
        raise ZeroDivisionError("a defect of ours")

    async with Steps(redis) as steps, running(real_redis.url, handler) as runtime:
        given_up = await steps.say("hello")
        await steps.say("and this?")
        for _ in range(MAX_CRASHES):
            await runtime.answer(steps.id)
        (failed,) = [event for event in await steps.events() if event["type"] == "reply.failed"]
        assert failed["to"] == given_up
        assert await waiting(redis) == [steps.id]
        assert not (await steps.look()).progress.leased


async def test_a_conversation_whose_document_makes_no_sense_is_given_up_in_the_end(
    redis: RedisClient, real_redis: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async with Steps(redis) as steps, running(real_redis.url, answer_conversation) as runtime:
        await steps.say("hello")
        await redis.command("JSON.SET", steps.keys.document, "$.messages", '[{"no": "id"}]')
        for _ in range(MAX_CRASHES):
            await runtime.answer(steps.id)
        assert "conversation.abandoned" in caplog.text
        assert await redis.command("ZSCORE", steps.keys.pending_index, steps.id) is None


async def test_a_reply_that_never_ends_though_it_is_ended_is_given_up_and_logged(
    redis: RedisClient, real_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = 0

    async def ends_nothing(lease: Lease, turn: Turn, code: str, *_: object) -> None:
        nonlocal ends
        ends += 1

    # Nothing answers at the address of the model, and nothing of that gets into the document.
    monkeypatch.setattr(Lease, "fail", ends_nothing)
    async with Steps(redis) as steps:
        await steps.say("hello")
        broker = WaitingBroker(real_redis.url, max_connections=2)
        settings = Settings(redis_url=real_redis.url, model_url="http://127.0.0.1:9", model_patience=0.1)
        runtime = WorkerRuntime(settings, broker, answer_conversation)
        await runtime.start()
        await runtime.answer(steps.id)
        await runtime.stop()
        broker.close()
    assert ends == 3
    assert "conversation.abandoned" in caplog.text


async def test_one_refusal_that_cannot_heal_ends_the_reply_that_it_is_about_and_no_other(
    redis: RedisClient, real_redis: EmbeddedRedis
) -> None:
    ended: dict[str, str] = {}

    async def handler(runtime: WorkerRuntime, lease: Lease) -> None:
        turn = await lease.next_turn()
        assert turn
        assert await lease.start(turn)
        buffer = ReplyBuffer(lease, turn.reply)
        if lease.conversation == broken.id:
            await redis.command("DEL", lease.keys.events)
            await redis.command("SET", lease.keys.events, "no stream")
        runtime.publisher.write(buffer, "some words")
        await runtime.publisher.drain(buffer)
        await lease.finish(turn, "stop")
        ended[lease.conversation] = "whole"

    async with Steps(redis) as broken, Steps(redis) as good, running(real_redis.url, handler) as runtime:
        await broken.say("hello")
        await good.say("hello")
        async with asyncio.timeout(20):
            await asyncio.gather(runtime.answer(broken.id), runtime.answer(good.id))
        assert ended == {good.id: "whole"}
        assert await good.texts() == ["hello", "some words"]
        assert await redis.command("HGET", broken.keys.state, "crashes") == b"1"


async def test_whatever_redis_refuses_for_good_is_no_trouble_that_time_ends(redis: RedisClient) -> None:
    await redis.command("SET", "parley:{check}:text", "no hash")
    with pytest.raises(StorageError) as refused:
        await redis.command("HGET", "parley:{check}:text", "field")
    assert type(refused.value) is StorageError


async def test_a_canary_counts_no_longer_as_waiting_once_it_was_answered(
    redis: RedisClient, real_redis: EmbeddedRedis
) -> None:
    async with running(real_redis.url, answer_conversation) as runtime:
        await runtime.broker.request_reply(CANARY)
        assert await waiting(redis) == [CANARY]
        await runtime.answer(CANARY)
        assert await waiting(redis) == []
