"""One run: somebody talks while hosts are cut off, slowed and brought back; then page and document are compared."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import expect

from tasks.local.processes import NotReadyError
from tests.bench_page.tab import chromium
from tests.hosts.plan import Fault, make_plan
from tests.hosts.reader import Pause, Reader
from tests.hosts.system import ROLES, TOKENS, System
from tests.support.client import PATIENCE, history
from tests.support.inside import stamps, whole

RESULTS = Path(__file__).resolve().parents[2] / "hosts-results"
#: Seconds before the first fault, and between the end of one and the beginning of the next.
REST = 8.0
#: Seconds in which the last replies have to end once nothing is wrong any more.
SETTLE = 120.0


@dataclass(frozen=True)
class Trouble:
    """A fault that was carried out: from when to when (as `time.time`)."""

    fault: Fault
    began: float
    ended: float


@dataclass
class Outcome:
    """What a run found."""

    troubles: list[Trouble] = field(default_factory=list)
    #: How many replicas became primaries.
    promoted: int = 0
    said: list[str] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    sockets: int = 0
    #: The page's text and the document, oldest message first, each with `Human: ` or `Bot: ` before it.
    shown: list[str] = field(default_factory=list)
    document: list[str] = field(default_factory=list)
    replies: int = 0
    tokens: int = 0
    lost: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    report: Path | None = None

    def judge(self) -> None:
        """Compare what was said, what the page shows and what the document has."""
        if self.shown != self.document:
            self.wrong.append("The page shows another text than the document has.")
        humans = [text for text in self.document if text.startswith("Human: ")]
        wanted = [f"Human: {text}" for text in self.said]
        if humans != wanted:
            self.wrong.append(f"The document has {len(humans)} messages; {len(wanted)} were said.")
        self.lost += len(set(wanted) - set(humans))
        self.repeated += len(humans) - len(set(humans))
        for human, replies in _exchanges(self.document):
            self._judge_replies(human, replies)

    def _judge_replies(self, human: str, replies: list[str]) -> None:
        self.replies += len(replies)
        if len(replies) != 1:
            self.wrong.append(f"{human}: it has {len(replies)} replies.")
            self.lost += not replies
            self.repeated += len(replies[1:])
        for reply in replies:
            seen, wanted = stamps(reply), whole(TOKENS)
            self.tokens += len(seen)
            self.lost += len(set(wanted) - set(seen))
            self.repeated += len(seen) - len(set(seen))
            if seen != wanted:
                self.wrong.append(f"{human}: its reply has the tokens {seen}.")


def _exchanges(document: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each message of the person with what follows it up to the next one."""
    begins = [at for at, text in enumerate(document) if text.startswith("Human: ")]
    for begin, end in pairwise([*begins, len(document)]):
        yield document[begin], document[begin + 1 : end]


async def run(system: System, seed: int, seconds: float) -> Outcome:
    """Run it. What is wrong is in the outcome.

    Args:
        system: Parley on its hosts.
        seed: decides which faults come, and in which order.
        seconds: in which faults begin.
    """
    expect.set_options(timeout=PATIENCE * 1000)
    outcome = Outcome()
    async with chromium() as browser:
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        reader = Reader(await context.new_page())
        await reader.person.comes(system.url)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(_talk(reader, over, outcome))
            await _storm(system, seed, seconds, outcome)
            over.set()
            await asyncio.wait([talking], timeout=SETTLE)
            if not talking.done():
                outcome.wrong.append(
                    f"{reader.said[-1]}: its reply has not ended {SETTLE:.0f} seconds after the last fault."
                )
                talking.cancel()
        outcome.said, outcome.pauses, outcome.sockets = reader.said, reader.pauses, reader.sockets
        outcome.shown = await reader.transcript()
        outcome.document = [message["msg"] for message in await history(system.url, reader.person.token)]
    outcome.judge()
    outcome.wrong += [f"The page has thrown: {error}." for error in reader.errors]
    outcome.wrong += [f"{name} ended." for name, child in system.children.items() if not child.alive]
    for name, child in system.children.items():
        outcome.wrong += [f"Traceback in the log of {name}: {line}" for line in child.lines if "Traceback" in line]
    if outcome.wrong:
        outcome.report = _write_report(outcome, system, seed)
    return outcome


async def _talk(reader: Reader, over: asyncio.Event, outcome: Outcome) -> None:
    try:
        await reader.talk(over)
    except PlaywrightError as error:
        outcome.wrong.append(f"The page cannot be used: {error}")


async def _storm(system: System, seed: int, seconds: float, outcome: Outcome) -> None:
    """Carry out the plan, one fault at a time, until the time is over."""
    until = time.monotonic() + seconds
    plan = make_plan(seed)
    primaries = await asyncio.to_thread(system.cluster.primaries_now)
    await asyncio.sleep(REST)
    while time.monotonic() < until:
        outcome.troubles.append(await _carry_out(next(plan), system))
        try:
            await asyncio.to_thread(system.cluster.wait_whole)
        except NotReadyError as error:
            outcome.wrong.append(str(error))
        before, primaries = primaries, await asyncio.to_thread(system.cluster.primaries_now)
        outcome.promoted += len(set(primaries) - set(before))
        await asyncio.sleep(REST)


async def _carry_out(fault: Fault, system: System) -> Trouble:
    host = system.hosts[fault.host]
    print(
        f"{time.strftime('%X')} host {host.number} ({ROLES[fault.host]}) is {fault.kind} for {fault.lasts} s",
        flush=True,
    )
    began = time.time()
    fault.strike(system.hosts)
    await asyncio.sleep(fault.lasts)
    host.link.restore()
    return Trouble(fault, began, time.time())


def _write_report(outcome: Outcome, system: System, seed: int) -> Path:
    """All that is needed to see what went wrong."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"seed-{seed}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    found = {
        "wrong": outcome.wrong,
        "troubles": [{**vars(trouble), "fault": vars(trouble.fault)} for trouble in outcome.troubles],
        "pauses": [vars(pause) for pause in outcome.pauses],
        "said": outcome.said,
        "shown": outcome.shown,
        "document": outcome.document,
        "logs": {name: list(child.lines) for name, child in system.children.items()},
    }
    path.write_text(json.dumps(found, indent=1))
    return path
