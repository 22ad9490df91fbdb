"""What tokens, scripts and replies cost each kind of process: found from measured loads, and checked on others.

Of every load the bench measures the CPU time of `web`, `worker` and `redis`. The simulation says what they did in it.
So each cost is a factor in a sum, and the factors are those that fit best and are not negative.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.scaling.simulation import Load, Outcome, flushes, simulate

KINDS = ("web", "worker", "redis")
#: Seconds of waiting that are no more than a busy machine's unrest.
MIN_WAIT = 0.1
#: Rounds of the fit; the factors do not change any more long before.
ROUNDS = 20_000


@dataclass(frozen=True)
class Measured:
    """What was measured of a load.

    `cpu`: CPU seconds of each kind of process; `seconds`: from the first message to the last token; `first`: seconds
    from a message to the first token of its reply, below which 95 % of them are.
    """

    cpu: Mapping[str, float]
    seconds: float
    first: float


@dataclass(frozen=True)
class Costs:
    """CPU seconds of one kind of process: for a token, for a flush of a worker, for a reply, and for a second idle."""

    token: float
    flush: float
    reply: float
    idle: float

    def of(self, load: Load, outcome: Outcome) -> float:
        """CPU seconds that a load takes."""
        doings = (*_doings(load, outcome), outcome.seconds)
        factors = (self.token, self.flush, self.reply, self.idle)
        return sum(factor * doing for factor, doing in zip(factors, doings, strict=True))


def fit(loads: Iterable[tuple[Load, Outcome, Measured]], kind: str, idle: float) -> Costs:
    """The costs that come nearest to what was measured.

    Args:
        loads: each with what the simulation and the bench say of it.
        kind: of process.
        idle: CPU seconds a second of a process that does nothing.
    """
    rows: list[list[float]] = []
    for load, outcome, measured in loads:
        cpu = measured.cpu[kind] - idle * measured.seconds
        # Each load counts the same: it is the relative error that is made small.
        rows.append([doing / cpu for doing in _doings(load, outcome)])
    token, flush, reply = non_negative(rows)
    return Costs(token, flush, reply, idle)


def _doings(load: Load, outcome: Outcome) -> tuple[float, float, float]:
    replies = load.people * load.messages
    return replies * load.tokens, flushes(load, outcome), replies


def non_negative(rows: Sequence[Sequence[float]]) -> list[float]:
    """The factors, none below zero, whose sums come nearest to 1 in each row: coordinate descent on the squares."""
    factors = [0.0] * len(rows[0])
    rests = [1.0] * len(rows)
    for _ in range(ROUNDS):
        for place in range(len(factors)):
            column = [row[place] for row in rows]
            step = sum(value * rest for value, rest in zip(column, rests, strict=True)) / sum(v * v for v in column)
            step = max(step, -factors[place])
            factors[place] += step
            rests = [rest - value * step for value, rest in zip(column, rests, strict=True)]
    return factors


@dataclass(frozen=True)
class Check:
    """A load that nothing was fitted to: CPU milliseconds for 1,000 tokens and seconds of waiting, said and seen."""

    name: str
    cpu: tuple[float, float]
    wait: tuple[float, float]

    @property
    def cpu_error(self) -> float:
        """Relative error of the CPU time."""
        return abs(self.cpu[0] / self.cpu[1] - 1)

    @property
    def waited(self) -> bool:
        """Whether messages waited long enough to compare."""
        return self.wait[1] > MIN_WAIT

    @property
    def wait_error(self) -> float:
        """Relative error of the wait."""
        return abs(self.wait[0] / self.wait[1] - 1)


def check(name: str, load: Load, measured: Measured, costs: Mapping[str, Costs], overhead: float) -> Check:
    """Compare what the simulation says of a load with what was measured.

    Args:
        name: of the load.
        load: the people.
        measured: what the bench found.
        costs: by kind of process.
        overhead: seconds from a free place to the first token.
    """
    outcome = simulate(load, overhead=overhead)
    tokens = load.people * load.messages * load.tokens / 1e6
    waits = sorted(outcome.waits)
    said = sum(costs[kind].of(load, outcome) for kind in KINDS)
    return Check(
        name,
        (said / tokens, sum(measured.cpu.values()) / tokens),
        (waits[int(len(waits) * 0.95)], measured.first - overhead),
    )
