"""Keeps background tasks running: one that fails is reported and started again, never lost quietly."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("parley.supervise")

#: Seconds before a failed task is started again; doubled at each failure in a row, up to the second figure.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
#: A task that ran so many seconds did well before it failed.
HEALTHY = 30.0


async def forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a task for ever; it is expected not to return. Only cancelling ends it."""
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
