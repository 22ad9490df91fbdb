"""How many processes, nodes and graphics cards so many people need, and what breaks first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from tasks.storage.keys import SHARDS
from tests.scaling.costs import Costs
from tests.scaling.simulation import Load, flush_rate, simulate

#: What people are taken to do: they think for up to a minute, and a reply has so many tokens at so many a second.
THINKING, TOKENS, RATE = 60.0, 100, 20.0
#: Seconds from one message of a person to the next.
CYCLE = THINKING / 2 + TOKENS / RATE
#: Share of a core that is planned for; the rest is for peaks.
PLANNED = 0.7
#: Replies that a worker process writes at once, as WORKER_CONCURRENCY has it.
PLACES = 256
#: Tokens that a flush carries at least, where it is worth its cost.
SMALLEST_BATCH = 3
#: Nodes whose shards one queue has, where there are several queues.
NODES_OF_A_QUEUE = 4
#: Connections of a worker process and of a web process to a node of Redis.
WORKER_CONNECTIONS, WEB_CONNECTIONS = 8, 5
#: Connections that a node of Redis takes, unless it is told otherwise.
MAX_CLIENTS = 10_000
#: Replies that one graphics card with 80 GB writes at once. Computed, not measured: GPT-J's weights take 12 GB of it in
#: 16 bits, and each token of a reply's window 0.46 MB (28 layers of 4,096 numbers, keys and values). With 1,000
#: tokens of each that is 0.46 GB a reply. A step then reads 70 GB, which at 2 TB/s takes 35 ms: 28 tokens a second.
REPLIES_PER_CARD = 125


@dataclass(frozen=True)
class Listening:
    """CPU seconds that news costs a process which none of it is for: for each token, and for each flush of a worker."""

    token: float
    flush: float

    def of(self, tokens: float, flushes: float) -> float:
        """CPU seconds for so many."""
        return self.token * tokens + self.flush * flushes


@dataclass(frozen=True)
class Parameters:
    """What was measured.

    `costs`: by kind of process; `heard`: what news costs a web process that it is not for, and `told`: what it costs
    Redis to send it there; `message`: CPU seconds of Redis for a message through the queue; `bytes_out`: bytes that
    Redis sends for a token to one web process; `overhead`: seconds from a free place to the first token.
    """

    costs: Mapping[str, Costs]
    heard: Listening
    told: Listening
    message: float
    bytes_out: float
    overhead: float


@dataclass(frozen=True)
class Size:
    """What so many people need.

    `replies`: written at once, on average; `places`: those that may be; `tokens`, `messages` and `flushes` of all
    workers to all nodes: a second; `cores`: that each kind of process uses; `connections`: to the node that has most;
    `network`: bits a second out of Redis; `cards`: graphics cards; `broken`: limits that are passed, each with what
    helps. The figures are those with that help.
    """

    people: int
    replies: float
    places: int
    messages: float
    tokens: float
    flushes: float
    cores: Mapping[str, float]
    web: int
    worker: int
    primaries: int
    connections: int
    network: float
    cards: int
    broken: tuple[str, ...]


def size(people: int, known: Parameters) -> Size:
    """What so many people need who chat at the same time, by what was measured."""
    messages = people / CYCLE
    tokens, replies = messages * TOKENS, messages * TOKENS / RATE
    fleet = _fleet(tokens, messages, replies, known)
    several_queues = messages * known.message > PLANNED
    primaries = 1
    while fleet.redis * _share_of_the_busiest(primaries) > PLANNED:
        primaries += 1
        # With one queue for all, any worker gets conversations of every node, and sends to each by itself.
        reached = min(primaries, NODES_OF_A_QUEUE) if several_queues else primaries
        fleet = _fleet(tokens, messages, replies, known, primaries, reached)
        if tokens / fleet.flushes < SMALLEST_BATCH and not several_queues:
            several_queues, primaries = True, 1
    connections = WORKER_CONNECTIONS * fleet.worker + WEB_CONNECTIONS * fleet.web
    limits = {
        "One Redis: its core is full. Take a cluster.": primaries > 1,
        "News: each web process gets that of all people. Lead all people of a shard to the same web processes.": (
            fleet.led
        ),
        f"One queue: its node is full, or each worker sends to all nodes, and so nearly each token by itself. Take "
        f"several queues, each for the shards of {NODES_OF_A_QUEUE} nodes.": several_queues,
        f"{SHARDS} shards: more nodes would have none. Raise SHARDS.": primaries > SHARDS,
        "Connections to a node. Raise its `maxclients`.": connections > MAX_CLIENTS,
    }
    return Size(
        people=people,
        replies=replies,
        places=fleet.worker * PLACES,
        messages=messages,
        tokens=tokens,
        flushes=fleet.flushes,
        cores={"web": fleet.web_cores, "worker": fleet.worker_cores, "redis": fleet.redis},
        web=fleet.web,
        worker=fleet.worker,
        primaries=primaries,
        connections=connections,
        network=tokens * known.bytes_out * 8 * fleet.told,
        cards=math.ceil(replies / REPLIES_PER_CARD),
        broken=tuple(sentence for sentence, passed in limits.items() if passed),
    )


def wait(people: int, places: int, seed: int = 1) -> float:
    """Seconds, below which 95 % of all messages wait for one of so many places."""
    load = Load(people, TOKENS, RATE, places, messages=4, thinking=THINKING, spread=None)
    waits = sorted(simulate(load, seed=seed).waits)
    return waits[int(len(waits) * 0.95)]


@dataclass(frozen=True)
class _Fleet:
    """All processes, and what they do; `told`: web processes that get each piece of news; `led`: people are led."""

    worker: int
    web: int
    flushes: float
    worker_cores: float
    web_cores: float
    redis: float
    told: int
    led: bool


def _fleet(
    tokens: float, messages: float, replies: float, known: Parameters, nodes: int = 1, reached: int = 1
) -> _Fleet:
    """What a fleet needs: `nodes` of Redis, `reached` of them by each worker."""
    costs = known.costs["worker"]
    # Chance makes more replies of them now and then, by a few times the root of their number.
    least = math.ceil((replies + 3 * math.sqrt(replies)) / PLACES)
    for worker in count(least):
        each = reached * flush_rate(tokens / worker / reached)
        busy = costs.token * tokens / worker + costs.flush * each + costs.reply * messages / worker + costs.idle
        if busy <= PLANNED:
            break
    flushes = worker * each
    web, web_cores, led = _webs(tokens, flushes, messages, known)
    told = math.ceil(web / SHARDS) if led else web
    mine = known.costs["redis"]
    redis = mine.token * tokens + mine.flush * flushes + mine.reply * messages + mine.idle * nodes
    redis += known.told.of(tokens, flushes) * (told - 1)
    return _Fleet(worker, web, flushes, worker * busy, web_cores, redis, told, led)


def _webs(tokens: float, flushes: float, messages: float, known: Parameters) -> tuple[int, float, bool]:
    """How many web processes there have to be, the cores that they use, and whether people have to be led to them."""
    costs = known.costs["web"]
    own = costs.token * tokens + costs.flush * flushes + costs.reply * messages
    enough = max(1, math.ceil(own / (PLANNED - costs.idle)))
    # What each one has to do whatever their number. With twice as many as there is work for, it is too much.
    for web in range(enough, 2 * enough + 1):
        cores = own + known.heard.of(tokens, flushes) * (web - 1) + costs.idle * web
        if cores / web <= PLANNED:
            return web, cores, False
    return enough, own + costs.idle * enough, True


def _share_of_the_busiest(nodes: int) -> float:
    """The largest part of the shards that one of so many nodes has."""
    return math.ceil(SHARDS / nodes) / SHARDS if nodes <= SHARDS else 1 / nodes
