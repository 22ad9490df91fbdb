"""What is counted in every process. Totals travel to Redis every few seconds, so any web process can show them all.

Names and units follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/); the exposition adds the
prefix `parley_` to all of them and `_total` to counters.
"""

import asyncio
import bisect
from collections import defaultdict
from dataclasses import dataclass

from tasks.storage import scripts
from tasks.storage.client import RedisClient
from tasks.storage.keys import METRICS, METRICS_BATCH

#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Seconds that Redis remembers the number of a process's last batch; longer than any outage that a batch waits for.
BATCH_TTL_SECONDS = 86_400


@dataclass(frozen=True)
class Counter:
    """A counter's help text, and its label if it has one."""

    help: str
    label: str = ""


COUNTERS = {
    "messages_accepted": Counter("Messages of people that were accepted."),
    "frames_rejected": Counter("Frames of clients that were rejected, by error code.", "code"),
    "replies": Counter("Replies that ended, by outcome.", "outcome"),
    "retries": Counter("Replies that people asked for again."),
    "tokens": Counter("Pieces of text that came from the model; nearly always one token each."),
    "takeovers": Counter("Replies that a worker went on with after another one."),
    "requeued": Counter("Conversations that were enqueued again because no worker answered them."),
    "crashes": Counter("Tries to answer a conversation that ended in an unexpected error."),
    "model_waits": Counter("Pauses of replies because of the model server, by reason.", "reason"),
    "model_errors": Counter("Replies that failed, by error code.", "code"),
}
#: Histograms with their help texts; all of them count seconds.
HISTOGRAMS = {
    "queue_wait_seconds": "Seconds from the request for a reply until a worker begins it.",
    "time_to_first_token_seconds": "Seconds from the request for a reply until its first token.",
}


class Metrics:
    """One process's counts since they were last added to the totals.

    Args:
        process: the process's name, unique among all that are alive.
    """

    def __init__(self, process: str) -> None:
        self._batch_key = METRICS_BATCH + process
        self._unsent: dict[str, float] = defaultdict(float)
        #: What was sent and may or may not have arrived; it is sent again under the same number.
        self._batch: dict[str, float] = {}
        self._number = 0
        self._sending = asyncio.Lock()

    def count(self, name: str, label: str = "", by: float = 1) -> None:
        """Add `by` to a counter of COUNTERS."""
        self._unsent[f"{name}:{label}"] += by

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration in `seconds` to a histogram of HISTOGRAMS."""
        bucket = bisect.bisect_left(BUCKETS, seconds)
        self._unsent[f"{name}:{BUCKETS[bucket] if bucket < len(BUCKETS) else '+Inf'}"] += 1
        self._unsent[f"{name}:sum"] += seconds

    async def send(self, redis: RedisClient) -> None:
        """Add what is unsent to the totals; after an error it is sent the next time. Raises StorageError."""
        async with self._sending:
            if self._batch:
                await self._send_batch(redis)
            if self._unsent:
                self._batch, self._unsent = self._unsent, defaultdict(float)
                self._number += 1
                await self._send_batch(redis)

    async def _send_batch(self, redis: RedisClient) -> None:
        counts = [part for item in self._batch.items() for part in item]
        await redis.script(scripts.ADD_METRICS, (METRICS, self._batch_key), (self._number, BATCH_TTL_SECONDS, *counts))
        self._batch = {}


async def totals(redis: RedisClient) -> dict[str, float]:
    """Everybody's totals, `name:label` to value. Raises StorageError."""
    found: dict[bytes, bytes] = await redis.command("HGETALL", METRICS)
    return {name.decode(): float(value) for name, value in found.items()}
