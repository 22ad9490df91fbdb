"""The two halves of a socket: one receives, one sends, and whichever ends first ends the other."""

import asyncio
import math
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from api.fanout.tail import SlowConsumer, Subscription
from tasks.monitoring.background import cancel_and_wait

#: Frames of one socket that are read at once, and then so many a second. People are slower; floods are not, and each
#: frame, also one that is refused, costs what others need.
BURST, RATE = 4, 10.0
#: How many times as fast as it may go on for a minute an address may send for a moment, on all its sockets together.
BURST_FACTOR = 10

SocketCoroutine = Callable[[], Coroutine[Any, Any, None]]


async def run_both(reader: Subscription, send: SocketCoroutine, receive: SocketCoroutine) -> None:
    """Run until one half ends. Raises what it raised, or Behind if what `reader` brings was not taken."""
    sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
    reader.on_too_slow = sending.cancel
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait((sending, receiving))
        ended = await asyncio.gather(sending, receiving, return_exceptions=True)
    if reader.too_slow:
        raise SlowConsumer
    for error in ended:
        if isinstance(error, Exception):
            raise error


class Throttle:
    """How fast the frames of one socket are carried out, or those of several together."""

    def __init__(self, rate: float = RATE) -> None:
        self._rate = rate
        self._due = 0.0

    async def keep(self) -> None:
        """Wait until another frame may be carried out."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - BURST / self._rate) + 1 / self._rate
        if self._due > now:
            await asyncio.sleep(self._due - now)


class AddressThrottles:
    """One for each address, which may send so many messages `a_minute` (0: any); forgotten with its last socket."""

    def __init__(self, a_minute: int) -> None:
        self._rate = BURST_FACTOR * a_minute / 60 or math.inf
        self._throttles: weakref.WeakValueDictionary[str, Throttle] = weakref.WeakValueDictionary()

    def of(self, address: str) -> Throttle:
        """The pace of this address."""
        return self._throttles.setdefault(address, Throttle(self._rate))
