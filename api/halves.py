"""The two halves of a socket: one receives, one sends, and whichever ends first ends the other."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from api.tail import Behind, Subscription

Half = Callable[[], Coroutine[Any, Any, None]]


async def run_both(reader: Subscription, send: Half, receive: Half) -> None:
    """Run until one half ends. Raises what it raised, or Behind if what `reader` brings was not taken."""
    sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
    reader.on_behind = sending.cancel
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for half in (sending, receiving):
            half.cancel()
        ended = await asyncio.gather(sending, receiving, return_exceptions=True)
    if reader.behind:
        raise Behind
    for error in ended:
        if isinstance(error, Exception):
            raise error
