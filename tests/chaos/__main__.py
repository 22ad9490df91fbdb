"""`python -m tests.chaos --seed N --minutes M`: run the storm, print the table; exit code 1 if a promise was broken."""

import argparse
import asyncio
import sys
import time

import uvloop

from tests.chaos.plan import REDIS_KINDS
from tests.chaos.report import table
from tests.chaos.run import Setup, run


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed, the same plan")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--conversations", type=int, default=Setup.conversations)
    parser.add_argument("--faults-per-minute", type=float, default=Setup.per_minute)
    parser.add_argument("--webs", type=int, default=Setup.webs)
    parser.add_argument("--workers", type=int, default=Setup.workers)
    parser.add_argument("--redis", choices=REDIS_KINDS, default=Setup.redis)
    given = parser.parse_args()
    setup = Setup(
        seed=given.seed,
        seconds=given.minutes * 60,
        conversations=given.conversations,
        per_minute=given.faults_per_minute,
        webs=given.webs,
        workers=given.workers,
        redis=given.redis,
    )
    print(f"seed {setup.seed}, {given.minutes:g} minutes, {setup.conversations} conversations", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(run(setup))
    print(table(outcome))
    sys.exit(not outcome.good)


if __name__ == "__main__":
    main()
