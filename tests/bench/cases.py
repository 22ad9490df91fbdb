"""The other bars of `make bench`, each measured on a stack of its own; every function returns its rows."""

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import orjson
import psutil
import redis

from tasks.local.processes import wait_until
from tasks.storage import scripts
from tasks.storage.keys import ConversationKeys, conversation_id
from tests.bench.load import Plan, cpu_seconds
from tests.bench.monitor import Monitor
from tests.bench.report import Row, percentile
from tests.bench.systems import Load, Ours, bench_stack
from tests.support.stack import Stack

#: The hash that Redis knows the script by.
TAKE = hashlib.sha1(scripts.TAKE.text, usedforsecurity=False).hexdigest()
#: Seconds of silence that are measured.
SILENCE = 15.0
#: How often each length is opened in turn: one round is too short for the system's clock of CPU time.
OPENING_ROUNDS = 4
#: Seconds until a process that has just started, or has just answered, is as idle as it gets.
SETTLE = 3.0


@contextmanager
def ours(*, workers: int = 1, **settings: str) -> Iterator[tuple[Stack, Ours]]:
    """Parley on a stack of its own, warmed up."""
    with bench_stack(**settings) as stack, Ours(stack, workers=workers) as system:
        stack.pace(rate=0, stamped=5)
        system.load(Plan("", conversations=10, tokens=5, spread=0.1))
        yield stack, system


def client(stack: Stack) -> redis.Redis:
    """A connection of our own."""
    return redis.Redis.from_url(stack.redis.url, decode_responses=True, protocol=2, socket_timeout=60)


def pickup(count: int = 200) -> list[Row]:
    """From a message's arrival in the idle queue to the worker's taking its conversation, by Redis' own clock."""
    with (
        ours() as (stack, system),
        Monitor(
            stack.redis.port, "RPUSH", hashlib.sha1(scripts.TAKE.text, usedforsecurity=False).hexdigest()
        ) as monitor,
    ):
        system.load(Plan("", conversations=1, messages=count, tokens=5))
        pushed: float | None = None
        waits: list[float] = []
        for line in monitor.lines():
            if line.command == "RPUSH":
                pushed = line.time
            elif pushed is not None:
                waits.append((line.time - pushed) * 1e3)
                pushed = None
    note = f"of {len(waits)}"
    return [
        Row("picking up a message, p50", percentile(waits, 0.5), 5, unit="ms", note=note),
        Row("picking up a message, p99", percentile(waits, 0.99), 20, unit="ms", note=note),
    ]


def idle(sockets: int = 1000) -> list[Row]:
    """Commands a second that processes send when nothing happens."""
    with ours() as (stack, system):
        ports = {port: kind for kind in ("web", "worker") for port in _ports(system.processes()[kind])}
        sessions = _conversations(stack, sockets)
        plan = Plan("", conversations=sockets, messages=0, sessions=sessions, stay=SETTLE + SILENCE + 5)
        with Load(system, plan) as load:
            load.wait("done")
            time.sleep(SETTLE)
            ports |= {port: kind for kind in ("web", "worker") for port in _ports(system.processes()[kind])}
            with Monitor(stack.redis.port) as monitor:
                time.sleep(SILENCE)
                lines = monitor.lines()
    sent = {kind: sum(ports.get(line.port) == kind for line in lines) / SILENCE for kind in ("web", "worker")}
    return [
        Row("Redis commands of an idle worker process", sent["worker"], 3, unit="/s"),
        Row(f"Redis commands of an idle web process, {sockets:,} sockets", sent["web"], 3, unit="/s"),
    ]


def sockets(count: int = 10_000) -> list[Row]:
    """Open sockets of one web process that nobody talks on."""
    with ours() as (stack, system):
        before = system.memory()["web"]
        sessions = _conversations(stack, count)
        plan = Plan("", conversations=count, messages=0, sessions=sessions, stay=SETTLE + SILENCE + 10)
        with Load(system, plan) as load:
            load.wait("done")
            time.sleep(SETTLE)
            processes = {"web": system.processes()["web"]}
            memory, cpu = system.memory()["web"] - before, cpu_seconds(processes)["web"]
            time.sleep(SILENCE)
            cpu = cpu_seconds(processes)["web"] - cpu
            connections = len(_connections(stack, processes["web"]))
    return [
        Row(f"memory of an idle socket, {count:,} open", memory / count / 1024, 45, unit="KB"),
        Row(f"CPU of {count:,} idle sockets", cpu / SILENCE * 100, 2, unit="%"),
        Row(f"Redis connections of a web process, {count:,} sockets", connections, 4),
    ]


