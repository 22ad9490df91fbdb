"""Refusing is cheap: a flood does not stand in line before others at the connection that counts."""

from typing import Any

import pytest

from api.access.rate_limits import RateLimits
from tasks.errors import FrameRejectedError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.settings import Settings
from tests.support.servers import connect_to_each


def commands(server: Any) -> int:
    """How many commands all nodes of Redis have carried out."""
    with connect_to_each(server) as clients:
        return sum(int(client.info("stats")["total_commands_processed"]) for client in clients)


async def test_who_was_refused_is_refused_again_without_asking_redis_and_others_are_not(
    real_redis: EmbeddedRedis,
) -> None:
    limits = RateLimits(Settings(redis_url=real_redis.url, limit_messages_per_minute=1, limit_messages_per_address=0))
    try:
        await limits.message("flood", "192.0.2.1", queued=0)
        with pytest.raises(FrameRejectedError):
            await limits.message("flood", "192.0.2.1", queued=0)
        before = commands(real_redis)
        for _ in range(500):
            with pytest.raises(FrameRejectedError) as rejected:
                await limits.message("flood", "192.0.2.1", queued=0)
            assert rejected.value.retry_in
        assert commands(real_redis) - before < 100
        await limits.message("somebody else", "192.0.2.1", queued=0)
    finally:
        await limits.aclose()
