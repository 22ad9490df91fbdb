"""What a load does to Parley, message by message: who waits, how long, and how often a worker sends to Redis.

People say something, wait for the reply, think, and say the next thing. A message waits in one queue until a worker has
a free place. The model gives the tokens of a reply one by one, and a worker sends the tokens of all its replies
together, once a display frame. On a cluster it does so for each node by itself.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from tasks.worker.publisher import FLUSH_DELAY


@dataclass(frozen=True)
class Load:
    """People who talk.

    Args:
        people: how many.
        tokens: of each reply.
        rate: tokens a second of a reply.
        places: replies that are written at once; all other messages wait.
        messages: what each person says, one thing after the reply to the other.
        thinking: seconds, at most, between a reply's end and the next message; evenly spread from 0.
        spread: seconds over which the first messages are spread; None if people have been chatting for long.
    """

    people: int
    tokens: int
    rate: float
    places: int
    messages: int = 3
    thinking: float = 0.2
    spread: float | None = 1.0

    @property
    def seconds(self) -> float:
        """Seconds that a reply takes from its first token to its last."""
        return self.tokens / self.rate


@dataclass
class Outcome:
    """What came of a load.

    `waits`: seconds that each message waited for a place; `starts`: when each reply began; `seconds`: from the first
    message to the last token; `most`: replies that were written at once, at most.
    """

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    most: int = 0


class _What(Enum):
    ASKS = auto()
    ENDS = auto()


def simulate(load: Load, *, overhead: float = 0.0, seed: int = 1) -> Outcome:
    """Play a load.

    Args:
        load: the people, and the places they find.
        overhead: seconds that a place is taken beyond the tokens of its reply.
        seed: of chance; the same seed gives the same outcome.
    """
    chance = random.Random(seed)
    events = [(_first(load, chance), number, _What.ASKS) for number in range(load.people)]
    heapq.heapify(events)
    left = [load.messages] * load.people
    queue: deque[tuple[float, int]] = deque()
    outcome = Outcome()
    now, busy = events[0][0], 0
    began = now
    while events:
        now, person, what = heapq.heappop(events)
        if what is _What.ASKS:
            left[person] -= 1
            queue.append((now, person))
        else:
            busy -= 1
            if left[person]:
                heapq.heappush(events, (now + chance.uniform(0, load.thinking), person, _What.ASKS))
        while queue and busy < load.places:
            asked, next_person = queue.popleft()
            outcome.waits.append(now - asked)
            outcome.starts.append(now)
            busy += 1
            heapq.heappush(events, (now + load.seconds + overhead, next_person, _What.ENDS))
        outcome.most = max(outcome.most, busy)
    outcome.seconds = now - began
    return outcome


def _first(load: Load, chance: random.Random) -> float:
    """When somebody says the first thing."""
    if load.spread is not None:
        return chance.uniform(0, load.spread)
    # Who is looked at while thinking is rather in a long thought than in a short one. This is what is left of it.
    return load.thinking * (1 - math.sqrt(chance.random()))


def flushes(load: Load, outcome: Outcome) -> int:
    """How often one worker process sends something in a load, token by token.

    The first token of a reply is sent at once, and takes along what waits. Any other waits for a display frame. Replies
    that began together, as places became free, have their tokens together too.
    """
    tokens = sorted(
        (start + number / load.rate, number == 0) for start in outcome.starts for number in range(load.tokens)
    )
    count, due = 0, math.inf
    for now, is_first in tokens:
        if due <= now:
            count, due = count + 1, math.inf
        if is_first:
            count, due = count + 1, math.inf
        elif due == math.inf:
            due = now + FLUSH_DELAY
    return count + (due < math.inf)


def flush_rate(tokens: float) -> float:
    """How often a second a worker process sends what it has, with tokens that come evenly.

    Each that finds none waiting waits for a display frame, and takes along what comes meanwhile.

    Args:
        tokens: that its replies get, a second.
    """
    return tokens / (1 + tokens * FLUSH_DELAY)
