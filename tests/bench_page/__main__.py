"""Choose cases and sizes, measure the page in Chromium, print one table, write one file."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tasks.local.embedded_redis import start_redis
from tests.bench import report
from tests.bench.report import Row
from tests.bench_page import cases
from tests.bench_page.assets import BUILT
from tests.bench_page.cases import Bench
from tests.bench_page.novelist import SHAPES, Novelist
from tests.bench_page.tab import chromium
from tests.support.stack import Stack

CASES: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "size": cases.size,
    "drawing": cases.drawing,
    "memory": cases.memory,
    "length": cases.length,
}

#: What `--quick` changes: enough to see that everything works.
QUICK = {"tokens": 600, "replies": 3, "messages": 400, "shapes": "mixed", "pixels": 10_000, "rounds": 1}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for."""
    options = parser().parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    if not (BUILT / "index.html").exists():
        raise SystemExit("The page is not built: `make frontend/dist/index.html`.")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, parley(Path(folder)) as stack:
        stack.stand_in.stop()
        stack.start_web()
        stack.start_worker()
        stack.wait_ready()
        rows, browser = asyncio.run(measure(stack, options))
    details = {"arguments": vars(options), "browser": browser, "seconds": time.monotonic() - began}
    file = report.write(rows, details)
    print(report.table([cells(report.HEAD), *(cells(row.cells()) for row in rows)]))
    print(f"\n{time.monotonic() - began:.0f} seconds; written to {file.relative_to(report.RESULTS.parent)}")


def parley(folder: Path) -> Stack:
    """The stack, with all the room that its settings allow for long replies."""
    return Stack(start_redis(folder, kind="redis"), MAX_NEW_TOKENS="1500", MODEL_CONTEXT="16384")


async def measure(stack: Stack, options: argparse.Namespace) -> tuple[list[Row], str]:
    """All rows, and the browser's version."""
    rows: list[Row] = []
    async with Novelist(stack.model_port) as model, chromium() as browser:
        bench = Bench(
            stack,
            model,
            browser,
            tokens=options.tokens,
            rate=options.rate,
            shapes=options.shapes.split(","),
            replies=options.replies,
            replies_rate=options.replies_rate,
            messages=options.messages,
            pixels=options.pixels,
            rounds=options.rounds,
        )
        for case in options.cases.split(","):
            print(f"measuring {case} …", file=sys.stderr, flush=True)
            rows += await CASES[case](bench)
        return rows, browser.version


def cells(row: Sequence[str]) -> Sequence[str]:
    """A row of the other bench's table without its column for the direct relay, which has no page."""
    return [row[0], *row[2:]]


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench_page", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--tokens", type=int, default=1500, help="of a reply; the most that settings allow")
    parser.add_argument("--rate", type=float, default=200, help="tokens a second of a reply that is watched")
    parser.add_argument("--shapes", default="mixed,paragraph,code", help=f"kinds of text, some of: {','.join(SHAPES)}")
    parser.add_argument("--replies", type=int, default=200, help="made anew, for memory")
    parser.add_argument("--replies-rate", type=float, default=4000, help="tokens a second of those")
    parser.add_argument("--messages", type=int, default=2000, help="in the long conversation")
    parser.add_argument("--pixels", type=int, default=30_000, help="how far to scroll in it, there and back")
    parser.add_argument("--rounds", type=int, default=3, help="of drawing, opening and scrolling; the median counts")
    parser.add_argument("--quick", action="store_true", help="small sizes, only to see that it works")
    return parser


if __name__ == "__main__":
    main()
