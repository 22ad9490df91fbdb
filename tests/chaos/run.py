"""One run: the system is started, a crowd talks, the storm blows, calm returns, and everything is checked."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tasks.local.embedded_redis import start_redis
from tasks.local.processes import Child
from tests.chaos.person import Person
from tests.chaos.plan import Fault, make_plan
from tests.chaos.storm import Storm
from tests.chaos.verdict import Verdict
from tests.support.client import Chat
from tests.support.cluster import Cluster
from tests.support.inside import leftovers, pids
from tests.support.ports import own_port
from tests.support.proxy import Proxy
from tests.support.stack import Stack

RESULTS = Path(__file__).resolve().parents[2] / "chaos-results"
#: Seconds that everybody has to get their last answer once nothing is wrong any more.
SETTLE = 180.0
#: How much more memory a process may use at the end than at the start, and Redis besides for each message, since it
#: keeps what was said, and the streams of the last minutes: bytes.
GROWTH, KEPT = 64 << 20, 12 << 10


#: Lines of a log that a traceback may have.
TRACE_LINES = 40
#: Seconds within which another worker has to go on, of 95 in 100 replies.
PROMISE = 10.0


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them (sorted) do not exceed; 0 if there are none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@dataclass(frozen=True)
class Setup:
    """How large and how long a run is."""

    seed: int
    seconds: float
    conversations: int = 200
    per_minute: float = 30.0
    webs: int = 2
    workers: int = 3
    tokens: int = 40
    #: Tokens a second of one reply.
    rate: float = 10.0
    #: Seconds that a person thinks between an answer and the next message, on average.
    think: float = 4.0
    #: single or cluster.
    redis: str = "single"


@dataclass(frozen=True)
class Pause:
    """How long a reply stood still because its worker was killed."""

    seconds: float
    conversation: str
    at: float
    #: The other faults of that time.
    hindered_by: list[str]


@dataclass
class Outcome:
    """What a run found."""

    setup: Setup
    plan: list[Fault]
    verdict: Verdict
    done: Counter[str]
    skipped: Counter[str]
    #: Of each reply whose worker was killed, shortest first.
    pauses: list[Pause] = field(default_factory=list)
    reconnects: int = 0
    rewinds: int = 0
    settled_after: float = 0.0
    #: Bytes of each kind of process at the start and at the end (the largest one).
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    log_lines: int = 0
    report: Path | None = None

    @property
    def good(self) -> bool:
        """Whether every promise held."""
        return self.right and not self.slow

    @property
    def right(self) -> bool:
        """Whether every promise held but the one of time, which a machine that does other things cannot keep."""
        return self.verdict.good and not self.tracebacks and not self.grown

    @property
    def slow(self) -> bool:
        """Whether takeovers that nothing else hindered took longer than promised."""
        return percentile([p.seconds for p in self.pauses if not p.hindered_by], 0.95) > PROMISE

    @property
    def grown(self) -> list[str]:
        """The kinds of process that use much more memory than before."""
        kept = {"redis": KEPT * self.verdict.messages}
        return [name for name, (before, after) in self.memory.items() if after > before + GROWTH + kept.get(name, 0)]


async def run(setup: Setup) -> Outcome:
    """Run it. What is wrong is in the outcome; only a system that does not even start raises."""
    plan = make_plan(setup.seed, setup.seconds, setup.per_minute, setup.redis)
    with tempfile.TemporaryDirectory(prefix="parley-chaos-") as folder:
        if setup.redis == "cluster":
            cluster: Any = await asyncio.to_thread(Cluster, Path(folder))
            with _started(Stack(cluster, MODEL_READ_TIMEOUT="3")) as stack:
                return await _run(setup, plan, stack, None)
        redis = await asyncio.to_thread(start_redis, Path(folder), port=own_port(), kind="redis")
        async with Proxy(redis.port) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            with _started(Stack(redis, REDIS_URL=url, MODEL_READ_TIMEOUT="3")) as stack:
                return await _run(setup, plan, stack, proxy)


@contextmanager
def _started(stack: Stack) -> Iterator[Stack]:
    with stack:
        yield stack
        for child in stack.processes.children:
            child.kill()


async def _run(setup: Setup, plan: list[Fault], stack: Stack, proxy: Proxy | None) -> Outcome:
    stack.pace(rate=setup.rate, stamped=setup.tokens)
    webs = [await asyncio.to_thread(stack.start_web) for _ in range(setup.webs)]
    workers = [stack.start_worker() for _ in range(setup.workers)]
    await asyncio.to_thread(stack.wait_ready, 60)
    urls = [f"http://127.0.0.1:{port}" for port in stack.ports]
    people = [Person(number, setup.seed, urls) for number in range(setup.conversations)]
    await asyncio.gather(*(person.begin() for person in people))
    kinds = {"web": webs, "worker": workers, "redis": _servers(stack)}
    async with Storm(stack, proxy, people, webs, workers) as storm, _crowd(setup, people) as talking:
        await asyncio.sleep(2)
        before = {kind: _memory(children) for kind, children in kinds.items()}
        await storm.blow(plan)
        await storm.calm()
        await asyncio.gather(*talking)
        settled_after = await _settle(people)
        kinds["redis"] = _servers(stack)
        memory = {kind: (before[kind], _memory(children)) for kind, children in kinds.items()}
        verdict = await _judge(setup, people, urls, storm)
    children = [*webs, *workers]
    outcome = Outcome(
        setup=setup,
        plan=plan,
        verdict=verdict,
        done=storm.done,
        skipped=storm.skipped,
        pauses=_pauses(storm),
        reconnects=sum(len(person.reconnected) for person in people),
        rewinds=sum(person.rewinds for person in people),
        settled_after=settled_after,
        memory=memory,
        tracebacks=[trace for child in children for trace in _tracebacks(child)],
        log_lines=sum(len(child.lines) for child in children),
    )
    if not outcome.good:
        outcome.report = _write_report(outcome, storm, children)
    return outcome


@contextlib.asynccontextmanager
async def _crowd(setup: Setup, people: list[Person]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Everybody connected while the block lasts; yields the tasks of their talking, which end with the storm."""
    async with asyncio.TaskGroup() as group:
        staying = [group.create_task(forever) for person in people for forever in (person.live(), person.nudge())]
        talking = [group.create_task(person.talk(setup.seconds, setup.think)) for person in people]
        try:
            yield talking
        finally:
            for task in (*staying, *talking):
                task.cancel()


