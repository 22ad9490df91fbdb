"""Which processes are alive: seen by each from the beats, by its own clock."""

import pytest

from tasks.monitoring import heartbeat as heartbeat
from tasks.monitoring.heartbeat import INTERVAL, TIMEOUT, Heartbeat
from tasks.storage.client import RedisClient
from tasks.storage.keys import ALIVE


class Clock:
    """Both clocks of a process, turned by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def time(self) -> float:
        return self.seconds

    monotonic = time

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as the module under test sees it."""
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


async def test_who_beats_is_alive_for_everybody(redis: RedisClient, clock: Clock) -> None:
    web, worker = Heartbeat(redis, "web:1:a"), Heartbeat(redis, "worker:2:b")
    for _ in range(5):
        assert await worker.beat() == []
        assert await web.beat() == []
        clock.turn(INTERVAL)
    assert (web.workers(), worker.workers()) == (1, 1)
    assert web.alive() == {"web:1:a", "worker:2:b"}


async def test_who_stops_beating_is_dead_after_a_while_and_removed_by_whoever_sees_it(
    redis: RedisClient, clock: Clock
) -> None:
    web, other, worker = (Heartbeat(redis, name) for name in ("web:1:a", "web:2:b", "worker:3:c"))
    await worker.beat()
    dead: list[list[str]] = []
    for _ in range(int(TIMEOUT / INTERVAL) + 3):
        dead = [await web.beat(), await other.beat()]
        clock.turn(INTERVAL)
    assert dead == [["worker:3:c"], ["worker:3:c"]]
    assert web.workers() == 0
    for each in (web, other):
        await each.remove_dead("worker:3:c")
    assert await web.beat() == []


async def test_what_a_dead_process_left_behind_does_not_count_for_one_that_starts(
    redis: RedisClient, clock: Clock
) -> None:
    await Heartbeat(redis, "worker:1:old").beat()
    clock.turn(3600)
    web = Heartbeat(redis, "web:2:new")
    await web.beat()
    assert web.workers() == 0


async def test_a_process_with_a_wrong_clock_counts_once_its_beat_was_seen_to_change(
    redis: RedisClient, clock: Clock
) -> None:
    web = Heartbeat(redis, "web:1:a")
    for number in range(3):
        await redis.command("ZADD", ALIVE, 1000 + number, "worker:2:slow")
        await web.beat()
        assert web.workers() == (1 if number else 0)
        clock.turn(INTERVAL)


async def test_who_leaves_is_gone_at_once(redis: RedisClient, clock: Clock) -> None:
    web, worker = Heartbeat(redis, "web:1:a"), Heartbeat(redis, "worker:2:b")
    await worker.beat()
    await worker.leave()
    await web.beat()
    assert web.workers() == 0
