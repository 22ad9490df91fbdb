"""The storm as a plan: which fault, when, upon whom and for how long; the same for the same seed and length."""

import random
from dataclasses import dataclass

#: How often each kind of fault comes, relative to the others, and how long it lasts (seconds, from and to).
Kinds = dict[str, tuple[int, float, float]]
#: Faults of each kind of Redis.
REDIS_KINDS: dict[str, Kinds] = {
    "single": {
        "redis killed": (5, 0.0, 2.0),
        "redis told to go": (4, 0.0, 2.0),
        "redis connections cut": (8, 0.0, 0.0),
        "redis stalled": (5, 0.3, 6.0),
        "redis slow": (4, 1.0, 5.0),
        "redis forgets scripts": (4, 0.0, 0.0),
    },
    "cluster": {
        "redis primary killed": (16, 4.0, 9.0),
        "redis primary silent": (6, 4.0, 30.0),
        "redis primary replaced": (30, 0.0, 0.0),
        "redis slots moved": (60, 0.0, 0.0),
        "redis replica silent": (8, 1.0, 5.0),
        "redis forgets scripts": (8, 0.0, 0.0),
    },
}
OTHER_KINDS: Kinds = {
    "worker killed": (22, 0.2, 3.0),
    "worker told to go": (8, 0.0, 0.5),
    "worker paused": (8, 1.0, 12.0),
    "web killed": (12, 0.2, 3.0),
    "web told to go": (6, 0.0, 0.5),
    "web paused": (5, 1.0, 6.0),
    "sockets cut": (10, 0.0, 0.0),
    "sockets stalled": (6, 1.0, 5.0),
    "pages reloaded": (8, 0.0, 0.0),
    "messages sent twice": (8, 0.0, 0.0),
    "replies stopped": (8, 0.0, 0.0),
    "model cut": (6, 0.0, 0.0),
    "model silent": (4, 0.0, 0.0),
    "model error": (5, 0.0, 0.0),
    "model unavailable": (5, 0.0, 0.0),
}


@dataclass(frozen=True)
class Fault:
    """One fault of the plan."""

    #: Seconds after the start of the storm.
    at: float
    kind: str
    #: How long it lasts, in seconds.
    lasts: float
    #: Decides upon whom: the same number, the same choice among the same candidates.
    chance: int


def kinds_of(redis: str) -> Kinds:
    """All kinds of fault of a run on `redis`: single or cluster."""
    return {**OTHER_KINDS, **REDIS_KINDS[redis]}


def make_plan(seed: int, seconds: float, per_minute: float, redis: str = "single") -> list[Fault]:
    """The faults of a storm, in order: each kind once, if so many are wanted, and the rest as often as `Kinds` says."""
    rng = random.Random(seed)
    number = max(1, round(seconds / 60 * per_minute))
    times = sorted(rng.uniform(0, seconds) for _ in range(number))
    known = kinds_of(redis)
    weights = [weight for weight, _, _ in known.values()]
    kinds = [*known, *rng.choices(list(known), weights, k=max(0, number - len(known)))]
    rng.shuffle(kinds)
    return [_fault(rng, at, kind, known) for at, kind in zip(times, kinds, strict=False)]


def _fault(rng: random.Random, at: float, kind: str, known: Kinds) -> Fault:
    _, shortest, longest = known[kind]
    return Fault(round(at, 2), kind, round(rng.uniform(shortest, longest), 2), rng.randrange(1 << 30))
