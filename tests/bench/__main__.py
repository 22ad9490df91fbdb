"""Choose cases and sizes, measure, print one table, write one file."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import cases, report, side_by_side, sizing
from tests.bench.report import Row

#: Every case but the one side by side, in the table's order; and what makes it quick.
CASES: dict[str, tuple[Callable[..., list[Row]], dict[str, Any]]] = {
    "pickup": (cases.pickup, {"count": 50}),
    "idle": (cases.idle, {"sockets": 100}),
    "sockets": (cases.sockets, {"count": 1000}),
    "connections": (cases.connections, {}),
    "length": (cases.length, {"repeat": 1}),
    "opening": (cases.opening, {"repeat": 50}),
    "workers": (cases.workers, {}),
    "waiting": (cases.waiting, {}),
    "memory": (cases.memory, {"first": 200, "then": 2000}),
    "cluster": (side_by_side.on_a_cluster, {"sizes": (50,), "repeat": 1}),
    "growth": (cases.growth, {"steps": (10, 50)}),
    "sizing": (sizing.sizing, {"repeat": 1, "messages": 2000}),
}
SIDE_BY_SIDE = "load"
#: Have no bars: how costs grow, and what `make plan` reads.
WITHOUT_BARS = ("growth", "sizing")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for; what was measured before a failure is not lost."""
    options = parser().parse_args(arguments)
    chosen = (
        options.cases.split(",")
        if options.cases
        else [SIDE_BY_SIDE, *(name for name in CASES if name not in WITHOUT_BARS)]
    )
    began = time.monotonic()
    rows: list[Row] = []
    try:
        for case in chosen:
            print(f"{time.monotonic() - began:4.0f} s: measuring {case} …", file=sys.stderr, flush=True)
            rows += measure(case, options)
    finally:
        seconds = round(time.monotonic() - began)
        file = report.write(rows, {"cases": chosen, "arguments": vars(options), "seconds": seconds})
        print(report.table([report.HEAD, *(row.cells() for row in rows)]))
        print(f"\n{seconds} seconds; written to {file.relative_to(report.RESULTS.parent)}")


def measure(case: str, options: argparse.Namespace) -> list[Row]:
    """One case's rows."""
    if case == SIDE_BY_SIDE:
        sizes = [int(size) for size in options.conversations.split(",")]
        return side_by_side.rows(side_by_side.measure(sizes, 1 if options.quick else options.repeat))
    run, quick = CASES[case]
    return run(**quick if options.quick else {})


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    names = ", ".join([SIDE_BY_SIDE, *CASES])
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--cases", default="", help=f"some of: {names}; all but {' and '.join(WITHOUT_BARS)} if not given"
    )
    parser.add_argument("--conversations", default="50,150,300", help="numbers at once of the case `load`")
    parser.add_argument("--repeat", type=int, default=2, help="how often the case `load` runs either system")
    parser.add_argument("--quick", action="store_true", help="every case once and as small as it may be")
    return parser


if __name__ == "__main__":
    main()
