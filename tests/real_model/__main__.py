"""`python -m tests.real_model`: every check in turn, its result on a line, and exit code 1 if one failed.

It installs torch and transformers into a virtual environment of their own, and for our own server, optimum-intel into
another (two minutes); `--venv` keeps both.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.real_model import budget, chat, client, exported
from tests.real_model.exported import Exported, exported_server
from tests.real_model.server import RealServer, real_server

T = TypeVar("T")


def main() -> int:
    """Install, build, serve, check; the exit code."""
    parser = argparse.ArgumentParser(description="Check Parley against transformers serve with a tiny GPT-J.")
    parser.add_argument("--venv", type=Path, help="where to install, or where it is installed")
    logging.basicConfig(level=logging.ERROR)  # what the model client warns of, the checks see
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        venv = parser.parse_args().venv or scratch / "venv"
        with real_server(venv, scratch) as server:
            good = asyncio.run(_check_all(server, scratch))
        with exported_server(venv.with_name(f"{venv.name}-export"), scratch) as ours:
            good += asyncio.run(_check_exported(ours))
    print(f"{sum(good)} of {len(good)} passed", flush=True)
    return 0 if all(good) else 1


async def _check_all(server: RealServer, scratch: Path) -> list[bool]:
    good = [await _passes(check, server) for check in (*budget.TOKENIZER_CHECKS, *client.CHECKS)]
    async with chat.whole(server, scratch) as everything:
        good += [await _passes(check, everything) for check in (*chat.CHECKS, *budget.CHAT_CHECKS)]
    return good


async def _check_exported(server: Exported) -> list[bool]:
    return [await _passes(check, server) for check in exported.CHECKS]


async def _passes(check: Callable[[T], Awaitable[str]], subject: T) -> bool:
    """Whether it did; a failure does not keep the next check from being made."""
    name = (check.__doc__ or "").strip()
    began = time.monotonic()
    try:
        figures = await check(subject)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} at {where.line}: {str(error)[:1000]}"
        print(f"FAIL {name}\n     {said}", flush=True)
        return False
    print(f"pass {name}\n     {figures} ({time.monotonic() - began:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
