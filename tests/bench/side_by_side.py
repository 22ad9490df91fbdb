"""The relay and Parley under the same load, in turn: CPU, latency, the first token, and nothing lost."""

from dataclasses import dataclass, field

from tests.bench.load import Plan, Result
from tests.bench.report import Row, percentile
from tests.bench.systems import TOKENS, Direct, Ours, System, bench_stack

#: Messages that each person says in one run: several, so that replies end and begin while others are written, as in
#: any chat that goes on. A relay's first replies after its start, all new connections, are its cheapest.
MESSAGES = 3
#: One worker process has room for all of them, as the relay's process has.
ROOM = 512
BARS_CPU = {150: 1.0, 50: 1.3}


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


def measure(sizes: list[int], repeat: int) -> dict[int, tuple[Total, Total]]:
    """Run each number of conversations `repeat` times on either system, in turn: (direct, ours)."""
    totals = {size: (Total(), Total()) for size in sizes}
    with bench_stack(REPLIES_PER_WORKER=str(ROOM)) as stack:
        for _ in range(repeat):
            for which, system in enumerate((Direct, Ours)):
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


def rows(totals: dict[int, tuple[Total, Total]]) -> list[Row]:
    """What the runs say."""
    found: list[Row] = []
    for size, (direct, ours) in totals.items():
        found += [
            _cpu(size, direct, ours),
            *_latency(size, direct, ours),
            *_first(size, direct, ours),
            *_whole(size, direct, ours),
        ]
    return found


def _cpu(size: int, direct: Total, ours: Total) -> Row:
    ratio = ours.cpu_per_1000 / direct.cpu_per_1000
    note = f"{ours.cpu_per_1000:.0f} / {direct.cpu_per_1000:.0f} ms a 1,000 tokens ({ours.shares()})"
    return Row(f"CPU, {size} conversations, ours / direct", ratio, BARS_CPU.get(size), 1.0, note=note)


def _latency(size: int, direct: Total, ours: Total) -> list[Row]:
    bars = {150: (5.0, 30.0), 300: (None, percentile(direct.latency, 0.99) * 1e3)}.get(size, (None, None))
    return [
        Row(
            f"token latency, {size} conversations, p{share * 100:.0f}",
            percentile(ours.latency, share) * 1e3,
            bar,
            percentile(direct.latency, share) * 1e3,
            "ms",
        )
        for share, bar in zip((0.5, 0.99), bars, strict=True)
    ]


def _first(size: int, direct: Total, ours: Total) -> list[Row]:
    bars = (5.0, 25.0) if size == 50 else (None, None)
    found = []
    for share, bar in zip((0.5, 0.99), bars, strict=True):
        theirs, mine = percentile(direct.first, share) * 1e3, percentile(ours.first, share) * 1e3
        what = f"first token, {size} conversations, ours less direct, p{share * 100:.0f}"
        found.append(Row(what, mine - theirs, bar, 0.0, "ms", note=f"{mine:.1f} less {theirs:.1f}"))
    return found


def _whole(size: int, direct: Total, ours: Total) -> list[Row]:
    return [
        Row(f"{what}, {size} conversations", mine, 0, theirs, note=note)
        for what, mine, theirs, note in (
            ("errors", len(ours.errors), len(direct.errors), "; ".join(sorted({*ours.errors, *direct.errors}))),
            ("lost tokens", ours.lost, direct.lost, ""),
            ("repeated tokens", ours.repeated, direct.repeated, ""),
        )
    ]
