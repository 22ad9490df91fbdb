"""A long attack: every attack in turn on a running system, in an order of chance, while others talk and measure.

`python -m tests.fuzz --seed 1 --minutes 15`. Ends with a report, and with exit code 1 if anything was found: a 5xx, a
crash, a traceback, a word of somebody else's, memory that grows, or others who wait more than twice as long.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import websockets

from tasks.local.embedded_redis import start_redis
from tests.fuzz.attacks import ATTACKS, PROXY
from tests.fuzz.generated import GENERATED
from tests.support.caddy import caddy
from tests.support.client import Chat, new_token
from tests.support.stack import Stack

#: Seconds that one attack lasts, that what it leaves behind counts as its own, and of the quiet before the next.
LASTS, AFTERMATH, QUIET = 12.0, 2.0, 6.0
#: People who talk all the time, seconds between two things one says, and tokens of a reply at so many a second.
OTHERS, THINKING, TOKENS, RATE = 6, 0.1, 8, 50
EVERY = [*ATTACKS, *GENERATED]
#: How many times the memory that they had before an attack all processes together may have after it.
GROWTH = 1.2
#: Seconds after which an attack that does not end has failed.
PATIENCE = 90.0
#: Seconds; below it, twice as long is not worth a word.
NOTHING = 0.015
#: The limits that strangers meet; they are behind the platform's proxy.
SETTINGS = {
    "TRUSTED_PROXIES": "1",
    "LIMIT_SOCKETS_PER_ADDRESS": "100",
    "LIMIT_SOCKETS_PER_SESSION": "100",
    "LIMIT_MESSAGES_PER_ADDRESS": "120",
    "LIMIT_WAITING": "1000",
    "LIMIT_CALLS_PER_ADDRESS": "600",
}


@dataclass
class Others:
    """People who are not attacked and should not notice; each has an address and a conversation of their own."""

    url: str
    first: list[float] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def talk(self) -> None:
        """Say things for ever, a few to a conversation."""
        while True:
            number = next(self._numbers)
            try:
                await self._converse(f"198.{18 + number // 62500 % 2}.{number // 250 % 250}.{number % 250 + 1}")
            except (OSError, TimeoutError, KeyError, httpx.HTTPError, websockets.WebSocketException) as error:
                self.found.append(f"somebody else was not served: {type(error).__name__} {error}")
                await asyncio.sleep(1)

    async def _converse(self, address: str) -> None:
        headers = {"X-Forwarded-For": address}
        token = await new_token(self.url, headers=headers)
        async with Chat(self.url, token, additional_headers=headers) as chat:
            await chat.next()
            for _ in range(10):
                began = time.perf_counter()
                await chat.send("Hello")
                await chat.until("reply.delta")
                self.first.append(time.perf_counter() - began)
                text = (await chat.until("reply.finished"))["message"]["text"]
                if [int(n) for n in re.findall(r"(\d+)\|", text)] != list(range(1, TOKENS + 1)):
                    self.found.append(f"a reply was not as it should be: {text!r}")
                await asyncio.sleep(THINKING)

    def take(self) -> list[float]:
        """The seconds to first tokens since this was called last."""
        taken, self.first = self.first, []
        return taken


@dataclass
class Round:
    """One attack and what others felt of it."""

    name: str
    done: Counter[str]
    quiet: list[float]
    attacked: list[float]

    def ratio(self, share: float) -> float:
        """How many times as long others waited, where a share of them waited less."""
        return percentile(self.attacked, share) / max(percentile(self.quiet, share), NOTHING)

    def line(self) -> str:
        """The row of the report."""
        most = ", ".join(f"{what} {count}" for what, count in self.done.most_common(5))
        return f"{self.name:<18}{self._waited(0.5)}{self._waited(0.99)}{len(self.attacked):>9}  {most}"

    def _waited(self, share: float) -> str:
        quiet, attacked = (1000 * percentile(seconds, share) for seconds in (self.quiet, self.attacked))
        return f"{quiet:>8.0f}{attacked:>8.0f}{self.ratio(share):>6.1f}"


def percentile(seconds: list[float], share: float) -> float:
    """What this share of all stays below."""
    return statistics.quantiles(seconds, n=100)[round(100 * share) - 1] if len(seconds) > 1 else 0.0


class Fuzz:
    """One run against one stack."""

    def __init__(self, stack: Stack, front: str, start: int, minutes: float, attacks: Sequence[str]) -> None:
        self._stack = stack
        self._front = front
        self._random = random.Random(start)
        self._attacks = attacks
        self._ends = time.monotonic() + minutes * 60
        self._others = Others(stack.url)
        self._rounds: list[Round] = []
        #: Bytes of all processes before the first round, and after each.
        self._memory: list[int] = []

    async def run(self) -> int:
        """Attack until the time is over; returns how many things were found."""
        talking = [asyncio.create_task(self._others.talk()) for _ in range(OTHERS)]
        while time.monotonic() < self._ends:
            for name in self._random.sample(self._attacks, len(self._attacks)):
                if time.monotonic() < self._ends:
                    await self._round(name)
        await self._rest()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        return self._report()

    async def _rest(self) -> None:
        """Wait until what was before is over, and look at the memory."""
        await asyncio.sleep(QUIET)
        self._memory.append(memory(self._stack))
        # To look took time, in which nobody here could read what had come.
        await asyncio.sleep(AFTERMATH)
        self._others.take()

    async def _round(self, name: str) -> None:
        await self._rest()
        await asyncio.sleep(QUIET)
        quiet = self._others.take()
        # Examples are to be carried out, not to run into limits: they have a web process without any.
        url = self._front if name in PROXY else f"http://127.0.0.1:{self._stack.ports[name in GENERATED]}"
        done = await in_a_process(name, url, self._random.randrange(1_000_000))
        await asyncio.sleep(AFTERMATH)
        self._rounds.append(Round(name, done, quiet, self._others.take()))
        print(self._rounds[-1].line(), flush=True)

    def _report(self) -> int:
        found = [*self._others.found, *self._broken(), *self._slow()]
        total = sum((one.done for one in self._rounds), Counter[str]())
        print(f"\n{len(self._rounds)} rounds, {sum(total.values())} things done by attackers")
        print(f"memory of all processes: {', '.join(str(bytes >> 20) for bytes in self._memory)} MB")
        print(f"found: {len(found)}")
        for what, count in Counter(found).most_common(20):
            print(f"  {count} times: {what}")
        return len(found)

    def _broken(self) -> list[str]:
        children = self._stack.processes.children
        found = [f"{child.name} ended" for child in children if not child.alive]
        found += [line for child in children for line in child.lines if "Traceback" in line or " ERROR " in line]
        found += [f"{one.name}: {one.done['server errors']} 5xx" for one in self._rounds if one.done["server errors"]]
        found += [f"{one.name}: {' '.join(one.done)}" for one in self._rounds if one.done["failed"]]
        for one, (before, after) in zip(self._rounds, itertools.pairwise(self._memory), strict=True):
            if after > GROWTH * before:
                found.append(f"{one.name}: {after / before:.2f} times the memory of before")
        return found

    def _slow(self) -> list[str]:
        """Single rounds say little on a shared machine: all rounds of an attack count together."""
        found = []
        for name in sorted({one.name for one in self._rounds}):
            rounds = [one for one in self._rounds if one.name == name]
            quiet = [seconds for one in rounds for seconds in one.quiet]
            attacked = [seconds for one in rounds for seconds in one.attacked]
            together = Round(name, Counter(), quiet, attacked)
            found += [
                f"{name}: {who} of others waited {together.ratio(share):.1f} times as long"
                for who, share in (("half", 0.5), ("the slowest", 0.99))
                if together.ratio(share) > 2
            ]
        return found


def memory(stack: Stack) -> int:
    """Bytes of all processes of web and worker."""
    parents = [psutil.Process(child.pid) for child in stack.processes.children if child.alive]
    return sum(p.memory_info().rss for parent in parents for p in (parent, *parent.children(recursive=True)))


async def in_a_process(name: str, url: str, start: int) -> Counter[str]:
    """Attack from a process of its own, which runs only while nobody else would.

    An attacker has a machine of its own, and here it shares ours: what others feel has to be what it does to Parley.
    """
    argv = [sys.executable, "-m", "tests.fuzz.attack", name, url, str(LASTS), str(start)]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stand_back(process.pid)
    try:
        said, trouble = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Counter({"failed": 1, "it did not come to an end": 1})
    if process.returncode:
        return Counter({"failed": 1, trouble.decode()[-2500:]: 1})
    return Counter(json.loads(said))


def stand_back(pid: int) -> None:
    """Give a process the lowest priority that there is."""
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def main() -> int:
    """Start a stack and attack it."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--attacks", nargs="+", choices=EVERY, default=EVERY, metavar="NAME", help="only these")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(start_redis(Path(folder), kind="redis")) as stack,
    ):
        stack.start_web(**SETTINGS)
        stack.start_web()
        stack.start_worker()
        stack.wait_ready()
        stack.pace(rate=RATE, stamped=TOKENS)
        print(f"seed {given.seed}; milliseconds to the first token of others, quiet, attacked, and how many times:")
        print(f"{'attack':<18}{'half':>22}{'99 of 100':>22}{'replies':>9}  done by the attacker")
        with caddy(stack.ports[0], Path(folder) / "caddy", tls=False) as front:
            found = asyncio.run(Fuzz(stack, front, given.seed, given.minutes, given.attacks).run())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
