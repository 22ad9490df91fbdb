"""The table at the end of a run."""

import os

from tests.hosts.plan import DELAY, LASTS, LOSS
from tests.hosts.run import Outcome, Trouble
from tests.hosts.system import NODES, ROLES

#: Seconds after the end of a fault in which a pause is still due to it.
AFTERMATH = 5.0


def table(outcome: Outcome) -> str:
    """Everything worth knowing, a line each."""
    rows = [
        *((f"host {number} ({role})", _suffered(outcome, number - 1)) for number, role in enumerate(ROLES, 1)),
        ("a slow link", f"takes {DELAY * 1000:.0f} ms and loses {LOSS:.0%} of the frames, each way"),
        ("nodes of Redis at the start", f"primaries on hosts {_places(NODES[:3])}, replicas on {_places(NODES[3:])}"),
        ("replicas promoted", str(outcome.promoted)),
        ("messages", str(len(outcome.said))),
        ("replies", str(outcome.replies)),
        ("tokens", str(outcome.tokens)),
        ("sockets of the page", str(outcome.sockets)),
        ("longest pause seen", _longest_pause(outcome)),
        ("lost", str(outcome.lost)),
        ("repeated", str(outcome.repeated)),
    ]
    lines = [f"{name:<28} {value}" for name, value in rows]
    return "\n".join([*lines, *_wrong(outcome)])


def _suffered(outcome: Outcome, host: int) -> str:
    mine = [trouble for trouble in outcome.troubles if trouble.fault.host == host]
    return ", ".join(_total(kind, [one for one in mine if one.fault.kind == kind]) for kind in LASTS)


def _total(kind: str, troubles: list[Trouble]) -> str:
    return f"{kind} {len(troubles)} times, {sum(one.ended - one.began for one in troubles):.0f} s"


def _places(places: tuple[int, ...]) -> str:
    return ", ".join(str(place + 1) for place in places)


def _longest_pause(outcome: Outcome) -> str:
    if not outcome.pauses:
        return "none"
    pause = max(outcome.pauses, key=lambda pause: pause.seconds)
    causes = [
        f"host {trouble.fault.host + 1} {trouble.fault.kind} for {trouble.fault.lasts} s"
        for trouble in outcome.troubles
        if trouble.began < pause.began + pause.seconds and trouble.ended + AFTERMATH > pause.began
    ]
    return f"{pause.seconds:.1f} s ({', '.join(causes) or 'no fault'})"


def _wrong(outcome: Outcome) -> list[str]:
    if not outcome.wrong:
        return ["Every promise held."]
    lines = ["NOT as promised:", *outcome.wrong[:20]]
    if outcome.report:
        lines.append(f"Texts, faults and logs: {os.path.relpath(outcome.report)}")
    return lines
