"""How many replies a process writes at once: places that the consumer and resting replies share."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import asynccontextmanager


class Places:
    """The places of one process; they live in its event loop, and Dramatiq's thread asks from outside."""

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        self._loop = loop
        self._free = asyncio.Semaphore(size)

    def wait(self, timeout: float) -> bool:
        """From another thread: wait up to `timeout` seconds for a place and take it; False if none came free."""
        taken = asyncio.run_coroutine_threadsafe(self._free.acquire(), self._loop)
        try:
            return taken.result(timeout)
        except FutureTimeout:
            # The place may have come free in this very moment; then it is ours to give back.
            if not taken.cancel() and not taken.cancelled():
                return taken.result()
            return False

    def give_back(self) -> None:
        """From within the loop: a reply has ended."""
        self._free.release()

    @asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """Lend the place to others while a reply only waits; leaving waits until there is one again."""
        self._free.release()
        try:
            yield
        finally:
            await self._free.acquire()
