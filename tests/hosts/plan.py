"""What happens to which host, and for how long; the same for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hosts.places import Host
from tests.hosts.system import ROLES

CUT, SLOW = "cut off", "slow"
#: How long a host is cut off or slow, and how long the front is cut off (seconds, from and to).
LASTS = {CUT: (10.0, 30.0), SLOW: (5.0, 15.0)}
FRONT_CUT = (5.0, 10.0)
#: A slow link: seconds that a frame needs each way, and the share of frames that get lost.
DELAY, LOSS = 0.1, 0.01


@dataclass(frozen=True)
class Fault:
    """One fault of the plan."""

    kind: str
    #: Upon which host, from 0.
    host: int
    #: How long it lasts, in seconds.
    lasts: float

    def strike(self, hosts: list[Host]) -> None:
        """Begin it."""
        link = hosts[self.host].link
        if self.kind == CUT:
            link.cut = True
        else:
            link.delay, link.loss = DELAY, LOSS


def make_plan(seed: int) -> Iterator[Fault]:
    """Faults without end: each kind upon each host once, in an order of chance, and again in another order."""
    rng = random.Random(seed)
    every = [(kind, host) for kind in LASTS for host in range(len(ROLES))]
    while True:
        for kind, host in rng.sample(every, len(every)):
            front = kind == CUT and ROLES[host] == "front"
            yield Fault(kind, host, round(rng.uniform(*(FRONT_CUT if front else LASTS[kind])), 1))
