"""Each background task is killed in turn: it is started again and does its work, or its process ends."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from api import messages
from api.state import AppState
from tasks.broker import WaitingBroker
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import environment
from tasks.monitoring.background import cancel_and_wait
from tasks.settings import Settings
from tasks.storage import conversations
from tasks.storage.keys import conversation_id
from tasks.worker.lease import Lease
from tasks.worker.publisher import ReplyBuffer
from tasks.worker.runtime import WorkerRuntime
from tests.support.servers import connect

TOKEN = "a-conversation-of-a-test"  # noqa: S105
TTL = 600


@pytest.fixture
def url(real_redis: EmbeddedRedis) -> str:
    """An empty Redis."""
    with connect(real_redis.url) as client:
        client.flushall()
    return real_redis.url


@pytest.fixture
async def state(url: str) -> AsyncIterator[AppState]:
    """What a web process shares."""
    state = AppState(Settings(redis_url=url))
    await state.start()
    yield state
    await state.stop()


def task_named(name: str) -> asyncio.Task[object] | None:
    """The task of that name, if it runs."""
    return next((task for task in asyncio.all_tasks() if task.get_name() == name and not task.done()), None)


async def killed_and_back(name: str) -> None:
    """Cancel a task from outside, as nobody should, and wait for another in its place."""
    before = task_named(name)
    assert before, f"{name} does not run"
    async with asyncio.timeout(10):
        # Before Python 3.12 a cancellation may be swallowed, by mistake as well.
        await cancel_and_wait([before])
        while task_named(name) is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["tail", "watch", "canary"])
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


@pytest.mark.parametrize("name", ["publisher", "heartbeat", "leases", "recovery", "metrics"])
async def test_a_worker_goes_on_when_one_of_its_tasks_is_killed(url: str, name: str) -> None:
    async def one_word(runtime: WorkerRuntime, lease: Lease) -> None:
        turn = await lease.next_turn()
        assert turn
        assert await lease.start(turn)
        buffer = ReplyBuffer(lease, turn.reply)
        runtime.publisher.write(buffer, "Hi")
        await runtime.publisher.drain(buffer)
        await lease.finish(turn, "stop")

    broker = WaitingBroker(url, max_connections=1)
    runtime = WorkerRuntime(Settings(redis_url=url), broker, one_word)
    await runtime.start()
    await killed_and_back(name)
    await conversations.create(runtime.redis, TOKEN, "Ada", TTL)
    conversation = conversation_id(TOKEN)
    await messages.accept(runtime.redis, conversation, "0b0e7d1c-1111-4222-8333-444455556666", "Hello", TTL)
    await runtime.answer(conversation)
    view = await conversations.load(runtime.redis, conversation, TTL)
    assert [message["text"] for message in view.page.messages] == ["Hello", "Hi"]
    await runtime.stop()
    broker.close()


def run_worker_code(url: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has imported Dramatiq's entry point, as a worker does."""
    return subprocess.run(
        [sys.executable, "-c", f"import time, dramatiq; from tasks import actors; {code}; time.sleep(120)"],
        env=environment({"REDIS_URL": url}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_worker_whose_event_loop_has_ended_ends_as_well(url: str) -> None:
    code = (
        "actors.WorkerLifecycle().before_worker_boot(actors.broker, None);"
        "actors.loop.loop.call_soon_threadsafe(actors.loop.loop.stop)"
    )
    ended = run_worker_code(url, code)
    assert ended.returncode == 1
    assert "worker.loop_ended" in ended.stderr


@pytest.mark.parametrize("hook", ["before_worker_boot", "before_worker_shutdown"])
def test_a_worker_whose_start_or_end_fails_in_a_hook_of_dramatiqs_ends_and_says_why(url: str, hook: str) -> None:
    """Dramatiq itself logs what a hook raises, and goes on with half a process."""
    code = f"actors.runtime.start = actors.runtime.stop = None; actors.broker.emit_before('{hook[7:]}', None)"
    ended = run_worker_code(url, code)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "worker.start_failed" in ended.stderr or "worker.stop_failed" in ended.stderr
