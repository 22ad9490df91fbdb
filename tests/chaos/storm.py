"""Carries the plan out: kills, pauses and restarts real processes, breaks connections, and has the model misbehave."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from tasks.errors import StorageError
from tasks.local.processes import Child
from tasks.storage.client import RedisClient
from tasks.storage.keys import TAGS, ConversationKeys, slot_of_tag
from tests.chaos.person import Person
from tests.chaos.plan import Fault
from tests.support.client import NO_TLS
from tests.support.inside import pids
from tests.support.proxy import Proxy
from tests.support.stack import PATIENCE, Stack, answers

#: Requests that one model fault lets through before the next one of a burst, and how many of a burst there are.
BURST = 8


@dataclass
class Takeover:
    """A reply whose worker was killed."""

    person: Person
    reply: str
    at: float


@dataclass
class Storm:
    """What blows, and what it has done so far."""

    stack: Stack
    proxy: Proxy | None
    people: list[Person]
    webs: list[Child]
    workers: list[Child]
    done: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    takeovers: list[Takeover] = field(default_factory=list)
    #: When each fault that a reply may have to wait for began and ended, and its kind.
    troubles: list[tuple[float, float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        #: Reads behind the storm's back.
        self.redis = RedisClient(self.stack.redis.url, max_connections=2)
        self._busy: set[Child] = set()
        self._redis_away = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.redis.aclose()

    async def blow(self, plan: list[Fault]) -> None:
        """Carry out the plan, and wait until the last fault of it is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as under_way:
            for fault in plan:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                under_way.create_task(self._carry_out(fault))

    async def calm(self) -> None:
        """Nothing is wrong any more."""
        self.stack.clear_faults()
        for child in (*self.webs, *self.workers):
            if not child.alive:
                await asyncio.to_thread(child.start)

    async def _carry_out(self, fault: Fault) -> None:
        rng = random.Random(fault.chance)
        who, _, what = fault.kind.partition(" ")
        began = time.monotonic()
        carried_out = await self._strike(who, what, fault, rng)
        (self.done if carried_out else self.skipped)[fault.kind] += 1
        self.troubles.append((began, time.monotonic(), fault.kind))

    async def _strike(self, who: str, what: str, fault: Fault, rng: random.Random) -> bool:
        match who:
            case "worker":
                return await self._strike_process(self.workers, what, fault.lasts, rng)
            case "web":
                return await self._strike_process(self.webs, what, fault.lasts, rng)
            case "redis":
                return await self._strike_redis(what, fault, rng)
            case "model":
                return await self._strike_model(what, rng)
            case _:
                return await self._strike_people(fault, rng)

    async def _strike_process(self, some: list[Child], what: str, lasts: float, rng: random.Random) -> bool:
        free = [child for child in some if child not in self._busy]
        if not free:
            return False
        child = rng.choice(free)
        self._busy.add(child)
        try:
            await self._process_faults()[what](child, lasts)
        finally:
            self._busy.discard(child)
        return True

    def _process_faults(self) -> dict[str, Callable[[Child, float], Awaitable[None]]]:
        return {"killed": self._kill, "told to go": self._tell_to_go, "paused": self._pause}

    async def _kill(self, child: Child, lasts: float) -> None:
        killed = pids(child)
        if child in self.workers:
            held = await self._held_by(killed)
            child.signal_group(signal.SIGKILL)
            now = time.monotonic()
            self.takeovers += [Takeover(person, reply, now) for person, reply in held]
        await asyncio.to_thread(child.kill)
        await asyncio.sleep(lasts)
        await self._start(child)

    async def _tell_to_go(self, child: Child, lasts: float) -> None:
        await asyncio.to_thread(child.stop)
        await asyncio.sleep(lasts)
        await self._start(child)

    async def _pause(self, child: Child, lasts: float) -> None:
        child.signal_group(signal.SIGSTOP)
        await asyncio.sleep(lasts)
        child.signal_group(signal.SIGCONT)

    async def _start(self, child: Child) -> None:
        await asyncio.to_thread(child.start)
        if child in self.webs:
            url = f"http://127.0.0.1:{self.stack.ports[self.webs.index(child)]}/healthz"
            while not await asyncio.to_thread(answers, url) and child.alive:
                await asyncio.sleep(0.1)

    async def _held_by(self, processes: set[int]) -> list[tuple[Person, str]]:
        """Whose reply one of these processes is writing, with words of it shown already."""
        talking = [p for p in self.people if p.view and p.view["reply"] and p.view["reply"].get("text")]
        if not talking:
            return []
        asked = [("HGET", ConversationKeys(person.conversation).state, "owner") for person in talking]
        try:
            owners = await self.redis.pipeline(*asked)
        except StorageError:  # Redis is away as well; this one is not counted
            return []
        return [
            (person, person.view["reply"]["id"])
            for person, owner in zip(talking, owners, strict=True)
            if owner and int(owner.split(b":")[1]) in processes and person.view and person.view["reply"]
        ]

    async def _strike_redis(self, what: str, fault: Fault, rng: random.Random) -> bool:
        if self.proxy is None:
            async with self._redis_away:
                return await self._strike_cluster(what, fault.lasts, rng)
        redis, lasts = self.stack.redis, fault.lasts
        match what:
            case "killed" | "told to go":
                async with self._redis_away:
                    # What a busy disk keeps back for a moment would be lost by a kill, as README says; that is not
                    # what is looked for here.
                    await self.redis.command("CONFIG", "SET", "appendfsync", "always")
                    await asyncio.to_thread(redis.kill if what == "killed" else redis.stop)
                    await asyncio.sleep(lasts)
                    await asyncio.to_thread(redis.start)
            case "connections cut":
                self.proxy.cut()
            case "stalled":
                await self.proxy.stall(lasts)
            case "slow":
                await self.proxy.slow(0.01, lasts)
            case "forgets scripts":
                async with self._redis_away:
                    await self.redis.command("SCRIPT", "FLUSH")
        return True

    async def _strike_cluster(self, what: str, lasts: float, rng: random.Random) -> bool:
        """One at a time, and the next when the cluster is whole: what two nodes lose together is lost."""
        cluster: Any = self.stack.redis
        primaries = await asyncio.to_thread(cluster.primaries_now)
        primary = rng.choice(primaries)
        replica = await asyncio.to_thread(cluster.replica_of, primary)
        match what:
            case "primary killed":
                primary.kill()
                await asyncio.sleep(lasts)
                await asyncio.to_thread(primary.start)
            case "primary silent" | "replica silent":
                child = (primary if what.startswith("primary") else replica).child
                child.signal_group(signal.SIGSTOP)
                await asyncio.sleep(lasts)
                child.signal_group(signal.SIGCONT)
            case "primary replaced":
                await asyncio.to_thread(cluster.fail_over, replica)
            case "slots moved":
                await asyncio.to_thread(self._move_slots, cluster, primary, primaries, rng)
            case "forgets scripts":
                await asyncio.to_thread(cluster.forget_scripts)
        await asyncio.to_thread(cluster.wait_whole)
        return True

    def _move_slots(self, cluster: Any, source: Any, primaries: list[Any], rng: random.Random) -> None:
        """Some of the slots in use at one node move to another one: conversations', the queue's or the processes'."""
        target = rng.choice([node for node in primaries if node is not source])
        here = [slot for slot in map(slot_of_tag, (*TAGS, "queue", "processes")) if cluster.primary_of(slot) is source]
        for slot in rng.sample(here, min(len(here), rng.randint(1, 4))):
            cluster.move(slot, source, target)

    async def _strike_model(self, what: str, rng: random.Random) -> bool:
        faults = {
            "cut": {"mode": "cut", "after": rng.randrange(1, 30)},
            "silent": {"mode": "silent", "after": rng.randrange(1, 30)},
            "error": {"mode": "error", "after": rng.randrange(1, 30)},
            "unavailable": {"mode": "status", "status": 503},
        }
        async with httpx.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as http:
            await http.post(f"{self.stack.model_url}/faults", json={**faults[what], "count": BURST})
        return True

    async def _strike_people(self, fault: Fault, rng: random.Random) -> bool:
        some = rng.sample(self.people, max(1, len(self.people) // 5))
        for person in some:
            match fault.kind:
                case "sockets cut":
                    person.cut()
                case "pages reloaded":
                    person.reload()
        match fault.kind:
            case "sockets stalled":
                await asyncio.gather(*(person.stall(fault.lasts) for person in some))
            case "messages sent twice":
                await asyncio.gather(*(person.say_again() for person in some))
            case "replies stopped":
                await asyncio.gather(*(person.stop() for person in some[: len(some) // 2 + 1]))
        return True
