"""`python -m tests.scaling`: what so many people need, from what was measured, into docs/scaling.md and its plots."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import orjson

from tests.scaling import loads
from tests.scaling.costs import KINDS, Check, Measured, check, fit, non_negative
from tests.scaling.plots import Axis, plot
from tests.scaling.simulation import flushes, simulate
from tests.scaling.sizes import CYCLE, RATE, TOKENS, Listening, Parameters, Size, size, wait

#: What `make bench ARGS="--cases sizing"` wrote on a machine with 2 cores.
MEASURED = Path(__file__).with_name("measured.json")
DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Numbers of people in the table, and in the plot of cores.
TABLE = (1_000, 10_000, 100_000, 1_000_000)
PLOTTED = (300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
#: People whose every message is played; among more of them, chance counts for less.
SIMULATED = 100_000
#: Milliseconds of CPU time that are told apart, for each of several processes and runs.
CLOCK_STEP = 10 / 6
#: Places for each reply at once, in the plot of waits; and its numbers of people.
PLACES_EACH = tuple(share / 100 for share in range(80, 132, 2))
WAITING = (100, 1_000, 10_000)

Figures = Mapping[str, float]


def main() -> None:
    """Write the document anew, and print what stands in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED, help="what the bench wrote; default: %(default)s")
    figures = read(parser.parse_args().measured)
    known = parameters(figures)
    tables = all_tables(figures, known)
    document = DOCS / "scaling.md"
    document.write_text(filled(document.read_text(), tables))
    (DOCS / "cores.svg").write_text(plot_of_cores(known))
    (DOCS / "waits.svg").write_text(plot_of_waits())
    print("\n\n".join(tables.values()))


def all_tables(figures: Figures, known: Parameters) -> dict[str, str]:
    """What the document has between its marks, by their names."""
    sizes = [size(people, known) for people in TABLE]
    return {
        "costs": table_of_costs(known),
        "checks": table_of_checks(checks(figures, known)),
        "sizes": table_of_sizes(sizes),
        "limits": list_of_limits(sizes),
    }


def read(file: Path) -> Figures:
    """The figures of a file that the bench wrote, by their names."""
    return {row["what"]: row["ours"] for row in orjson.loads(file.read_bytes())["rows"]}


def measured(figures: Figures, name: str) -> Measured:
    """What was measured of a load."""
    load = {**loads.FITTED, **loads.CHECKED}[name]
    tokens = load.people * load.messages * load.tokens
    return Measured(
        cpu={kind: figures[f"{name}: CPU of {kind} for 1,000 tokens"] * tokens / 1e6 for kind in KINDS},
        seconds=figures[f"{name}: length"],
        first=figures[f"{name}: first token, p95"] / 1e3,
    )


def parameters(figures: Figures) -> Parameters:
    """What the simulation and the sizes need to know."""
    overhead = figures["20 people: first token, p50"] / 1e3
    fitted = [(load, simulate(load, overhead=overhead), measured(figures, name)) for name, load in loads.FITTED.items()]
    return Parameters(
        costs={kind: fit(fitted, kind, figures[f"idle: CPU of {kind} in a second"] / 1e3) for kind in KINDS},
        heard=_listening(figures, "CPU of a web process that nobody talks to"),
        told=_listening(figures, "CPU of redis for it"),
        message=figures["queue: CPU of redis for a message"] / 1e3,
        bytes_out=figures["120 people: bytes from Redis for a token"],
        overhead=overhead,
    )


def _listening(figures: Figures, what: str) -> Listening:
    rows = []
    for name in loads.BESIDE:
        load = loads.FITTED[name]
        # What is too little for the system's clock counts as one step of it.
        seconds = max(figures[f"beside {name}: {what}"], CLOCK_STEP) / 1e3
        rows.append([load.people * load.messages * load.tokens / seconds, flushes(load, simulate(load)) / seconds])
    return Listening(*non_negative(rows))


def checks(figures: Figures, known: Parameters) -> list[Check]:
    """What is said of the loads that nothing was fitted to, beside what was measured."""
    return [
        check(name, load, measured(figures, name), known.costs, known.overhead) for name, load in loads.CHECKED.items()
    ]


