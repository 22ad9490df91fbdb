"""A web process's way from receiving a message to acknowledging it, in a process that kills itself on that way.

Reads lines `token id whose last` from standard input: the token and id of a message, whose lines count (`ours` on the
way of a message, or those of `redis`-py) and at which one to die, 0 for never. Answers each with how many
lines were passed, with `killed`, or with `failed` after a trace of what went wrong.
"""

import asyncio
import faulthandler
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

import redis.asyncio
from starlette.websockets import WebSocketDisconnect

from api.sessions import conversation_of
from api.state import AppState
from api.ws.stream import Socket
from tasks.local.processes import ROOT
from tasks.settings import load_settings

OURS = ("api/ws/stream.py", "api/messages.py", "api/frames.py", "tasks/broker.py", "tasks/storage/client.py")
WATCHED = {
    "ours": tuple(str(ROOT / module) for module in OURS),
    "redis": (str(Path(redis.asyncio.__file__).parent),),
}


#: Seconds after which a message counts as never acknowledged.
LONGEST = 120


class Lines:
    """Counts the lines that are passed, and dies at one of them."""

    def __init__(self, whose: str, last: int) -> None:
        self.passed = 0
        self._watched = WATCHED[whose]
        self._last = last

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """For sys.settrace."""
        if not frame.f_code.co_filename.startswith(self._watched):
            return None
        if event == "line":
            self.passed += 1
            if self.passed == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


class Wire:
    """The client's end of a socket: sends one message, and leaves when it is acknowledged."""

    client = None

    def __init__(self, id: str, lines: Lines) -> None:
        self._frames = deque([json.dumps({"type": "message.send", "id": id, "text": "Hello"})])
        self._lines = lines
        self._done = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        """The message; from here on every line counts."""
        if not self._frames:
            await self._done.wait()
            raise WebSocketDisconnect(1000)
        sys.settrace(self._lines.trace)
        return {"type": "websocket.receive", "text": self._frames.popleft()}

    async def send_text(self, frame: str) -> None:
        """What the client gets."""
        match json.loads(frame):
            case {"type": "message.accepted"}:
                sys.settrace(None)
                self._done.set()
            case {"type": "error"} as refused:
                raise AssertionError(refused)


async def acknowledge(token: str, id: str, lines: Lines) -> int:
    """Serve one socket until its message is acknowledged; returns the lines that took."""
    state = AppState(load_settings())
    await state.start()
    wire: Any = Wire(id, lines)
    try:
        await Socket(wire, state, conversation_of(token), "127.0.0.1").run(None)
    except WebSocketDisconnect:
        return lines.passed
    finally:
        await state.stop()
    raise AssertionError("the socket ended by itself")


def main() -> None:
    """Fork for each message: what is imported need not be imported again."""
    for command in sys.stdin:
        token, id, whose, last = command.split()
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(LONGEST, exit=True)
            passed = asyncio.run(acknowledge(token, id, Lines(whose, int(last))))
            os.write(1, f"{passed}\n".encode())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            print("killed", flush=True)
        elif status:
            print("failed", flush=True)


if __name__ == "__main__":
    main()
