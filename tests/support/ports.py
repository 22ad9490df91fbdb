"""Ports for the servers of tests, which run side by side."""

import socket
from collections.abc import Iterator

from tasks.local.embedded_redis import LOOPBACK

#: Where ranges of ports begin, one range for each process that tests; below those that systems give out by themselves.
RANGES = range(20_000, 32_000, 400)


def own_port() -> int:
    """A free port that nobody else takes before it is listened on, nor while who listened there starts again.

    One that the system gives out is anybody's until then, also that of other tests, which run beside this.
    """
    return next(_own_ports)


def _ports() -> Iterator[int]:
    with socket.socket() as mark:
        # Who has the first port has the range.
        first = next(port for port in RANGES if _bound(mark, port))
        while True:
            yield from filter(_free, range(first + 1, first + RANGES.step))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return _bound(probe, port)


def _bound(to_bind: socket.socket, port: int) -> bool:
    try:
        to_bind.bind((LOOPBACK, port))
    except OSError:
        return False
    return True


_own_ports = _ports()
