"""The load: people who talk, in a process of its own, the same for every system that is measured.

`python -m tests.bench.load plan.json result.json`. It checks that each stamped token arrives exactly once and in
order, and notes when. It reads the CPU clocks of the measured processes itself, right before the first
message and right after the last token.
"""

import asyncio
import contextlib
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import psutil
import uvloop

from tests.bench.wire import Wire, open_wire

#: Seconds over which the first messages are spread, so that not all tokens come at the same instants.
SPREAD = 1.0
#: Seconds, at most, between the end of a reply and the next message; for the same reason.
THINKING = 0.2
#: Seconds after which a reply that does not end counts as an error.
PATIENCE = 25.0
#: Sockets that are opened at the same time.
OPENING = 50


@dataclass
class Plan:
    """What to do: each of the conversations says `messages` things, one after the other's reply.

    `tokens` are those of a reply, stamped and numbered from 1. `sessions` are made over HTTP if not given.
    `spread`: seconds over which the first messages are spread; `pause`: seconds, at most, before each other one.
    `stay`: seconds to keep the sockets open afterwards.
    """

    url: str
    conversations: int
    messages: int = 1
    tokens: int = 100
    sessions: list[str] = field(default_factory=list)
    processes: dict[str, list[int]] = field(default_factory=dict)
    stay: float = 0.0
    spread: float = SPREAD
    pause: float = THINKING


@dataclass
class Result:
    """What came of it; times in seconds."""

    replies: int = 0
    tokens: int = 0
    lost: int = 0
    repeated: int = 0
    errors: list[str] = field(default_factory=list)
    #: Where tokens were lost or repeated, to look for the reason.
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    own_cpu: float = 0.0
    #: From a token's stamp to its arrival.
    latency: list[float] = field(default_factory=list)
    #: From sending a message to the first words of its reply.
    first: list[float] = field(default_factory=list)


class Person:
    """Says something, reads the reply to its end, says the next thing."""

    def __init__(self, plan: Plan, result: Result) -> None:
        self._plan = plan
        self._result = result
        self._wire: Wire | None = None
        self._sent = 0.0
        self._text = ""
        self._next = 1
        self._begun = False
        self._ended = asyncio.Event()
        self.ready = asyncio.Event()

    async def connect(self, address: tuple[str, int], session: str) -> None:
        """Open the socket and wait for the snapshot."""
        self._session = session
        self._wire = await open_wire(*address, f"/chat?token={session}", self._on_text, self._on_lost)
        await asyncio.wait_for(self.ready.wait(), PATIENCE)

    async def talk(self) -> None:
        """Say everything there is to say."""
        for number in range(self._plan.messages):
            await asyncio.sleep(random.uniform(0, self._plan.pause) if number else 0)
            self._text, self._next, self._begun = "", 1, False
            self._ended.clear()
            self._set_status()
            try:
                await asyncio.wait_for(self._ended.wait(), PATIENCE)
            except TimeoutError:
                self._result.errors.append(f"a reply stopped before token {self._next}, session {self._session}")
                return

    def _set_status(self) -> None:
        assert self._wire
        message = {"type": "message.send", "id": str(uuid.uuid4()), "text": "Please count to a hundred."}
        frame = orjson.dumps(message)
        self._sent = time.time()
        self._wire.send(frame)

    def _on_lost(self) -> None:
        if not self._ended.is_set() and self._sent:
            self._result.errors.append("a socket was closed")
            self._ended.set()

    def _on_text(self, data: bytes) -> None:
        now = time.time()
        frame = orjson.loads(data)
        match frame["type"]:
            case "reply.delta":
                self._take(frame["text"], now)
            case "snapshot":
                self.ready.set()
            case "reply.finished":
                self._finish(frame["message"].get("text"))
            case "reply.failed" | "error":
                self._result.errors.append(str(frame.get("detail")))
                self._ended.set()

    def _take(self, text: str, now: float) -> None:
        result = self._result
        if not self._begun:
            self._begun = True
            result.first.append(now - self._sent)
        self._text += text
        *tokens, self._text = self._text.split(" ")
        for token in tokens:
            number, _, stamp = token.partition("|")
            result.tokens += 1
            result.latency.append(now - float(stamp))
            if int(number) < self._next:
                result.repeated += 1
                self._note(f"{token} again instead of {self._next}")
            else:
                self._miss(int(number) - self._next, f"{token} instead of {self._next}")
                self._next = int(number) + 1

    def _miss(self, tokens: int, where: str) -> None:
        self._result.lost += tokens
        if tokens:
            self._note(where)

    def _note(self, where: str) -> None:
        self._result.notes.append(f"{where}, session {self._session}")

    def _finish(self, whole: str | None) -> None:
        """`whole` is the reply as it is stored, if the system stores any."""
        self._result.replies += 1
        self._miss(self._plan.tokens + 1 - self._next, f"the end instead of {self._next}")
        if whole is not None and whole.count("|") != self._plan.tokens:
            self._result.errors.append("the stored reply is not the one that was shown")
        self._ended.set()


async def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """Carry the plan out; `say` is told when everybody is connected."""
    result = Result()
    sessions = plan.sessions or await begin_sessions(plan)
    people = [Person(plan, result) for _ in range(plan.conversations)]
    parts = urlsplit(plan.url)
    address = (parts.hostname or "", parts.port or 0)
    turn = asyncio.Semaphore(OPENING)

    async def connect(person: Person, session: str) -> None:
        async with turn:
            await person.connect(address, session)

    await asyncio.gather(*map(connect, people, sessions))
    say("connected")
    if plan.messages:
        await talk(plan, people, result)
    say("done")
    await asyncio.sleep(plan.stay)
    return result


async def talk(plan: Plan, people: list[Person], result: Result) -> None:
    """Let everybody talk, and watch the clocks."""
    chance = random.Random(7)

    async def later(person: Person) -> None:
        await asyncio.sleep(chance.uniform(0, plan.spread))
        await person.talk()

    before, own, began = cpu_seconds(plan.processes), time.process_time(), time.monotonic()
    await asyncio.gather(*map(later, people))
    result.seconds = time.monotonic() - began
    after = cpu_seconds(plan.processes)
    result.cpu = {name: after[name] - before[name] for name in before}
    result.own_cpu = time.process_time() - own


def cpu_seconds(processes: dict[str, list[int]]) -> dict[str, float]:
    """CPU time that each group of processes has used, user and system."""
    return {name: sum(map(cpu_of, pids)) for name, pids in processes.items()}


def cpu_of(pid: int) -> float:
    """CPU time of one process; 0 for one that is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


async def begin_sessions(plan: Plan) -> list[str]:
    """As many conversations as there are people."""
    turn = asyncio.Semaphore(4)
    async with httpx.AsyncClient(base_url=plan.url, timeout=30, trust_env=False) as client:

        async def begin() -> str:
            async with turn:
                token: str = (await client.post("/token", params={"name": "Ada"})).json()["token"]
                return token

        return await asyncio.gather(*(begin() for _ in range(plan.conversations)))


def main() -> None:
    """Read the plan, carry it out, write the result."""
    plan = Plan(**orjson.loads(Path(sys.argv[1]).read_bytes()))
    result = uvloop.run(run(plan, lambda what: print(what, flush=True)))
    Path(sys.argv[2]).write_bytes(orjson.dumps(asdict(result)))


if __name__ == "__main__":
    main()