async def _settle(people: list[Person]) -> float:
    began = time.monotonic()
    while not all(person.settled for person in people) and time.monotonic() - began < SETTLE:
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def _judge(setup: Setup, people: list[Person], urls: list[str], storm: Storm) -> Verdict:
    verdict = Verdict()
    for person in people:
        async with Chat(urls[person.number % len(urls)], person.token) as chat:
            document = await _whole_document(chat)
        verdict.judge(person, document, setup.tokens)
    verdict.leftovers = await leftovers(storm.redis)
    return verdict


async def _whole_document(chat: Chat) -> list[dict[str, Any]]:
    """All messages; a snapshot has the last ones."""
    conversation = (await chat.until("snapshot"))["conversation"]
    messages: list[dict[str, Any]] = conversation["messages"]
    earlier: int = conversation["earlier"]
    while earlier:
        page = await chat.history(messages[0]["id"])
        messages, earlier = [*page["messages"], *messages], page["earlier"]
    return messages


def _pauses(storm: Storm) -> list[Pause]:
    """How long each reply stood still whose worker was killed, if it was not ended by a stop meanwhile."""
    pauses = []
    for takeover in storm.takeovers:
        # What was in Redis already at the moment of death may still arrive a little later.
        words = [at for at, reply in takeover.person.words if reply == takeover.reply]
        before = [at for at in words if at <= takeover.at + 0.3]
        after = [at for at in words if at > takeover.at + 0.3]
        if before and after:
            others = [kind for began, ended, kind in storm.troubles if began < after[0] and ended > takeover.at]
            pauses.append(Pause(after[0] - before[-1], takeover.person.conversation, takeover.at, _hindering(others)))
    return sorted(pauses, key=lambda pause: pause.seconds)


def _hindering(kinds: list[str]) -> list[str]:
    """What of this makes a reply wait, or the person for it, besides the death itself, which is one of them."""
    hindering = [kind for kind in kinds if not kind.startswith(("messages", "replies"))]
    hindering.remove("worker killed")
    return hindering


def _servers(stack: Stack) -> list[Child]:
    """The processes of Redis."""
    return [node.child for node in getattr(stack.redis, "nodes", [stack.redis])]


def _tracebacks(child: Child) -> Iterator[str]:
    """Each traceback that a process printed, with the lines that follow."""
    lines = list(child.lines)
    for number, line in enumerate(lines):
        if "Traceback" in line:
            yield "\n".join([f"{child.name}: {line}", *lines[number + 1 : number + TRACE_LINES]])


def _memory(children: list[Child]) -> int:
    """The largest process of a kind, in bytes."""
    sizes = [0]
    for child in children:
        for pid in pids(child):
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes.append(psutil.Process(pid).memory_info().rss)
    return max(sizes)


def _write_report(outcome: Outcome, storm: Storm, children: list[Child]) -> Path:
    """All that is needed to see what went wrong: the plan, the frames of those concerned, the last log lines."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"seed-{outcome.setup.seed}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    concerned = [person for person in storm.people if person.number in outcome.verdict.wrong]
    found = {
        "setup": vars(outcome.setup),
        "plan": [vars(fault) for fault in outcome.plan],
        "leftovers": repr(outcome.verdict.leftovers),
        "tracebacks": outcome.tracebacks,
        "slowest": [vars(pause) for pause in outcome.pauses[-40:]],
        "troubles": storm.troubles,
        "clocks": [time.monotonic(), time.time()],
        "people": [
            {
                "number": person.number,
                "conversation": person.conversation,
                "wrong": outcome.verdict.wrong[person.number],
                "said": person.said,
                "asked again": person.asked_again,
                "sees": person.view,
                "document": outcome.verdict.documents[person.number],
                "reconnected": person.reconnected,
                "frames": list(person.frames),
            }
            for person in concerned
        ],
        "logs": {child.name: list(child.lines)[-2000:] for child in children},
    }
    path.write_text(json.dumps(found, indent=1))
    return path
