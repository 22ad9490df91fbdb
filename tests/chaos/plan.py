"""The storm as a plan: which fault, when, upon whom and for how long; the same for the same seed and length."""

import random
from dataclasses import dataclass

#: How often each kind comes, relative to the others, and how long it lasts (seconds, from and to).
KINDS: dict[str, tuple[int, float, float]] = {
    "worker killed": (22, 0.2, 3.0),
    "worker told to go": (8, 0.0, 0.5),
    "worker paused": (8, 1.0, 12.0),
    "web killed": (12, 0.2, 3.0),
    "web told to go": (6, 0.0, 0.5),
    "web paused": (5, 1.0, 6.0),
    "redis killed": (5, 0.0, 2.0),
    "redis told to go": (4, 0.0, 2.0),
    "redis connections cut": (8, 0.0, 0.0),
    "redis stalled": (5, 0.3, 6.0),
    "redis slow": (4, 1.0, 5.0),
    "redis forgets scripts": (4, 0.0, 0.0),
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


def make_plan(seed: int, seconds: float, per_minute: float) -> list[Fault]:
    """The faults of a storm, in order: each kind once, if so many are wanted, and the rest as often as `KINDS` says."""
    rng = random.Random(seed)
    number = max(1, round(seconds / 60 * per_minute))
    times = sorted(rng.uniform(0, seconds) for _ in range(number))
    weights = [weight for weight, _, _ in KINDS.values()]
    kinds = [*KINDS, *rng.choices(list(KINDS), weights, k=max(0, number - len(KINDS)))]
    rng.shuffle(kinds)
    return [_fault(rng, at, kind) for at, kind in zip(times, kinds, strict=False)]


def _fault(rng: random.Random, at: float, kind: str) -> Fault:
    _, shortest, longest = KINDS[kind]
    return Fault(round(at, 2), kind, round(rng.uniform(shortest, longest), 2), rng.randrange(1 << 30))
