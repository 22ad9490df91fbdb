"""The table at the end of a run."""

import os

from tests.chaos.run import Outcome, Pause, percentile

#: What the conversations are in.
WHERE = {"single": "Redis behind a proxy", "cluster": "a Redis Cluster of 3 primaries and 3 replicas"}


def table(outcome: Outcome) -> str:
    """Everything worth knowing, a line each."""
    setup, verdict, pauses = outcome.setup, outcome.verdict, outcome.pauses
    unhindered = [pause for pause in pauses if not pause.hindered_by]
    rows = [
        ("seed, length", f"{setup.seed}, {setup.seconds / 60:g} min"),
        ("processes", f"{setup.webs} web, {setup.workers} worker, stand-in, {WHERE[setup.redis]}"),
        *((f"  {kind}", str(number)) for kind, number in sorted(outcome.done.items())),
        ("faults injected", f"{outcome.done.total()} ({outcome.skipped.total()} found nobody to hit)"),
        ("conversations", str(setup.conversations)),
        ("messages", f"{verdict.messages} ({verdict.acknowledged} acknowledged)"),
        ("replies", f"{verdict.replies} ({verdict.stopped} stopped), {verdict.failed} failures told"),
        ("tokens", str(verdict.tokens)),
        ("reconnects", str(outcome.reconnects)),
        ("rewinds of Redis", str(outcome.rewinds)),
        ("takeovers after kill -9", str(len(pauses))),
        ("  pause p50 / p95 / worst", _seconds(pauses)),
        (f"  of {len(unhindered)} with no other fault", _seconds(unhindered)),
        ("all settled after", f"{outcome.settled_after:.1f} s"),
        *((f"memory of {kind}", _growth(*sizes)) for kind, sizes in outcome.memory.items()),
        ("log lines", f"{outcome.log_lines} ({len(outcome.tracebacks)} tracebacks)"),
        ("lost", str(verdict.lost)),
        ("repeated", str(verdict.repeated)),
    ]
    lines = [f"{name:<28} {value}" for name, value in rows]
    return "\n".join([*lines, *_wrong(outcome)])


def _seconds(pauses: list[Pause]) -> str:
    seconds = [pause.seconds for pause in pauses]
    return " / ".join(f"{percentile(seconds, share):.1f}" for share in (0.5, 0.95, 1)) + " s"


def _growth(before: int, after: int) -> str:
    return f"{before >> 20} MB at the start, {after >> 20} MB at the end"


def _wrong(outcome: Outcome) -> list[str]:
    if outcome.good:
        return ["Every promise held."]
    lines = [f"Person {number}: {what}" for number, all_ in outcome.verdict.wrong.items() for what in all_[:3]]
    lines += [f"Left in Redis: {name}: {value!r}" for name, value in list(outcome.verdict.leftovers.items())[:10]]
    lines += [f"Traceback in {line}" for line in outcome.tracebacks[:5]]
    if outcome.slow:
        lines.append("Takeovers took longer than promised.")
    lines += [f"Memory of {kind} has grown." for kind in outcome.grown]
    if outcome.report:
        lines.append(f"Frames, plan and logs: {os.path.relpath(outcome.report)}")
    return [f"NOT as promised, seed {outcome.setup.seed}:", *lines]
