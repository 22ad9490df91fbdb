"""Refusing is cheap: a flood does not stand in line before others at the connection that counts."""

import pytest
import redis

from api.access.rate_limits import RateLimits
from tasks.errors import FrameRejectedError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.settings import Settings


def commands(url: str) -> int:
    """How many commands Redis has carried out."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("stats")["total_commands_processed"])


async def test_who_was_refused_is_refused_again_without_asking_redis_and_others_are_not(
    single_redis: EmbeddedRedis,
) -> None:
    limits = RateLimits(Settings(redis_url=single_redis.url, limit_messages_per_minute=1, limit_messages_per_address=0))
    try:
        await limits.message("flood", "192.0.2.1", queued=0)
        with pytest.raises(FrameRejectedError):
            await limits.message("flood", "192.0.2.1", queued=0)
        before = commands(single_redis.url)
        for _ in range(500):
            with pytest.raises(FrameRejectedError) as rejected:
                await limits.message("flood", "192.0.2.1", queued=0)
            assert rejected.value.retry_in
        assert commands(single_redis.url) - before < 100
        await limits.message("somebody else", "192.0.2.1", queued=0)
    finally:
        await limits.aclose()
