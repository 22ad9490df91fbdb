"""The two directions of a socket: one coroutine receives, one sends, and whichever ends first ends the other."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from api.fanout.tail import Subscription
from tasks.errors import SlowConsumerError
from tasks.monitoring.background import cancel_and_wait

SocketCoroutine = Callable[[], Coroutine[Any, Any, None]]


async def run_both(reader: Subscription, send: SocketCoroutine, receive: SocketCoroutine) -> None:
    """Run until one of both coroutines ends, and end the other one.

    Raises what the first one raised, or SlowConsumerError if the client did not take what `reader` brings.
    """
    sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
    reader.on_too_slow = sending.cancel
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait((sending, receiving))
        ended = await asyncio.gather(sending, receiving, return_exceptions=True)
    if reader.too_slow:
        raise SlowConsumerError
    for error in ended:
        if isinstance(error, Exception):
            raise error
