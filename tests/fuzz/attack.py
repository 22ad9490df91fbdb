"""One attack in a process of its own: `python -m tests.fuzz.attack NAME URL SECONDS SEED` prints what it did."""

import asyncio
import json
import os
import sys
from collections import Counter

from tests.fuzz.attacks import ATTACKS, Target
from tests.fuzz.generated import GENERATED


async def attack(name: str, url: str, seconds: float, seed: int) -> Counter[str]:
    """Run one of ATTACKS; returns what was done, and what came of it, by kind."""
    target = Target(url, seconds, seed)
    await ATTACKS[name](target)
    return target.done


def main(name: str, url: str, seconds: str, seed: str) -> None:
    """Run one attack of either kind."""
    # The attacker is meant to use up Parley's strength, not the machine's that others share with it.
    os.nice(5)
    if name in GENERATED:
        done = GENERATED[name](url, float(seconds), int(seed))
    else:
        done = asyncio.run(attack(name, url, float(seconds), int(seed)))
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
