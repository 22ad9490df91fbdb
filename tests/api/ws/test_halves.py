"""How fast one socket is read, and all of an address."""

import asyncio
from types import SimpleNamespace

import pytest

from api.ws import halves
from api.ws.halves import BURST, BURST_FACTOR, RATE, AddressThrottles, Throttle


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(halves, "asyncio", SimpleNamespace(get_running_loop=lambda: clock, sleep=clock.sleep))
    return clock


def read(pace: Throttle, frames: int) -> None:
    async def keep() -> None:
        for _ in range(frames):
            await pace.keep()

    asyncio.run(keep())


def test_what_people_send_is_read_at_once(clock: Clock) -> None:
    read(Throttle(), BURST)
    assert clock.now == pytest.approx(1000)


def test_a_flood_is_read_at_a_steady_pace(clock: Clock) -> None:
    read(Throttle(), BURST + 50)
    assert clock.now == pytest.approx(1000 + 50 / RATE)


def test_who_was_quiet_for_a_while_is_read_at_once_again(clock: Clock) -> None:
    pace = Throttle()
    read(pace, BURST + 50)
    quiet = clock.now = clock.now + BURST / RATE
    read(pace, BURST)
    assert clock.now == pytest.approx(quiet)


def test_quiet_is_not_saved_up(clock: Clock) -> None:
    pace = Throttle()
    clock.now += 3600
    later = clock.now
    read(pace, BURST + 10)
    assert clock.now == pytest.approx(later + 10 / RATE)


def test_all_sockets_of_an_address_are_read_at_one_pace_and_those_of_others_are_not(clock: Clock) -> None:
    throttles = AddressThrottles(a_minute=120)
    first, second, other = throttles.of("a"), throttles.of("a"), throttles.of("b")
    for pace in (first, second):
        read(pace, BURST // 2)
    assert clock.now == pytest.approx(1000)
    for pace in (first, second):
        read(pace, 20)
    assert clock.now == pytest.approx(later := 1000 + 40 / (BURST_FACTOR * 120 / 60))
    read(other, BURST)
    assert clock.now == pytest.approx(later)


def test_an_address_without_a_limit_is_read_as_fast_as_it_sends(clock: Clock) -> None:
    read(AddressThrottles(a_minute=0).of("a"), 10_000)
    assert clock.now == pytest.approx(1000)
