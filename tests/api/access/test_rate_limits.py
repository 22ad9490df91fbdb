"""Limits are counted for each name on its own, and 0 is none."""

from collections.abc import AsyncIterator, Callable

import pytest

from api.access.rate_limits import RateLimits
from tasks.errors import FrameRejectedError
from tasks.settings import Settings
from tasks.storage.client import RedisClient

#: Makes limits with everything off that is not named.
Making = Callable[..., RateLimits]


@pytest.fixture
async def limits(redis: RedisClient, redis_url: str) -> AsyncIterator[Making]:
    """Limits that count in an empty Redis."""
    off = {name: 0 for name in Settings.model_fields if name.startswith("limit_")}
    made: list[RateLimits] = []

    def make(**settings: int) -> RateLimits:
        made.append(RateLimits(Settings(redis_url=redis_url, **(off | settings))))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for some in made:
        await some.aclose()


async def test_messages_are_counted_by_session(limits: Making) -> None:
    some = limits(limit_messages_per_minute=2)
    for _ in range(2):
        await some.message("c1", "a", queued=0)
    with pytest.raises(FrameRejectedError) as rejected:
        await some.message("c1", "a", queued=0, id="m")
    assert (rejected.value.code, rejected.value.id) == ("rate_limited", "m")
    assert rejected.value.retry_in
    assert 0 < rejected.value.retry_in <= 60
    await some.message("c2", "a", queued=0)


async def test_messages_are_counted_by_address(limits: Making) -> None:
    some = limits(limit_messages_per_address=1)
    await some.message("c1", "a", queued=0)
    with pytest.raises(FrameRejectedError):
        await some.message("c2", "a", queued=0)
    await some.message("c3", "b", queued=0)


async def test_when_too_many_wait_nobody_else_may(limits: Making) -> None:
    some = limits(limit_waiting=3)
    await some.message("c1", "a", queued=2)
    with pytest.raises(FrameRejectedError, match="many people") as rejected:
        await some.message("c1", "a", queued=3)
    assert rejected.value.retry_in


async def test_sessions_are_counted_by_address(limits: Making) -> None:
    some = limits(limit_sessions_per_hour=1)
    assert await some.session("a") == 0
    assert 0 < await some.session("a") <= 3600
    assert await some.session("b") == 0


async def test_zero_is_no_limit(limits: Making) -> None:
    none = limits()
    for _ in range(50):
        await none.message("c", "a", queued=10**6)
        assert await none.session("a") == 0
