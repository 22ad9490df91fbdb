"""A switch for Ethernet frames, in user space: it can cut, slow and thin out each of its links.

A link ends in a TAP device, in the network namespace of a host or in our own. The kernel's own means for this (netem)
are not everywhere, and this needs only TAP devices.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

TUN = Path("/dev/net/tun")
#: From linux/if_tun.h and linux/sched.h.
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000

#: Bytes; no frame is longer.
LONGEST_FRAME = 65_536
#: Frames taken from one device before others have their turn.
TURN = 64


class Link:
    """The cable between the switch and one TAP device. Its state may be changed at any time, from any thread.

    Args:
        name: what the host is called.
        device: the file descriptor of the TAP device.
    """

    def __init__(self, name: str, device: int) -> None:
        self.name = name
        self.device = device
        #: Whether no frame passes.
        self.cut = False
        #: Seconds that a frame needs, each way.
        self.delay = 0.0
        #: Share of the frames that get lost, each way.
        self.loss = 0.0

    def restore(self) -> None:
        """All is well again."""
        self.cut, self.delay, self.loss = False, 0.0, 0.0


class Switch:
    """Passes frames between its links while the block lasts, in a thread of its own. A link keeps the order of frames.

    Args:
        links: where hosts are plugged in.
        seed: decides which frames get lost.
    """

    def __init__(self, links: Iterable[Link], seed: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="switch")
        rng = random.Random(seed)
        self._down = {link: _Lane(link, rng, self._loop, _write_to(link)) for link in links}
        self._up = {link: _Lane(link, rng, self._loop, self._forward_from(link)) for link in links}
        #: Behind which link an address was last seen.
        self._known: dict[bytes, Link] = {}

    def __enter__(self) -> Self:
        for link in self._up:
            os.set_blocking(link.device, False)
            self._loop.add_reader(link.device, self._read, link)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _read(self, link: Link) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(TURN):
                self._up[link].put(os.read(link.device, LONGEST_FRAME))

    def _forward_from(self, source: Link) -> Callable[[bytes], None]:
        def forward(frame: bytes) -> None:
            to, by = frame[:6], frame[6:12]
            self._known[by] = source
            known = self._known.get(to)
            for link in [known] if known else self._down:
                if link is not source:
                    self._down[link].put(frame)

        return forward


class _Lane:
    """One direction of a link."""

    def __init__(
        self, link: Link, rng: random.Random, loop: asyncio.AbstractEventLoop, deliver: Callable[[bytes], None]
    ) -> None:
        self._link = link
        self._rng = rng
        self._loop = loop
        self._deliver = deliver
        #: Frames under way, and when each is there.
        self._queue: deque[tuple[float, bytes]] = deque()

    def put(self, frame: bytes) -> None:
        """Take a frame, and deliver it when it is due. It does not overtake slower ones before it."""
        if self._link.cut or self._rng.random() < self._link.loss:
            return
        if not self._link.delay and not self._queue:
            self._deliver(frame)
            return
        self._queue.append((self._loop.time() + self._link.delay, frame))
        if len(self._queue) == 1:
            self._loop.call_at(self._queue[0][0], self._release)

    def _release(self) -> None:
        self._deliver(self._queue.popleft()[1])
        # At once for what is due already: a loop does not keep the order of calls for one and the same time.
        while self._queue and self._queue[0][0] <= self._loop.time():
            self._deliver(self._queue.popleft()[1])
        if self._queue:
            self._loop.call_at(self._queue[0][0], self._release)


def _write_to(link: Link) -> Callable[[bytes], None]:
    def write(frame: bytes) -> None:
        # A device that is full or down loses frames, as any network card does.
        with contextlib.suppress(OSError):
            os.write(link.device, frame)

    return write


def open_tap(name: str, namespace: Path | None = None) -> int:
    """Open a TAP device, which is made if there is none of that name; returns its file descriptor.

    Args:
        name: what the device is called.
        namespace: the file of the network namespace that it is in; without one, in our own.
    """
    # A namespace belongs to a thread: this one enters it and ends.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_open_tap, name, namespace).result()


def _open_tap(name: str, namespace: Path | None) -> int:
    if namespace:
        with namespace.open() as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"{namespace} cannot be entered")
    device = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(device)
        raise
    return device
