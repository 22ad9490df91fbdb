"""What is counted, in every process: totals travel to Redis with each beat, and any web process can show them all."""

import bisect
from collections import defaultdict
from typing import Any

from tasks.storage.client import RedisClient
from tasks.storage.keys import METRICS
from tasks.storage.redis_line import Command

#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

#: Every counter, with its label if it has one.
COUNTERS = {
    "messages_accepted": "",
    "messages_refused": "code",
    "replies": "outcome",
    "retries": "",
    "tokens": "",
    "takeovers": "",
    "revived": "",
    "model_waits": "reason",
    "model_errors": "code",
}
#: Every histogram of seconds.
HISTOGRAMS = ("queue_seconds", "first_token_seconds")


class Metrics:
    """One process's counts since they were last sent."""

    def __init__(self) -> None:
        self._unsent: dict[str, float] = defaultdict(float)

    def count(self, name: str, label: str = "", by: float = 1) -> None:
        """Add to a counter of COUNTERS."""
        self._unsent[f"{name}:{label}"] += by

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration to a histogram of HISTOGRAMS."""
        bucket = bisect.bisect_left(BUCKETS, seconds)
        self._unsent[f"{name}:{BUCKETS[bucket] if bucket < len(BUCKETS) else '+Inf'}"] += 1
        self._unsent[f"{name}:sum"] += seconds

    async def send(self, redis: RedisClient) -> None:
        """Add what is unsent to everybody's totals; after an error it is sent the next time. Raises StorageError."""
        if not self._unsent:
            return
        sending, self._unsent = self._unsent, defaultdict(float)
        commands: list[Command] = [("HINCRBYFLOAT", METRICS, name, by) for name, by in sending.items()]
        try:
            await redis.together(*commands)
        except BaseException:
            for name, by in sending.items():
                self._unsent[name] += by
            raise


async def totals(redis: RedisClient) -> dict[str, float]:
    """Everybody's totals: `name:label` to value. Raises StorageError."""
    flat: list[Any] = await redis.command("HGETALL", METRICS)
    return {flat[i].decode(): float(flat[i + 1]) for i in range(0, len(flat), 2)}
