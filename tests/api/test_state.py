"""What a web process watches."""

from collections.abc import AsyncIterator

import pytest

from api.state import NO_WORKER, OK, OVERDUE, STORAGE_AWAY, Services
from tasks.broker import QUEUE_KEY
from tasks.errors import StorageAway
from tasks.monitoring.canary import CANARY, KEPT
from tasks.monitoring.heartbeat import WORKER, Presence
from tasks.settings import Settings
from tasks.storage.client import RedisClient
from tasks.storage.keys import CANARY_LOCK, ConversationKeys


@pytest.fixture
async def services(redis_url: str) -> AsyncIterator[Services]:
    """Those of a process that has not started its background tasks; nobody answers its Redis' queue."""
    services = Services(Settings(redis_url=redis_url))
    yield services
    await services.tail.aclose()
    await services.limits.aclose()
    await services.redis.aclose()


async def look(services: Services, redis: RedisClient, times: int) -> int:
    """Look as often, as if time had passed since the last canary; returns what is queued then."""
    for _ in range(times):
        await redis.command("DEL", CANARY_LOCK)
        await services._look()
    queued: int = await redis.command("LLEN", QUEUE_KEY)
    return queued


async def test_without_workers_canaries_do_not_pile_up_and_pass_for_people_who_wait(
    services: Services, redis: RedisClient
) -> None:
    assert await look(services, redis, 5) == 1
    assert services.queued == 1


async def test_of_all_canaries_only_the_latest_are_kept(services: Services, redis: RedisClient) -> None:
    stream = ConversationKeys(CANARY).events
    await redis.together(*(("XADD", stream, "*", "e", "a canary") for _ in range(1000)))
    await look(services, redis, 1)
    assert await redis.command("XLEN", stream) <= 2 * KEPT


async def test_with_a_worker_each_look_sends_a_canary_whatever_is_queued(
    services: Services, redis: RedisClient
) -> None:
    await Presence(redis, f"{WORKER}:1:a").beat()
    assert await look(services, redis, 3) == 3


async def test_after_redis_was_away_those_who_could_not_be_heard_are_not_called_dead_at_once(
    services: Services, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services._watch_once()
    assert services.state == NO_WORKER

    async def away() -> None:
        raise StorageAway("Redis cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(services, "_look", away)
        await services._watch_once()
        assert services.state == STORAGE_AWAY
    await services._watch_once()
    assert services.state == OK
    services._excused_until -= OVERDUE
    await services._watch_once()
    assert services.state == NO_WORKER
