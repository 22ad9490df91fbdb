"""What a web process watches."""

from collections.abc import AsyncIterator

import pytest

from api.state import NO_WORKER, OK, OVERDUE, STORAGE_AWAY, AppState
from tasks.broker import QUEUE_KEY
from tasks.errors import StorageUnavailable
from tasks.monitoring.canary import CANARY, KEPT
from tasks.monitoring.heartbeat import WORKER, Heartbeat
from tasks.settings import Settings
from tasks.storage.client import RedisClient
from tasks.storage.keys import CANARY_LOCK, ConversationKeys


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[AppState]:
    """Those of a process that has not started its background tasks; nobody answers its Redis' queue."""
    state = AppState(Settings(redis_url=redis_url))
    yield state
    await state.tail.aclose()
    await state.limits.aclose()
    await state.redis.aclose()


async def look(state: AppState, redis: RedisClient, times: int) -> int:
    """Look as often, as if time had passed since the last canary; returns what is queued then."""
    for _ in range(times):
        await redis.command("DEL", CANARY_LOCK)
        await state._inspect()
    queued: int = await redis.command("LLEN", QUEUE_KEY)
    return queued


async def test_without_workers_canaries_do_not_pile_up_and_pass_for_people_who_wait(
    state: AppState, redis: RedisClient
) -> None:
    assert await look(state, redis, 5) == 1
    assert state.queued == 1


async def test_of_all_canaries_only_the_latest_are_kept(state: AppState, redis: RedisClient) -> None:
    stream = ConversationKeys(CANARY).events
    await redis.together(*(("XADD", stream, "*", "e", "a canary") for _ in range(1000)))
    await look(state, redis, 1)
    assert await redis.command("XLEN", stream) <= 2 * KEPT


async def test_with_a_worker_each_look_sends_a_canary_whatever_is_queued(state: AppState, redis: RedisClient) -> None:
    await Heartbeat(redis, f"{WORKER}:1:a").beat()
    assert await look(state, redis, 3) == 3


async def test_after_redis_was_away_those_who_could_not_be_heard_are_not_called_dead_at_once(
    state: AppState, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await state._watch_once()
    assert state.status == NO_WORKER

    async def away() -> None:
        raise StorageUnavailable("Redis cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(state, "_look", away)
        await state._watch_once()
        assert state.status == STORAGE_AWAY
    await state._watch_once()
    assert state.status == OK
    state._excused_until -= OVERDUE
    await state._watch_once()
    assert state.status == NO_WORKER
