"""The circuit breaker: an outage is noticed, probed by one, and over for all at once."""

import asyncio

import pytest

from tasks.model.circuit_breaker import FAILURES_TO_OPEN, Attempt, CircuitBreaker
from tasks.model.errors import ModelRequestError

DOWN = ModelRequestError("model_refused", "Nothing answers.", "Nothing answers.", reason="retrying")


class Clock:
    """Time that passes only when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def entered(breaker: CircuitBreaker) -> Attempt:
    attempt = breaker.enter()
    assert attempt is not None
    return attempt


def opened(clock: Clock, trouble: ModelRequestError = DOWN) -> CircuitBreaker:
    breaker = CircuitBreaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        entered(breaker).failed(trouble)
    return breaker


def test_a_few_failures_stop_nobody() -> None:
    breaker = CircuitBreaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        entered(breaker).failed(DOWN)
    assert breaker.state == "closed"
    assert breaker.enter()


def test_a_success_in_between_forgets_the_failures() -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            entered(breaker).failed(DOWN)
        entered(breaker).succeeded()
    assert breaker.state == "closed"


def test_an_outage_lets_nobody_through_until_the_probe_is_due(clock: Clock) -> None:
    breaker = opened(clock)
    assert [breaker.enter() for _ in range(1000)] == [None] * 1000
    trouble, wait = breaker.outage()
    assert trouble is DOWN
    assert 0 < wait <= 1
    clock.now += wait
    assert breaker.enter()


def test_one_probes_and_the_others_wait(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 1
    attempts = [breaker.enter() for _ in range(1000)]
    assert len([attempt for attempt in attempts if attempt]) == 1
    assert breaker.state == "half-open"


def test_a_probe_that_succeeds_ends_the_outage(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 1
    entered(breaker).succeeded()
    assert breaker.state == "closed"
    assert breaker.enter()


def test_probes_that_fail_come_less_and_less_often(clock: Clock) -> None:
    breaker = opened(clock)
    waits = []
    for _ in range(8):
        _, wait = breaker.outage()
        clock.now += wait
        entered(breaker).failed(DOWN)
        waits.append(breaker.outage()[1])
    assert 1 <= waits[0] <= 2
    assert all(7.5 <= wait <= 15 for wait in waits[4:])


def test_the_servers_own_wish_decides_when_to_probe(clock: Clock) -> None:
    breaker = opened(
        clock, ModelRequestError("model_loading", "Loading.", "Loading.", reason="model_loading", delay=12)
    )
    assert breaker.outage()[1] == 12
    clock.now += 11
    assert breaker.enter() is None
    clock.now += 1
    assert breaker.enter()


def test_a_probe_that_is_given_up_leaves_its_turn_to_the_next(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 1
    probe = entered(breaker)
    assert breaker.enter() is None
    probe.release()
    assert breaker.enter()


def test_who_asked_before_the_outage_can_end_it_but_not_prolong_it(clock: Clock) -> None:
    breaker = CircuitBreaker(clock)
    early = [entered(breaker) for _ in range(2)]
    for _ in range(FAILURES_TO_OPEN):
        entered(breaker).failed(DOWN)
    due = breaker.outage()[1]
    early[0].failed(ModelRequestError("model_loading", "", "", reason="model_loading", delay=1000))
    assert breaker.outage()[1] == due
    early[1].succeeded()
    assert breaker.state == "closed"


def test_an_attempt_speaks_once() -> None:
    breaker = CircuitBreaker()
    attempt = entered(breaker)
    attempt.succeeded()
    for _ in range(FAILURES_TO_OPEN):
        attempt.failed(DOWN)
    attempt.release()
    assert breaker.state == "closed"


async def test_who_waits_is_woken_by_every_change(clock: Clock) -> None:
    breaker = opened(clock)
    waiting = [asyncio.create_task(breaker.changed(60)) for _ in range(3)]
    await asyncio.sleep(0)
    clock.now += 1
    entered(breaker).succeeded()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)


async def test_who_waits_is_woken_when_the_time_is_over() -> None:
    async with asyncio.timeout(10):
        await opened(Clock()).changed(0.01)
