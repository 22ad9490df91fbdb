"""What a reply costs to begin does not grow with its conversation."""

from tasks.local.embedded_redis import EmbeddedRedis
from tasks.storage.client import RedisClient
from tests.support.steps import Steps

#: Messages of a conversation that fills what a turn reads, and of one that is far longer.
SHORT, LONG = 100, 10_000


async def cost(redis: RedisClient, messages: int) -> dict[str, int]:
    """What one turn takes to be read in a conversation of so many messages: commands, and bytes that Redis sends."""
    async with Steps(redis) as steps:
        await steps.grow(messages)
        await steps.say("asked")
        lease = steps.lease()
        await redis.command("CONFIG", "RESETSTAT")
        assert await lease.next_turn()
        stats = (await redis.command("INFO", "stats")).decode()
        found = dict(line.split(":") for line in stats.split("\r\n") if ":" in line)
    return {name: int(found[name]) for name in ("total_commands_processed", "total_net_output_bytes")}


async def test_reading_the_history_costs_the_same_in_a_short_and_in_a_long_conversation(
    real_redis: EmbeddedRedis,
) -> None:
    redis = RedisClient(real_redis.url, max_connections=4)
    await redis.command("FLUSHALL")
    short, long = await cost(redis, SHORT), await cost(redis, LONG)
    await redis.aclose()
    assert long["total_commands_processed"] == short["total_commands_processed"]
    # The same messages but for the digits of their numbers.
    assert long["total_net_output_bytes"] <= short["total_net_output_bytes"] * 1.2
