"""`make hosts`: hold a conversation in a browser while hosts are cut off and slowed; exit code 1 if a word is wrong.

It needs root on Linux, TAP devices, Chromium and Caddy; without them it says so and ends with exit code 2.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tasks.local.embedded_redis import candidates
from tasks.local.processes import ROOT
from tests.bench_page.tab import CHROMIUM
from tests.hosts.places import NetworkError, hosts, lacks, lacks_tap
from tests.hosts.report import table
from tests.hosts.run import run
from tests.hosts.system import ROLES, parley


def main() -> int:
    """Run once; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed, the same faults")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="seconds in which faults begin; in 300, each host has each kind"
    )
    given = parser.parse_args()
    if reason := lacks() or lacks_tap() or lacks_programs():
        print(reason, file=sys.stderr)
        return 2
    print(f"seed {given.seed}, {given.seconds:g} seconds", flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="parley-hosts-") as folder,
            hosts(len(ROLES), given.seed) as all_,
            parley(all_, Path(folder)) as system,
        ):
            outcome = asyncio.run(run(system, given.seed, given.seconds))
    except NetworkError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(table(outcome))
    return 1 if outcome.wrong else 0


def lacks_programs() -> str | None:
    """What else this machine lacks, in a sentence; None if there is all."""
    if shutil.which("caddy") is None:
        return "There is no Caddy on this machine."
    if not any(map(shutil.which, CHROMIUM)):
        return "There is no Chromium on this machine."
    if all(candidate.kind == "fakeredis" for candidate in candidates()):
        return "There is no Redis with JSON on this machine."
    if not (ROOT / "frontend" / "dist" / "index.html").exists():
        return "The page is not built: `npm run build` in frontend does it."
    return None


if __name__ == "__main__":
    sys.exit(main())