def table_of_checks(found: list[Check]) -> str:
    """Said, measured, and how far that is apart."""
    rows = ["| load | CPU for 1,000 tokens: said, measured | apart | wait, p95: said, measured | apart |"]
    rows.append("|---|---|---|---|---|")
    for one in found:
        waits = f"{one.wait[0]:.2f}, {one.wait[1]:.2f} s | {one.wait_error:.0%}" if one.waited else "none | "
        rows.append(f"| {one.name} | {one.cpu[0]:.0f}, {one.cpu[1]:.0f} ms | {one.cpu_error:.0%} | {waits} |")
    return "\n".join(rows)


def table_of_costs(known: Parameters) -> str:
    """What each kind of process takes."""
    rows = ["| microseconds of CPU | a token | a flush of a worker | a reply |", "|---|---|---|---|"]
    for kind, costs in known.costs.items():
        rows.append(f"| {kind} | {costs.token * 1e6:.0f} | {costs.flush * 1e6:,.0f} | {costs.reply * 1e6:,.0f} |")
    for name, listening in (("a web process that is told", known.heard), ("Redis, to tell it", known.told)):
        rows.append(f"| {name} | {listening.token * 1e6:.1f} | {listening.flush * 1e6:.0f} | |")
    return "\n".join(rows)


def table_of_sizes(sizes: list[Size]) -> str:
    """A column for each number of people."""
    lines: dict[str, list[str]] = {
        "people who chat": [f"{one.people:,}" for one in sizes],
        "replies at once": [f"{one.replies:,.0f}" for one in sizes],
        "messages, tokens a second": [f"{one.messages:,.0f}, {one.tokens:,.0f}" for one in sizes],
        "web processes (cores used)": [f"{one.web:,} ({one.cores['web']:,.1f})" for one in sizes],
        "worker processes (cores used)": [f"{one.worker:,} ({one.cores['worker']:,.1f})" for one in sizes],
        "primaries of Redis, each with a replica (cores used)": [
            f"{one.primaries:,} ({one.cores['redis']:,.1f})" for one in sizes
        ],
        "flushes of workers to nodes, a second": [f"{one.flushes:,.0f}" for one in sizes],
        "connections to a node": [f"{one.connections:,}" for one in sizes],
        "out of Redis, Mbit/s": [f"{one.network / 1e6:,.0f}" for one in sizes],
        "graphics cards": [f"{one.cards:,}" for one in sizes],
        "wait for a place, p95": [f"{wait(one.people, one.places):.1f} s" for one in sizes if one.people <= SIMULATED],
    }
    for values in lines.values():
        values += ["not played"] * (len(sizes) - len(values))
    rows = [f"| {name} | {' | '.join(values)} |" for name, values in lines.items()]
    return "\n".join([rows[0], "|---" * (len(sizes) + 1) + "|", *rows[1:]])


def list_of_limits(sizes: list[Size]) -> str:
    """What is passed at each number of people that was not passed before."""
    lines, known = [], set[str]()
    for one in sizes:
        new = [sentence for sentence in one.broken if sentence not in known]
        known.update(new)
        lines.append(f"- **{one.people:,}**: {' '.join(new) or 'nothing new.'}")
    return "\n".join(lines)


def plot_of_cores(known: Parameters) -> str:
    """Cores by number of people."""
    sizes = [size(people, known) for people in PLOTTED]
    return plot(
        "Cores that are used, by people who chat",
        Axis("people", (100, 1_000, 10_000, 100_000, 1_000_000), logarithmic=True),
        Axis("cores", (0.01, 0.1, 1, 10, 100, 1_000), "{:g}".format, logarithmic=True),
        {kind: [(one.people, one.cores[kind]) for one in sizes] for kind in KINDS},
    )


def plot_of_waits() -> str:
    """Wait by number of places."""
    lines = {}
    for people in WAITING:
        replies = people / CYCLE * TOKENS / RATE
        lines[f"{people:,} people"] = [(share, wait(people, round(replies * share))) for share in PLACES_EACH]
    return plot(
        "Wait for a place, p95, by places for each reply at once",
        Axis("places for each reply at once, on average", (0.8, 0.9, 1.0, 1.1, 1.2, 1.3), "{:.1f}".format),
        Axis("seconds", (0, 2, 4, 6, 8, 10), "{:g}".format),
        lines,
    )


def filled(document: str, tables: Mapping[str, str]) -> str:
    """The document with each table between the marks that bear its name."""
    for name, table in tables.items():
        document = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",  # type: ignore[misc]
            document,
            flags=re.DOTALL,
        )
    return document


if __name__ == "__main__":
    main()