def connections(count: int = 64) -> list[Row]:
    """Redis connections while one web and one worker process are busy."""
    with ours() as (stack, system):
        stack.pace(rate=20, stamped=60)
        pids = [pid for kind in ("web", "worker") for pid in system.processes()[kind]]
        most = 0
        with Load(system, Plan("", conversations=count, tokens=60)) as load:
            load.wait("connected")
            while not load.over:
                most = max(most, len(_connections(stack, pids)))
                time.sleep(0.05)
            load.result()
    return [Row(f"Redis connections, {count} replies at once", most, 14)]


def length(short: int = 10, long: int = 5000, repeat: int = 3) -> list[Row]:
    """What a turn costs Redis and the worker, by the length of the conversation."""
    people, turns, tokens = 20, 3, 50
    cpu = {short: 0.0, long: 0.0}
    with ours() as (stack, system):
        stack.pace(rate=100, stamped=tokens)
        for _ in range(repeat):
            for size in cpu:
                sessions = _conversations(stack, people, messages=size)
                plan = Plan("", conversations=people, messages=turns, tokens=tokens, sessions=sessions, spread=0.3)
                result = system.load(plan)
                if result.errors:
                    raise RuntimeError(result.errors[0])
                cpu[size] += result.cpu["redis"] + result.cpu["worker"]
                client(stack).flushall()
    each = {size: seconds / (people * turns * repeat) * 1e3 for size, seconds in cpu.items()}
    note = f"{each[long]:.1f} / {each[short]:.1f} ms of CPU, {tokens} tokens"
    return [Row(f"a turn's cost, {long:,} messages / {short}", each[long] / each[short], 1.1, note=note)]


def opening(short: int = 10, long: int = 5000, repeat: int = 200) -> list[Row]:
    """What opening a conversation costs web and Redis, by its length."""
    cpu = {short: 0.0, long: 0.0}
    with ours() as (stack, system):
        for size in (short, long) * OPENING_ROUNDS:
            sessions = _conversations(stack, repeat, messages=size)
            before = cpu_seconds(system.processes())
            result = system.load(Plan("", conversations=repeat, messages=0, sessions=sessions, spread=2.0))
            if result.errors:
                raise RuntimeError(result.errors[0])
            after = cpu_seconds(system.processes())
            opened = sum(after[kind] - before[kind] for kind in ("redis", "web"))
            cpu[size] += opened / repeat / OPENING_ROUNDS * 1e3
            client(stack).flushall()
    note = f"{cpu[long]:.2f} / {cpu[short]:.2f} ms of CPU"
    return [Row(f"opening a conversation, {long:,} messages / {short}", cpu[long] / cpu[short], 1.2, note=note)]


