"""A model that counts its tokens, and what must be true of a reply of its that was interrupted."""

import asyncio
import time

from tests.support.client import Chat, Frame
from tests.support.inside import stamps, whole
from tests.support.stack import Stack

#: Tokens of a reply and how many of them come in a second: long enough to be interrupted.
TOKENS, RATE = 60, 20.0
#: Tokens a second of a reply that has to outlast the start of a process, also on a busy machine.
SLOWLY = 2.0
#: Seconds within which another worker must have gone on, and within which a process must be gone.
PROMISE = 10.0


async def begun(chat: Chat, tokens: int = 10) -> str:
    """Ask something and read until some words of the reply are there; returns the message's id."""
    await chat.until("snapshot")
    id = await chat.send("Count, please")
    shown = ""
    # Counted are tokens: a busy machine brings several in one event.
    while len(stamps(shown)) < tokens:
        shown += (await chat.until("reply.delta"))["text"]
    return id


async def begun_slowly(running: Stack, chat: Chat) -> str:
    """The same with a second worker that is ready: how long a process takes to start is no part of a takeover.

    The reply goes on slowly until somebody else goes on with it.
    """
    running.pace(rate=SLOWLY)
    id = await begun(chat, tokens=3)
    running.start_worker()
    await asyncio.to_thread(running.wait_workers, 2)
    running.pace(rate=RATE)
    return id


async def seconds_to_next_word(chat: Chat) -> float:
    """How long the reply stands still; what was on its way already does not count as going on."""
    last = time.monotonic()
    while (await chat.next())["type"] != "reply.finished" and time.monotonic() - last < 0.5:
        last = time.monotonic()
    return time.monotonic() - last


async def longest_pause(chat: Chat) -> float:
    """Read up to the end of the reply; returns the longest time between two frames, in seconds."""
    longest, last = 0.0, time.monotonic()
    while (await chat.next())["type"] != "reply.finished":
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


def assert_every_token_once(chat: Chat, finished: Frame, tokens: int = TOKENS) -> None:
    """The reply is whole, is what was shown word by word, and began once."""
    text = finished["message"]["text"]
    replies = [frame for frame in chat.frames if frame.get("id") == finished["message"]["id"]]
    assert stamps(text) == whole(tokens)
    assert "".join(frame["text"] for frame in replies if frame["type"] == "reply.delta") == text
    assert [frame["type"] for frame in replies].count("reply.started") == 1
