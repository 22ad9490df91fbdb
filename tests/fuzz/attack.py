"""One attack in a process of its own: `python -m tests.fuzz.attack NAME URL SECONDS SEED` prints what it did."""

import asyncio
import json
import sys
import traceback
from collections import Counter

from tests.fuzz.attacks import ATTACKS, Target
from tests.fuzz.generated import GENERATED


async def attack(name: str, url: str, seconds: float, seed: int) -> Counter[str]:
    """Run one of ATTACKS; returns what was done, and what came of it, by kind."""
    target = Target(url, seconds, seed)
    await ATTACKS[name](target)
    return target.done


def in_short(error: Exception, seed: str) -> str:
    """What went wrong, where, and the example that does it again."""
    where = [frame for frame in traceback.extract_tb(error.__traceback__) if "tests/fuzz/talks" in frame.filename]
    line = f"{where[-1].name}: {where[-1].line}" if where else ""
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"seed {seed}: {type(error).__name__} {str(error)[:300]} in {line} with {notes[:1500]}"


def main(name: str, url: str, seconds: str, seed: str) -> None:
    """Run one attack of either kind."""
    if name in GENERATED:
        try:
            done = GENERATED[name](url, float(seconds), int(seed))
        except Exception as error:
            sys.exit(in_short(error, seed))
    else:
        done = asyncio.run(attack(name, url, float(seconds), int(seed)))
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
