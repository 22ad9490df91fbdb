"""The server's side of the engine: starts its process, again whenever it ends, and hands each reply its events."""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from typing import NoReturn

from tasks.errors import ParleyError
from tasks.local.model_server.messages import Begin, Cancel, Ended, Event, Ready, Refused, Sampling, from_engine

log = logging.getLogger("parley.engine")

#: Seconds before an engine that ended is started again, doubled each time that it ends before it is ready.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class EngineError(ParleyError):
    """The engine ended before the reply did, or before it was ready for the first time."""


class Reply:
    """The events of the reply `number`, in order; a Refused or an Ended is the last."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.cancelled = False
        self._events: asyncio.Queue[Event | EngineError] = asyncio.Queue()

    def put(self, event: Event | EngineError) -> None:
        """Add what the engine said, or that it is gone."""
        self._events.put_nowait(event)

    async def next(self) -> Event:
        """Wait for the next event.

        Raises EngineError if the engine ended before the reply.
        """
        event = await self._events.get()
        if isinstance(event, EngineError):
            raise event
        return event


class Engine:
    """The engine process that `argv` starts. `ready` says whether it takes requests now."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._process: asyncio.subprocess.Process | None = None
        self._replies: dict[int, Reply] = {}
        self._numbers = itertools.count(1)
        self.ready = False

    @property
    def requests(self) -> int:
        """Replies that the engine writes, has waiting, or has not forgotten yet."""
        return len(self._replies)

    def begin(self, prompt: str, max_tokens: int, stop: Sequence[str], sampling: Sampling) -> Reply:
        """Ask for a reply of up to `max_tokens` tokens; `cancel` it if nobody wants the rest.

        Raises EngineError while the engine is not ready.
        """
        if not self.ready:
            raise EngineError("The model is loading.")
        reply = Reply(next(self._numbers))
        self._replies[reply.number] = reply
        self._send(Begin(id=reply.number, prompt=prompt, max_tokens=max_tokens, stop=tuple(stop), sampling=sampling))
        return reply

    def cancel(self, reply: Reply) -> None:
        """Have the engine stop writing; nothing happens if the reply is over."""
        if reply.number in self._replies and not reply.cancelled:
            reply.cancelled = True
            self._send(Cancel(id=reply.number))

    async def run(self) -> NoReturn:
        """Keep an engine running until this is cancelled.

        Raises EngineError if the first one ends before it is ready: the next would do the same.
        """
        ever_ready, pause = False, FIRST_PAUSE
        while True:
            how = await self._run_once()
            if self.ready:
                ever_ready, pause = True, FIRST_PAUSE
                self._fail_all()
            elif not ever_ready:
                raise EngineError(f"The model could not be loaded: the engine {how}.")
            else:
                pause = min(2 * pause, LONGEST_PAUSE)
            log.error("engine.ended how=%r restart_in_s=%s", how, pause)
            await asyncio.sleep(pause)

    async def _run_once(self) -> str:
        """Run one engine until it ends; how it ended. `ready` then says whether it ever was."""
        self.ready = False
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *self._argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._process = process
        try:
            assert process.stdout
            async for line in process.stdout:
                message = from_engine.validate_json(line)
                if isinstance(message, Ready):
                    self.ready = True
                    log.info("engine.ready seconds=%.1f", time.monotonic() - started)
                else:
                    self._hand_out(message)
            return _ending(await process.wait())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _hand_out(self, event: Event) -> None:
        reply = self._replies.get(event.id)
        if reply is None:
            return  # it was cancelled just when it ended by itself
        if isinstance(event, Refused | Ended):
            del self._replies[event.id]
        reply.put(event)

    def _fail_all(self) -> None:
        self.ready = False
        for reply in self._replies.values():
            reply.put(EngineError("The engine ended in the middle of the reply."))
        self._replies.clear()

    def _send(self, message: Begin | Cancel) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(message.line())


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code == -9:
        return "was killed (signal 9), most often because memory ran out"
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}; its last words are above"
