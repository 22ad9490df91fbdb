"""Each background task is killed in turn: it is started again and does its work, or its process ends."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import dramatiq
import pytest
import redis
from dramatiq import worker as dramatiq_worker

from api import messages
from api.state import AppState
from tasks.broker import ACTOR, QUEUE, QUEUE_KEY, WaitingBroker, enqueue_commands
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import environment
from tasks.monitoring.background import end
from tasks.settings import Settings
from tasks.storage import conversations
from tasks.storage.keys import conversation_id
from tasks.worker.lease import Lease
from tasks.worker.runtime import WorkerRuntime

TOKEN = "a-conversation-of-a-test"  # noqa: S105
TTL = 600


@pytest.fixture
def url(real_redis: EmbeddedRedis) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(real_redis.url) as client:
        client.flushall()
    return real_redis.url


@pytest.fixture
async def state(url: str) -> AsyncIterator[AppState]:
    """What a web process shares."""
    state = AppState(Settings(redis_url=url))
    await state.start()
    yield state
    await state.stop()


def task_named(name: str, loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[object] | None:
    """The task of that name, if it runs."""
    return next((task for task in asyncio.all_tasks(loop) if task.get_name() == name and not task.done()), None)


async def killed_and_back(name: str) -> None:
    """Cancel a task from outside, as nobody should, and wait for another in its place."""
    before = task_named(name)
    assert before, f"{name} does not run"
    async with asyncio.timeout(10):
        # Before Python 3.12 a cancelling may be swallowed, by mistake as well.
        await end([before])
        while task_named(name) is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["the tail", "the watch", "the canary"])
async def test_a_web_process_goes_on_when_one_of_its_tasks_is_killed(state: AppState, name: str) -> None:
    await conversations.create(state.redis, TOKEN, "Ada", TTL)
    conversation = conversation_id(TOKEN)
    reader = state.tail.join(conversation)
    state.tail.begin(conversation, reader, "0-0", busy=False)
    await killed_and_back(name)
    await messages.accept(state.redis, conversation, "0b0e7d1c-1111-4222-8333-444455556666", "Hello", TTL)
    async with asyncio.timeout(10):
        frames = await anext(aiter(reader))
    assert "message.accepted" in frames[0]


@pytest.fixture
def runtime(url: str) -> Iterator[WorkerRuntime]:
    """What a worker process answers with; its story says one word."""

    async def story(runtime: WorkerRuntime, lease: Lease) -> None:
        turn = await lease.next_turn()
        assert turn
        assert await lease.start(turn)
        await lease.finish(turn, "stop")
        answered.set()

    answered = threading.Event()
    runtime = WorkerRuntime(Settings(redis_url=url), story)
    runtime.answered = answered  # type: ignore[attr-defined]
    runtime.start()
    yield runtime
    runtime.stop()


@pytest.mark.parametrize("name", ["the writer", "the beat"])
def test_a_worker_goes_on_when_one_of_its_tasks_is_killed(runtime: WorkerRuntime, name: str) -> None:
    asyncio.run_coroutine_threadsafe(killed_and_back(name), runtime.loop).result(20)

    async def ask() -> None:
        await conversations.create(runtime.redis, TOKEN, "Ada", TTL)
        id = "0b0e7d1c-1111-4222-8333-444455556666"
        await messages.accept(runtime.redis, conversation_id(TOKEN), id, "Hello", TTL)

    asyncio.run_coroutine_threadsafe(ask(), runtime.loop).result(20)
    assert runtime.places.wait(10)
    runtime.begin(conversation_id(TOKEN))
    assert runtime.answered.wait(10)  # type: ignore[attr-defined]


def test_a_message_that_comes_while_a_worker_hands_over_is_handed_over_too(url: str) -> None:
    begun = threading.Event()

    async def story(runtime: WorkerRuntime, lease: Lease) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            # Dramatiq's threads go on with what they have.
            if lease.conversation == conversation_id("first"):
                runtime._begin(conversation_id("second"))

    runtime = WorkerRuntime(Settings(redis_url=url), story)
    runtime.start()
    runtime.begin(conversation_id("first"))
    assert begun.wait(60)
    runtime.stop()
    with redis.Redis.from_url(url) as client:
        queued = [json.loads(message)["args"] for message in client.hvals(f"{QUEUE_KEY}.msgs")]
    assert sorted(queued) == sorted([[conversation_id("first")], [conversation_id("second")]])


def test_a_worker_whose_event_loop_has_ended_ends_as_well(url: str) -> None:
    program = (
        "import time; from tasks.actors import answering as a; a.start(); "
        "a.loop.call_soon_threadsafe(a.loop.stop); time.sleep(120)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment({"REDIS_URL": url}),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 1
    assert "the event loop has ended" in ended.stderr


class Roomy:
    """There is always room."""

    def wait(self, timeout: float) -> bool:
        """Yes."""
        return True


def test_a_consumer_that_fails_is_started_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq_worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)
    broker, got, failed = WaitingBroker(url, Roomy()), threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name=ACTOR)
    def answer(conversation: str) -> None:
        got.set()

    fetch = broker.fetch

    def fails_once() -> tuple[bytes | None, int] | None:
        if not failed.is_set():
            failed.set()
            raise ValueError("not a trouble of Redis'")
        return fetch()

    monkeypatch.setattr(broker, "fetch", fails_once)
    running = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    running.start()
    try:
        with redis.Redis.from_url(url) as client:
            for command in enqueue_commands(conversation_id(TOKEN)):
                client.execute_command(*command)
        assert got.wait(10)
        assert failed.is_set()
    finally:
        broker.close_consumers()
        running.stop(5000)
        broker.line.close()
