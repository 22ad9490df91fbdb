"""The simulation against what can be counted by hand, the fit against costs that are known, and the document."""

import pytest

from tests.scaling import __main__ as command
from tests.scaling import loads
from tests.scaling.costs import KINDS, Costs, Measured, check, fit
from tests.scaling.plots import Axis, plot
from tests.scaling.simulation import Load, flush_rate, flushes, simulate
from tests.scaling.sizes import REPLIES_PER_CARD, Parameters, size


def test_who_finds_a_place_does_not_wait() -> None:
    outcome = simulate(Load(people=10, tokens=20, rate=20, places=10))
    assert outcome.waits == [0] * 30
    assert outcome.most == 10


def test_with_one_place_each_waits_for_all_before_them() -> None:
    outcome = simulate(Load(people=5, tokens=20, rate=20, places=1, messages=1, spread=1e-9))
    assert outcome.waits == pytest.approx([0, 1, 2, 3, 4])
    assert outcome.seconds == pytest.approx(5)


def test_never_more_replies_at_once_than_places() -> None:
    assert simulate(Load(people=50, tokens=20, rate=20, places=7)).most == 7


def test_replies_at_once_are_those_a_second_times_how_long_one_takes() -> None:
    load = Load(people=2000, tokens=100, rate=20, places=9999, messages=6, thinking=60, spread=None)
    begin, end = 10, 100
    started = sum(begin <= start < end for start in simulate(load).starts)
    assert started / (end - begin) * load.seconds == pytest.approx(2000 * 5 / 35, rel=0.05)


def test_tokens_that_come_within_a_frame_are_sent_together_and_a_first_one_at_once() -> None:
    together = Load(people=4, tokens=10, rate=20, places=4, messages=1, spread=1e-9)
    assert flushes(together, simulate(together)) == pytest.approx(4 + 9), "their first ones each, and then all of them"
    slow = Load(people=1, tokens=10, rate=1, places=1, messages=1)
    assert flushes(slow, simulate(slow)) == 10


def test_a_worker_sends_each_token_alone_if_few_come_and_once_a_frame_if_many_come() -> None:
    assert flush_rate(1) == pytest.approx(1, rel=0.02)
    assert flush_rate(1e6) == pytest.approx(1 / 0.016, rel=0.01)


def test_the_fit_finds_the_costs_that_loads_were_made_with() -> None:
    known = Costs(token=60e-6, flush=400e-6, reply=3e-3, idle=0.01)
    made = []
    for load in loads.FITTED.values():
        outcome = simulate(load)
        cpu = dict.fromkeys(KINDS, known.of(load, outcome))
        made.append((load, outcome, Measured(cpu=cpu, seconds=outcome.seconds, first=0.01)))
    found = fit(made, "web", idle=0.01)
    for name in ("token", "flush", "reply"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=0.01)


def test_a_check_says_how_far_the_simulation_is_apart() -> None:
    load, costs = loads.CHECKED["70 people"], dict.fromkeys(KINDS, Costs(50e-6, 0, 0, 0))
    cpu = dict.fromkeys(KINDS, 70 * 3 * 100 * 100e-6)
    assert check("", load, Measured(cpu, 20, 0.01), costs, 0.01).cpu_error == pytest.approx(0.5)


@pytest.fixture(scope="module")
def known() -> Parameters:
    return command.parameters(command.read(command.MEASURED))


def test_the_simulation_says_what_was_measured(known: Parameters) -> None:
    found = command.checks(command.read(command.MEASURED), known)
    assert len(found) >= 3
    assert sum(one.waited for one in found) >= 3
    for one in found:
        assert one.cpu_error <= 0.15, one
        assert one.wait_error <= 0.25 or not one.waited, one


def test_more_people_need_more_of_everything(known: Parameters) -> None:
    few, many = size(1_000, known), size(10_000, known)
    for name in ("web", "worker", "primaries", "connections", "network", "cards"):
        assert getattr(few, name) < getattr(many, name), name
    assert set(few.broken) <= set(many.broken)
    assert (many.cards - 1) * REPLIES_PER_CARD < many.replies


def test_what_the_document_says_is_what_the_measurements_say(known: Parameters) -> None:
    document = (command.DOCS / "scaling.md").read_text()
    tables = command.all_tables(command.read(command.MEASURED), known)
    assert command.filled(document, tables) == document, "make plan"
    assert (command.DOCS / "cores.svg").read_text().startswith("<svg")


def test_the_names_of_lines_that_end_together_do_not_lie_on_each_other() -> None:
    axis = Axis("", (0, 10))
    image = plot("", axis, axis, {"one": [(0, 0), (10, 5)], "two": [(0, 1), (10, 5.1)]})
    heights = [
        float(line.split('y="')[1].split('"')[0]) for line in image.splitlines() if ">one<" in line or ">two<" in line
    ]
    assert abs(heights[0] - heights[1]) >= 13
