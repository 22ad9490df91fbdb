"""The two halves of a socket: one receives, one sends, and whichever ends first ends the other."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from api.tail import Behind, Subscription
from tasks.supervise import end

#: Frames of one socket that are read at once, and then so many a second. People are slower; floods are not, and each
#: frame, also one that is refused, costs what others need.
BURST, RATE = 4, 10.0

Half = Callable[[], Coroutine[Any, Any, None]]


async def run_both(reader: Subscription, send: Half, receive: Half) -> None:
    """Run until one half ends. Raises what it raised, or Behind if what `reader` brings was not taken."""
    sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
    reader.on_behind = sending.cancel
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end((sending, receiving))
        ended = await asyncio.gather(sending, receiving, return_exceptions=True)
    if reader.behind:
        raise Behind
    for error in ended:
        if isinstance(error, Exception):
            raise error


class Pace:
    """How fast one socket is read."""

    def __init__(self) -> None:
        self._due = 0.0

    async def keep(self) -> None:
        """Wait until another frame may be carried out."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - BURST / RATE) + 1 / RATE
        if self._due > now:
            await asyncio.sleep(self._due - now)
