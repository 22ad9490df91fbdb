"""Both relays and Parley under the same load, in turn: CPU, latency, the first token, and nothing lost."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.bench.load import Plan, Result
from tests.bench.report import Row, percentile
from tests.bench.systems import TOKENS, BestRelay, Ours, Relay, System, bench_stack

#: Messages that each person says in one run: several, so that replies end and begin while others are written, as in
#: any chat that goes on. A relay's first replies after its start, all new connections, are its cheapest.
MESSAGES = 3
#: One worker process has room for all of them, as the relay's process has.
ROOM = 512
#: Bars of the CPU ratios from 150 conversations on.
MAX_RELAY, MAX_BEST = 1.0, 1.5


@dataclass
class Total:
    """All runs of one system at one number of conversations."""

    tokens: int = 0
    lost: int = 0
    repeated: int = 0
    errors: list[str] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    latency: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add one run."""
        self.tokens += result.tokens
        self.lost += result.lost
        self.repeated += result.repeated
        self.errors += result.errors
        self.latency += result.latency
        self.first += result.first
        for kind, seconds in result.cpu.items():
            self.cpu[kind] = self.cpu.get(kind, 0.0) + seconds

    @property
    def cpu_per_1000(self) -> float:
        """CPU milliseconds of all processes per 1,000 tokens."""
        return sum(self.cpu.values()) / max(self.tokens, 1) * 1e6

    def shares(self) -> str:
        """The same by kind of process."""
        return ", ".join(f"{kind} {seconds / max(self.tokens, 1) * 1e6:.0f}" for kind, seconds in self.cpu.items())


class Totals(NamedTuple):
    """Those of each system."""

    relay: Total
    best: Total
    ours: Total


def measure(sizes: list[int], repeat: int) -> dict[int, Totals]:
    """Run each number of conversations `repeat` times on each system, in turn."""
    totals = {size: Totals(Total(), Total(), Total()) for size in sizes}
    with bench_stack(WORKER_CONCURRENCY=str(ROOM)) as stack:
        for _ in range(repeat):
            for which, system in enumerate((Relay, BestRelay, Ours)):
                with system(stack) as running:
                    warm_up(running)
                    for size in sizes:
                        totals[size][which].add(talk(running, size))
    return totals


def warm_up(system: System) -> None:
    """The first replies of a process cost more than all that follow."""
    system.load(Plan("", conversations=10, spread=0.1))


def talk(system: System, size: int) -> Result:
    """One run at one number of conversations."""
    return system.load(Plan("", conversations=size, messages=MESSAGES, tokens=TOKENS))


def rows(totals: dict[int, Totals]) -> list[Row]:
    """What the runs say."""
    return [
        row
        for size, each in totals.items()
        for row in (*_cpu(size, each), *_latency(size, each), *_first(size, each), *_whole(size, each.relay, each.ours))
    ]


def _cpu(size: int, totals: Totals) -> list[Row]:
    found = []
    for name, other, bar in (("relay", totals.relay, MAX_RELAY), ("best relay", totals.best, MAX_BEST)):
        note = f"{totals.ours.cpu_per_1000:.0f} / {other.cpu_per_1000:.0f} ms a 1,000 tokens ({totals.ours.shares()})"
        ratio = totals.ours.cpu_per_1000 / other.cpu_per_1000
        found.append(Row(f"CPU, {size} conversations, ours / {name}", ratio, bar if size >= 150 else None, note=note))
    return found


def _latency(size: int, totals: Totals) -> list[Row]:
    return [
        Row(
            f"token latency, {size} conversations, p{share * 100:.0f}",
            percentile(totals.ours.latency, share) * 1e3,
            bar,
            percentile(totals.relay.latency, share) * 1e3,
            "ms",
        )
        for share, bar in ((0.5, 16.0), (0.99, 40.0))
    ]


def _first(size: int, totals: Totals) -> list[Row]:
    bars = (5.0, 25.0) if size == 50 else (None, None)
    found = []
    for share, bar in zip((0.5, 0.99), bars, strict=True):
        theirs, mine = percentile(totals.best.first, share) * 1e3, percentile(totals.ours.first, share) * 1e3
        what = f"first token, {size} conversations, ours less best relay, p{share * 100:.0f}"
        found.append(Row(what, mine - theirs, bar, 0.0, "ms", note=f"{mine:.1f} less {theirs:.1f}"))
    return found


def _whole(size: int, relay: Total, ours: Total) -> list[Row]:
    return [
        Row(f"{what}, {size} conversations", mine, 0, theirs, note=note)
        for what, mine, theirs, note in (
            ("errors", len(ours.errors), len(relay.errors), "; ".join(sorted({*ours.errors, *relay.errors}))),
            ("lost tokens", ours.lost, relay.lost, ""),
            ("repeated tokens", ours.repeated, relay.repeated, ""),
        )
    ]


def on_a_cluster(sizes: tuple[int, ...] = (50, 150), repeat: int = 2) -> list[Row]:
    """What the same load costs on a Redis Cluster with replicas, their own work included, beside one Redis."""
    single, clustered = ({size: Total() for size in sizes} for _ in range(2))
    for _ in range(repeat):
        for kind, totals in (("single", single), ("cluster", clustered)):
            with bench_stack(kind, WORKER_CONCURRENCY=str(ROOM)) as stack, Ours(stack) as running:
                warm_up(running)
                for size in sizes:
                    totals[size].add(talk(running, size))
    found = []
    for size in sizes:
        one, many = single[size], clustered[size]
        note = f"{many.cpu_per_1000:.0f} ({many.shares()}) / {one.cpu_per_1000:.0f} ({one.shares()})"
        found.append(
            Row(
                f"CPU on a cluster, {size} conversations, / on one Redis",
                many.cpu_per_1000 / one.cpu_per_1000,
                1.5,
                note=note,
            )
        )
        for share in (0.5, 0.99):
            latency = percentile(many.latency, share) * 1e3
            other = percentile(one.latency, share) * 1e3
            found.append(Row(f"token latency on a cluster, {size}, p{share * 100:.0f}", latency, None, other, "ms"))
        found.append(
            Row(f"lost, repeated or failed on a cluster, {size}", many.lost + many.repeated + len(many.errors), 0)
        )
    return found
