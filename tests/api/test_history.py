"""What opening a conversation and beginning a reply cost does not grow with the conversation."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasks.local.embedded_redis import EmbeddedRedis
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tests.support.steps import Steps

#: Messages of a conversation that fills what is read, and of one that is far longer.
SHORT, LONG = 200, 10_000


async def take_a_turn(steps: Steps) -> None:
    """A worker reads what was said."""
    assert await steps.lease().next_turn()


async def open_the_page(steps: Steps) -> None:
    """A socket reads its snapshot."""
    assert (await steps.look()).page.messages


async def scroll_up(steps: Steps) -> None:
    """A socket reads what comes before the snapshot."""
    before = (await steps.look()).page.messages[0]["id"]
    assert await conversations.history(steps.redis, steps.id, before)


async def cost(redis: RedisClient, messages: int, read: Callable[[Steps], Awaitable[None]]) -> dict[str, int]:
    """What a read takes in a conversation of so many messages: commands, and bytes that Redis sends."""
    async with Steps(redis) as steps:
        await steps.grow(messages)
        await steps.say("asked")
        await redis.command("CONFIG", "RESETSTAT")
        await read(steps)
        stats: dict[str, Any] = await redis.command("INFO", "stats")
    return {name: int(stats[name]) for name in ("total_commands_processed", "total_net_output_bytes")}


@pytest.mark.parametrize("read", [take_a_turn, open_the_page, scroll_up])
async def test_it_costs_the_same_in_a_short_and_in_a_long_conversation(
    real_redis: EmbeddedRedis, read: Callable[[Steps], Awaitable[None]]
) -> None:
    redis = RedisClient(real_redis.url, max_connections=4)
    await redis.command("FLUSHALL")
    # Redis learns a script with its first use.
    await cost(redis, SHORT, read)
    short, long = await cost(redis, SHORT, read), await cost(redis, LONG, read)
    await redis.aclose()
    assert long["total_commands_processed"] == short["total_commands_processed"]
    # The same messages but for the digits of their numbers.
    assert long["total_net_output_bytes"] <= short["total_net_output_bytes"] * 1.2
