"""A burst may happen at once, then a steady rate; names do not disturb one another."""

import pytest

from api.access import throttle
from api.access.throttle import Throttle, per_minute


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def used(allowance: Throttle, tries: int, name: str = "") -> int:
    """How many of so many tries are allowed."""
    return sum(allowance.take(name) == 0 for _ in range(tries))


def test_a_burst_is_allowed_and_what_comes_after_it_has_to_wait(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    assert used(allowance, 20) == 5
    assert allowance.take() == pytest.approx(0.5)


def test_after_a_burst_the_steady_rate_is_allowed_for_ever(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    used(allowance, 5)
    for _ in range(50):
        clock.now += 0.5
        assert used(allowance, 5) == 1


def test_who_was_quiet_has_the_burst_again_and_not_more(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    used(allowance, 5)
    clock.now += 3600
    assert used(allowance, 20) == 5


def test_what_was_refused_costs_nothing(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    used(allowance, 1000)
    clock.now += 0.5
    assert used(allowance, 1) == 1


def test_each_name_has_an_allowance_of_its_own(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    assert used(allowance, 20, "one") == 5
    assert used(allowance, 20, "another") == 5


def test_what_cost_more_than_it_was_counted_for_is_charged_afterwards(clock: Clock) -> None:
    allowance = Throttle(rate=2, burst=5, clock=clock)
    allowance.take("one")
    allowance.charge("one", 24)
    clock.now += 9.9
    assert used(allowance, 1, "one") == 0
    clock.now += 0.6
    assert used(allowance, 1, "one") == 1
    assert used(allowance, 1, "another") == 1


def test_names_that_are_quiet_again_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_NAMES", 10)
    allowance = Throttle(rate=2, burst=5, clock=clock)
    for number in range(1000):
        allowance.take(str(number))
        clock.now += 1
    assert len(allowance) <= 10


def test_zero_a_minute_is_no_limit() -> None:
    none = per_minute(0)
    assert used(none, 10_000) == 10_000
    none.charge("", 10**9)
    assert used(none, 10) == 10
