"""A minute of the storm as a test; `make chaos` blows longer."""

from tests.chaos.plan import KINDS, make_plan
from tests.chaos.report import table
from tests.chaos.run import Setup, run

SEED = 4


def test_the_same_seed_is_the_same_storm() -> None:
    assert make_plan(SEED, 60, 30) == make_plan(SEED, 60, 30)
    assert make_plan(SEED, 60, 30) != make_plan(SEED + 1, 60, 30)


def test_a_long_storm_has_every_kind_of_fault() -> None:
    assert {fault.kind for fault in make_plan(SEED, 20 * 60, 30)} == KINDS.keys()


async def test_after_a_minute_of_storm_every_promise_holds() -> None:
    outcome = await run(Setup(seed=SEED, seconds=60, conversations=60))
    print(table(outcome))
    assert outcome.good, table(outcome)
    assert outcome.done.total() >= 25
