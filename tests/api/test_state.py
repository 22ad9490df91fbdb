"""What a web process watches."""

from collections.abc import AsyncIterator

import pytest

from api.state import NO_WORKER, OK, STORAGE_AWAY, AppState
from tasks.errors import StorageUnavailableError
from tasks.monitoring.canary import CANARY, MAX_ENTRIES
from tasks.monitoring.heartbeat import WORKER, Heartbeat
from tasks.settings import Settings
from tasks.storage.client import RedisClient
from tasks.storage.keys import ConversationKeys


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[AppState]:
    """That of a process that has not started its background tasks; nobody answers its Redis' queue."""
    state = AppState(Settings(redis_url=redis_url))
    # As if nothing had been heard for a minute.
    state.tail.heard_at -= 60
    yield state
    state.broker.close()
    await state.tail.aclose()
    await state.rate_limits.aclose()
    await state.redis.aclose()


async def sent(redis: RedisClient, state: AppState) -> int:
    """How many canaries stand on the queue, as Dramatiq counts."""
    count: int = state.broker.do_qsize("replies")
    return count


async def test_without_workers_canaries_do_not_pile_up_and_pass_for_people_who_wait(
    state: AppState, redis: RedisClient
) -> None:
    for _ in range(5):
        await state.watch_once()
    assert await sent(redis, state) == 1
    assert state.queued == 1


async def test_of_all_canaries_only_the_latest_are_kept(state: AppState, redis: RedisClient) -> None:
    stream = ConversationKeys(CANARY).events
    await redis.pipeline(*(("XADD", stream, "*", "e", "a canary") for _ in range(1000)))
    await state.watch_once()
    assert await redis.command("XLEN", stream) <= 2 * MAX_ENTRIES


async def test_with_a_worker_a_canary_is_sent_whenever_nothing_was_heard(state: AppState, redis: RedisClient) -> None:
    await Heartbeat(redis, f"{WORKER}:1:a").beat()
    for _ in range(3):
        await state.watch_once()
    assert await sent(redis, state) == 3


async def test_after_redis_was_away_those_who_could_not_be_heard_are_not_called_dead_at_once(
    state: AppState, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await state.watch_once()
    assert state.status == NO_WORKER

    async def away() -> list[str]:
        raise StorageUnavailableError("Redis cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(state.heartbeat, "beat", away)
        await state.watch_once()
        assert state.status == STORAGE_AWAY
    await state.watch_once()
    assert state.status == OK
