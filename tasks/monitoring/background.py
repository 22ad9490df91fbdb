"""Keeps background tasks running: one that ends, fails or is cancelled by mistake is logged and started again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tasks.errors import StorageError

log = logging.getLogger("parley.background")

#: Seconds before a failed task is started again; doubled at each failure in a row, up to the second number.
FIRST_PAUSE, MAX_PAUSE = 0.1, 2.0
#: A task that ran for so many seconds did well before it failed.
HEALTHY_SECONDS = 30.0
#: Seconds after which a task that was cancelled and goes on is cancelled again.
CANCEL_AGAIN_SECONDS = 0.5

Run = Callable[[], Awaitable[None]]


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended.

    Before Python 3.12, `asyncio.wait_for` swallows a cancellation that meets its result, and redis-py calls it for
    every command. So a task that goes on is cancelled again. A caller that is cancelled meanwhile ends after the tasks.
    """
    left = {task for task in tasks if not task.done()}
    cancelled: asyncio.CancelledError | None = None
    while left:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
        left = {task for task in left if not task.done()}
    if cancelled:
        raise cancelled


class Background:
    """The background tasks of a process, for one event loop. They run until `stop`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        #: The tasks that wait for Redis. The first says so in the log, and the last that it is over.
        self._waiting: set[str] = set()

    def run_forever(self, name: str, run: Run) -> None:
        """Run a task that is expected not to return."""
        task = asyncio.create_task(_restarted(name, run), name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, name, run))

    def run_every(self, name: str, seconds: float, step: Run) -> None:
        """Run a step again and again, `seconds` after it ended. An unusable Redis is logged once."""

        async def run() -> None:
            while True:
                try:
                    await step()
                except StorageError as error:
                    if not self._waiting:
                        log.warning("tasks.redis_unavailable task=%s error=%s", name, error)
                    self._waiting.add(name)
                else:
                    if self._waiting == {name}:
                        log.warning("tasks.redis_available task=%s", name)
                    self._waiting.discard(name)
                await asyncio.sleep(seconds)

        self.run_forever(name, run)

    async def stop(self) -> None:
        """End all of them."""
        self._stopping = True
        await cancel_and_wait(list(self._tasks))

    def _ended(self, task: asyncio.Task[None], name: str, run: Run) -> None:
        """Only `stop` may end a task. A library can cancel it by mistake, when it means a part of it."""
        self._tasks.discard(task)
        if not self._stopping:
            log.error("task.cancelled task=%s", name)
            self.run_forever(name, run)


async def _restarted(name: str, run: Run) -> None:
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            await run()
            log.error("task.ended task=%s", name)
        except Exception:
            log.exception("task.failed task=%s", name)
        if loop.time() - began > HEALTHY_SECONDS:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE)
