"""Keeps background tasks running: one that ends, fails or is cancelled by mistake is started again, and said so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

log = logging.getLogger("parley.supervise")

#: Seconds before a failed task is started again; doubled at each failure in a row, up to the second figure.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
#: A task that ran so many seconds did well before it failed.
HEALTHY = 30.0

#: Seconds after which a task that was cancelled and goes on is cancelled again.
AGAIN = 0.5

Run = Callable[[], Awaitable[None]]


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, asking again where that is needed.

    Before Python 3.12, `asyncio.wait_for` swallows a cancelling that meets its result, and redis-py calls it for
    every command: a task that is asked only once may go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)


class Background:
    """The background tasks of a process, for one event loop; they run until `stop`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def keep(self, name: str, run: Run) -> None:
        """Run a task for ever; it is expected not to return."""
        task = asyncio.create_task(_forever(name, run), name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, name, run))

    async def stop(self) -> None:
        """End them all."""
        self._stopping = True
        await end(list(self._tasks))

    def _ended(self, task: asyncio.Task[None], name: str, run: Run) -> None:
        """Only `stop` may end a task. A cancelling that nobody here asked for (a library's, meant for a part of
        it) must not."""
        self._tasks.discard(task)
        if not self._stopping:
            log.error("%s was cancelled; it is started again", name)
            self.keep(name, run)


async def _forever(name: str, run: Run) -> None:
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            await run()
            log.error("%s ended; it is started again", name)
        except Exception:
            log.exception("%s failed; it is started again", name)
        if loop.time() - began > HEALTHY:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
