"""A minute of the storm as a test; `make chaos` blows longer."""

from collections import Counter

from tests.chaos.plan import kinds_of, make_plan
from tests.chaos.report import table
from tests.chaos.run import Setup, run

SEED = 6
#: Fewer people and shorter replies than in a long run, so that all is answered soon after the minute.
A_MINUTE = Setup(seed=SEED, seconds=60, conversations=60, per_minute=40, tokens=25, think=2)


def test_the_same_seed_is_the_same_storm() -> None:
    assert make_plan(SEED, 60, 40) == make_plan(SEED, 60, 40)
    assert make_plan(SEED, 60, 40) != make_plan(SEED + 1, 60, 40)


def test_a_storm_of_a_minute_has_every_kind_of_fault_and_one_of_twenty_minutes_five_hundred() -> None:
    kinds = Counter(fault.kind for fault in make_plan(SEED, A_MINUTE.seconds, A_MINUTE.per_minute))
    assert kinds.keys() == kinds_of("single").keys()
    assert len(make_plan(SEED, 20 * 60, Setup.per_minute)) >= 500


async def test_after_a_minute_of_storm_every_promise_holds() -> None:
    outcome = await run(A_MINUTE)
    print(table(outcome))
    assert outcome.right, table(outcome)
    assert outcome.done.total() >= 30
