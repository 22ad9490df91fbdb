"""The stand-in as a process: options in, its address on the first line out."""

import argparse
import asyncio
import signal
from collections.abc import Sequence

import orjson
import uvloop

from tasks.local.standin.faults import Fault
from tasks.local.standin.server import Options, Standin


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT."""
    given = _parser().parse_args(arguments)
    options = Options(given.rate, given.stamped, given.first_delay, given.token)
    standin = Standin(options)
    standin.faults.waiting += [Fault.model_validate(orjson.loads(fault)) for fault in given.fault]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(standin, given.host, given.port))


async def _serve(standin: Standin, host: str, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    address = await standin.start(host, port)
    print(f"stand-in model at {address}", flush=True)
    await ended.wait()
    await standin.aclose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.local.standin", description="A small model server that is not GPT-J."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3501, help="0 finds a free one")
    parser.add_argument("--rate", type=float, default=20.0, help="tokens per second, 0 for all at once")
    parser.add_argument("--first-delay", type=float, default=0.0, help="seconds before the first token")
    parser.add_argument("--stamped", type=int, default=0, help="replies of so many numbered and timed tokens")
    parser.add_argument("--token", default="", help="the bearer token that clients must present")
    parser.add_argument("--fault", action="append", default=[], help='as in POST /faults, e.g. {"mode":"loading"}')
    return parser


if __name__ == "__main__":
    main()
