"""What the simulation of many people needs to know: loads, and what more web processes and more messages cost.

`make plan` finds its rows in the file that `make bench ARGS="--cases sizing"` writes, by their names.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields

import redis
from dramatiq import Message

from tasks.broker import ACTOR, QUEUE, WaitingBroker
from tasks.local.processes import Child, wait_until
from tasks.storage.keys import QUEUE_WAITING
from tests.bench.load import Plan, Result, cpu_seconds
from tests.bench.report import Row, percentile
from tests.bench.side_by_side import warm_up
from tests.bench.systems import Ours, bench_stack, family
from tests.scaling.loads import BESIDE, CHECKED, ENOUGH, FITTED
from tests.scaling.simulation import Load
from tests.support.stack import Stack

#: Seconds of silence that are measured, and until processes are silent.
SILENCE, SETTLE = 10.0, 3.0
#: Web processes beside the one that people talk to.
OTHERS = 3
#: Messages that go through the queue, and workers that take them.
MESSAGES, WORKERS = 20_000, 2


def sizing(repeat: int = 2, messages: int = MESSAGES) -> list[Row]:
    """All of it."""
    return [*_loads(repeat), *_others(repeat), *_queue(messages)]


def _loads(repeat: int) -> list[Row]:
    """What each load costs, how long messages wait, and what goes to and from Redis."""
    rows: list[Row] = []
    with bench_stack() as stack:
        for name, load in {**FITTED, **CHECKED}.items():
            results, traffic = [], [0, 0]
            for _ in range(repeat):
                with Ours(stack, WORKER_CONCURRENCY=str(load.places)) as system:
                    warm_up(system)
                    before = _bytes(stack)
                    results.append(_talk(stack, system, load))
                    traffic = [sum(pair) for pair in zip(traffic, _grown(stack, before), strict=True)]
                    if name == next(iter(FITTED)) and len(results) == 1:
                        rows += _idle(system)
            tokens = sum(result.tokens for result in results)
            for kind in results[0].cpu:
                cpu = sum(result.cpu[kind] for result in results) / tokens * 1e6
                rows.append(Row(f"{name}: CPU of {kind} for 1,000 tokens", cpu, unit="ms"))
            first = [seconds for result in results for seconds in result.first]
            seconds = sum(result.seconds for result in results) / repeat
            rows += [
                Row(f"{name}: length", seconds, unit="s"),
                Row(f"{name}: first token, p50", percentile(first, 0.5) * 1e3, unit="ms"),
                Row(f"{name}: first token, p95", percentile(first, 0.95) * 1e3, unit="ms"),
                Row(f"{name}: bytes to Redis for a token", traffic[0] / tokens),
                Row(f"{name}: bytes from Redis for a token", traffic[1] / tokens),
            ]
    return rows


def _talk(stack: Stack, system: Ours, load: Load) -> Result:
    """Let the people of a load talk."""
    stack.pace(rate=load.rate, stamped=load.tokens)
    known = {field.name for field in fields(Plan)}
    options = {name: value for name, value in asdict(load).items() if name in known}
    plan = Plan("", conversations=load.people, pause=load.thinking, **options)
    result = system.load(plan)
    if result.errors:
        raise RuntimeError(result.errors[0])
    return result


def _idle(system: Ours) -> list[Row]:
    """What processes cost that have nothing to do."""
    time.sleep(SETTLE)
    before = cpu_seconds(system.processes())
    time.sleep(SILENCE)
    after = cpu_seconds(system.processes())
    return [
        Row(f"idle: CPU of {kind} in a second", (after[kind] - before[kind]) / SILENCE * 1e3, unit="ms")
        for kind in before
    ]


def _others(repeat: int) -> list[Row]:
    """What a load costs each web process that nobody talks to, and Redis for each of them."""
    rows: list[Row] = []
    with bench_stack(WORKER_CONCURRENCY=str(ENOUGH)) as stack:
        for name in BESIDE:
            redis_cpu, their_cpu = {0: 0.0, OTHERS: 0.0}, 0.0
            for _ in range(repeat):
                for count in redis_cpu:
                    with Ours(stack) as system, _web_processes(stack, count) as pids:
                        warm_up(system)
                        before = cpu_seconds({"others": pids})["others"]
                        redis_cpu[count] += _talk(stack, system, FITTED[name]).cpu["redis"]
                        their_cpu += cpu_seconds({"others": pids})["others"] - before
            each = OTHERS * repeat / 1e3
            more = max(redis_cpu[OTHERS] - redis_cpu[0], 0.0)
            rows += [
                Row(f"beside {name}: CPU of a web process that nobody talks to", their_cpu / each, unit="ms"),
                Row(f"beside {name}: CPU of redis for it", more / each, unit="ms"),
            ]
    return rows


@contextmanager
def _web_processes(stack: Stack, count: int) -> Iterator[list[int]]:
    """The process ids of more web processes."""
    with ExitStack() as started:
        pids = []
        for _ in range(count):
            child = stack.start_web()
            started.callback(_stop, stack, child)
            stack.ports.pop()
            pids += family(child)
        yield pids


def _stop(stack: Stack, child: Child) -> None:
    child.stop()
    stack.processes.children.remove(child)


def _queue(messages: int) -> list[Row]:
    """How many messages go through the queue: each names a conversation that is gone, so there is nothing to write."""
    with bench_stack() as stack, Ours(stack, workers=0) as system, redis.Redis.from_url(stack.redis.url) as client:
        broker = WaitingBroker(stack.redis.url, max_connections=1)
        before, began = cpu_seconds(system.processes())["redis"], time.monotonic()
        for _ in range(messages):
            args = (uuid.uuid4().hex,)
            broker.enqueue(Message(queue_name=QUEUE, actor_name=ACTOR, args=args, kwargs={}, options={}))
        put = time.monotonic() - began
        broker.close()
        for _ in range(WORKERS):
            system.add_worker()
        # Some of them, so that the workers' start is not measured; and not the last, which one worker takes alone.
        marks = []
        for share in (0.9, 0.1):
            wait_until(lambda: client.zcard(QUEUE_WAITING) <= messages * share, "the queue", system.workers, 300, 0.01)  # noqa: B023
            marks.append((client.zcard(QUEUE_WAITING), time.monotonic()))
        wait_until(lambda: not client.zcard(QUEUE_WAITING), "the queue", system.workers, 300)
        cpu = cpu_seconds(system.processes())["redis"] - before
    (first, began), (last, ended) = marks
    return [
        Row("queue: messages that one process puts on it", messages / put, unit="/s"),
        Row(f"queue: messages that {WORKERS} worker processes take", (first - last) / (ended - began), unit="/s"),
        Row("queue: CPU of redis for a message", cpu / messages * 1e3, unit="ms"),
    ]


def _bytes(stack: Stack) -> tuple[int, int]:
    """What Redis has received and sent since it started, in bytes."""
    with redis.Redis.from_url(stack.redis.url) as client:
        stats = client.info("stats")
    return stats["total_net_input_bytes"], stats["total_net_output_bytes"]


def _grown(stack: Stack, before: tuple[int, int]) -> list[int]:
    return [now - then for now, then in zip(_bytes(stack), before, strict=True)]