def workers(places: int = 8) -> list[Row]:
    """Replies at once, by worker processes."""
    found: list[Row] = []
    at_once: dict[int, int] = {}
    with ours(workers=0, WORKER_CONCURRENCY=str(places)) as (stack, system):
        for number in (1, 2, 4):
            while len(system.workers) < number:
                system.add_worker()
            _wait_for_workers(stack, number)
            at_once[number] = _most_open(stack, system, places * 6)
    for number in (2, 4):
        note = f"{at_once[number // 2]} → {at_once[number]}"
        growth = at_once[number] / at_once[number // 2]
        found.append(
            Row(f"replies at once, {number // 2} → {number} worker processes", growth, 1.9, at_least=True, note=note)
        )
    return found


def waiting(places: int = 8) -> list[Row]:
    """Messages that one process holds back while it is full and another has nothing to do."""
    with ours(WORKER_CONCURRENCY=str(places)) as (stack, system):
        stack.pace(rate=10, stamped=80)
        count = places + places // 2
        with Load(system, Plan("", conversations=count, tokens=80, spread=0.1)) as load:
            load.wait("connected")
            wait_until(lambda: stack.model_stats()["open"] == places, "the first process to be full")
            time.sleep(1)
            system.add_worker()
            _wait_for_workers(stack, 2)
            time.sleep(1)
            left = count - stack.model_stats()["open"]
            load.result()
    return [Row("messages waiting behind a busy process while another idles", left, 0)]


def memory(first: int = 1000, then: int = 10_000) -> list[Row]:
    """Resident memory after many replies, against after some."""
    # Few, so that after the first replies already a turn reads as much as it ever does.
    people = 20
    with ours() as (_, system):
        sizes = []
        for replies in (first, then - first):
            result = system.load(Plan("", conversations=people, messages=replies // people, tokens=5, pause=0))
            if result.errors:
                raise RuntimeError(result.errors[0])
            time.sleep(SETTLE)
            sizes.append(system.memory())
    return [
        Row(
            f"memory of the {kind} process, after {then:,} / {first:,} replies",
            sizes[1][kind] / sizes[0][kind],
            1.05,
            note=f"{sizes[1][kind] / 2**20:.1f} / {sizes[0][kind] / 2**20:.1f} MB",
        )
        for kind in ("worker", "web")
    ]


def growth(steps: tuple[int, ...] = (10, 50, 100, 150, 200)) -> list[Row]:
    """CPU, memory and Redis commands, by conversations at once: how Parley's cost grows."""
    rows: list[Row] = []
    with ours(WORKER_CONCURRENCY="512") as (stack, system):
        stack.pace(rate=20, stamped=100)
        for people in steps:
            before = _commands(stack)
            result = system.load(Plan("", conversations=people))
            commands = (_commands(stack) - before) / result.seconds
            for kind, seconds in result.cpu.items():
                what = f"{people} conversations: CPU of {kind}"
                rows.append(Row(what, seconds / result.seconds * 100, unit="%"))
            for kind, size in system.memory().items():
                rows.append(Row(f"{people} conversations: memory of {kind}", size / 2**20, unit="MB"))
            rows.append(Row(f"{people} conversations: Redis commands, scripts' own included", commands, unit="/s"))
    return rows


def _commands(stack: Stack) -> int:
    with client(stack) as own:
        total: int = own.info("stats")["total_commands_processed"]
        return total


def _most_open(stack: Stack, system: Ours, count: int) -> int:
    """How many replies run at once when more people ask than there are places."""
    stack.pace(rate=20, stamped=40)
    httpx.delete(f"{stack.model_url}/stats").raise_for_status()
    with Load(system, Plan("", conversations=count, tokens=40, spread=0.1)) as load:
        result = load.result()
        if result.errors:
            raise RuntimeError(result.errors[0])
    most: int = stack.model_stats()["most_open"]
    return most


def _wait_for_workers(stack: Stack, number: int) -> None:
    def alive() -> int:
        with client(stack) as own:
            return sum(name.startswith("worker:") for name in own.zrange("parley:{processes}:alive", 0, -1))

    wait_until(lambda: alive() >= number, "the workers")


def _conversations(stack: Stack, count: int, messages: int = 0) -> list[str]:
    """Make conversations of this length; returns their tokens."""
    tokens = [str(uuid.uuid4()) for _ in range(count)]
    talk = [
        {"id": str(number), "role": ("human", "bot")[number % 2], "text": f"This is number {number}.", "timestamp": ""}
        for number in range(messages)
    ]
    with client(stack) as own, own.pipeline(transaction=False) as pipe:
        for token in tokens:
            keys = ConversationKeys(conversation_id(token))
            document = {"token": token, "name": "Ada", "session_start": "", "messages": talk}
            pipe.execute_command("JSON.SET", keys.document, "$", orjson.dumps(document))
            pipe.hset(keys.state, "count", messages)
        pipe.execute()
    return tokens


def _ports(pids: list[int]) -> set[int]:
    """The processes' own ends of their TCP connections."""
    return {end.laddr.port for pid in pids for end in psutil.Process(pid).net_connections("tcp") if end.raddr}


def _connections(stack: Stack, pids: list[int]) -> set[int]:
    """Their connections to Redis."""
    return {
        end.laddr.port
        for pid in pids
        for end in psutil.Process(pid).net_connections("tcp")
        if end.raddr and end.raddr.port == stack.redis.port
    }
