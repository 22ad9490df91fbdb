"""What was measured, as rows: a table to read and a file to compare with."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"


@dataclass(frozen=True)
class Row:
    """One figure and its bar: `ours` in `unit`, at most (or at least) `bar`; `relay` is the direct relay's, if any."""

    what: str
    ours: float
    bar: float | None = None
    relay: float | None = None
    unit: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None if there is none."""
        if self.bar is None:
            return None
        return self.ours >= self.bar if self.at_least else self.ours <= self.bar

    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        sign = "≥" if self.at_least else "≤"
        bar = "" if self.bar is None else f"{sign} {number(self.bar)}"
        verdict = {True: "yes", False: "NO", None: ""}[self.reached]
        relay = "" if self.relay is None else number(self.relay)
        return self.what, relay, number(self.ours), self.unit, bar, verdict, self.note


HEAD = ("what", "relay", "ours", "", "bar", "reached", "")


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows with their columns aligned, the first one being the head."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "processor": processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's own name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def write(rows: Sequence[Row], details: dict[str, Any]) -> Path:
    """Write everything into bench-results/; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    report = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "rows": [asdict(row) | {"reached": row.reached} for row in rows],
        "details": details,
    }
    file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return file
