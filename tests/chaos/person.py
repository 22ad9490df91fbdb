"""Somebody who talks through the storm: keeps what was said until it is answered, comes back after every break."""

import asyncio
import contextlib
import copy
import json
import random
import time
import uuid
from collections import deque
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from api.frames import SUBPROTOCOL
from tasks.storage.keys import conversation_id
from tests.support.client import NO_TLS, Frame, apply_event, position

#: Seconds after which something that got no answer is sent again.
PATIENCE = 3.0
#: Frames kept for the report.
KEPT = 5000

TROUBLE = (OSError, TimeoutError, websockets.WebSocketException, httpx.HTTPError)


class Person:
    """One conversation, on one socket at a time, with all that a page remembers.

    `broken` lists what was seen that must never be seen.
    """

    def __init__(self, number: int, seed: int, urls: list[str]) -> None:
        self.number = number
        self.rng = random.Random(f"{seed}/{number}")
        self._urls = urls
        self.token = ""
        #: What was said, by message id, oldest first; the ids of those that were acknowledged.
        self.said: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self.view: dict[str, Any] | None = None
        self.frames: deque[tuple[float, Frame]] = deque(maxlen=KEPT)
        #: When words came, and of which reply.
        self.words: list[tuple[float, str]] = []
        #: When replies ended, by reply id.
        self.ends: dict[str, float] = {}
        self.broken: list[str] = []
        #: The message that is to be answered again, and the id that its new reply shall have.
        self.asked_again: tuple[str, str] | None = None
        self.rewinds = 0
        #: When a new socket was needed, and whose.
        self.reconnected: list[tuple[float, str]] = []
        self._sent_at: dict[str, float] = {}
        self._socket: ClientConnection | None = None
        self._reading = asyncio.Event()
        self._reading.set()

    @property
    def conversation(self) -> str:
        """The conversation's id in Redis."""
        return conversation_id(self.token)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The transcript on this person's screen."""
        return self.view["messages"] if self.view else []

    @property
    def settled(self) -> bool:
        """Everything said is answered, and nothing is under way."""
        known = {message["id"] for message in self.messages}
        answered = (
            self.view is not None
            and not self.view["earlier"]
            and self.view["reply"] is None
            and self.said.keys() <= known
        )
        return answered and not self._unanswered() and not self._last().get("failed") and self.asked_again is None

    async def begin(self) -> None:
        """Get a session."""
        while not self.token:
            try:
                async with httpx.AsyncClient(timeout=5, verify=NO_TLS) as http:
                    answer = await http.post(f"{self._url()}/token", params={"name": f"Person {self.number}"})
                    self.token = answer.raise_for_status().json()["token"]
            except TROUBLE:
                await asyncio.sleep(0.5)

    async def live(self) -> None:
        """Stay connected, for ever."""
        while True:
            try:
                async with self._connect() as self._socket:
                    self.reconnected.append((time.time(), str(self._socket.remote_address)))
                    await self._read(self._socket)
            except TROUBLE:
                pass
            finally:
                self._socket = None
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))

    async def nudge(self) -> None:
        """Send again what got no answer, for ever."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.3, 0.6))
            if self.view is None:
                continue
            if self.view["earlier"]:
                if self._due(self.messages[0]["id"]):
                    await self._ask_for_earlier()
                continue
            known = {message["id"] for message in self.messages}
            for id in self.said:
                if id not in known and self._due(id):
                    await self._send(self._saying(id))
            self._see_to_retry()
            if self.asked_again and self._due(self.asked_again[1]):
                to, id = self.asked_again
                await self._send({"type": "reply.retry", "to": to, "id": id})

    async def talk(self, seconds: float, think: float) -> None:
        """Say something, wait for the answer, think, and go on until the time is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0, 2 * think))
            for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
                await self.say(f"message {len(self.said) + 1} of person {self.number}")
            while not self.settled and time.monotonic() < until:
                await asyncio.sleep(0.05)
            if self.rng.random() < 0.05 and self.settled and self.said:
                self.asked_again = (self._last()["id"], str(uuid.uuid4()))

    async def say(self, text: str) -> None:
        """Say something once; whatever happens, it stays said."""
        id = str(uuid.uuid4())
        self.said[id] = text
        await self._send(self._saying(id))

    async def say_again(self) -> None:
        """The last message once more, as from another tab at another process."""
        if self.said:
            await self._elsewhere(self._saying(list(self.said)[-1]))

    async def stop(self) -> None:
        """Stop the reply to one of the last messages, here or from another tab."""
        if self.said:
            to = self.rng.choice(list(self.said)[-3:])
            frame = {"type": "reply.stop", "to": to}
            await (self._send(frame) if self.rng.random() < 0.5 else self._elsewhere(frame))

    def cut(self) -> None:
        """The network breaks, without a goodbye."""
        if self._socket:
            self._socket.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        self._reading.clear()
        await asyncio.sleep(seconds)
        self._reading.set()

    def reload(self) -> None:
        """The page forgets everything but what it still has to say."""
        self.view = None
        self.cut()

    # the socket

    def _url(self) -> str:
        return self.rng.choice(self._urls)

    def _connect(self) -> connect:
        after = f"&after={self._cursor()}" if self.view else ""
        return connect(
            f"{self._url().replace('http', 'ws', 1)}/chat?token={self.token}{after}",
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            open_timeout=5,
            ping_interval=3,
            ping_timeout=4,
            close_timeout=1,
            max_size=None,
            compression=None,
        )

    def _cursor(self) -> str:
        assert self.view
        return "-".join(map(str, self.view["cursor"]))

    async def _read(self, socket: ClientConnection) -> None:
        # What was sent on an earlier socket may never have arrived.
        self._sent_at.clear()
        async for data in socket:
            await self._reading.wait()
            frame: Frame = json.loads(data)
            self.frames.append((time.time(), frame))
            try:
                self._see(frame)
                if frame["type"] in ("snapshot", "history") and self.view and self.view["earlier"]:
                    await self._ask_for_earlier()
            except (LookupError, StopIteration, TypeError) as error:
                self.broken.append(f"a frame does not fit what was seen: {frame['type']}: {error!r}")
                self.view = None
                return

    async def _send(self, frame: Frame) -> None:
        self._sent_at[frame["id"] if "id" in frame else frame["to"]] = time.monotonic()
        if self._socket:
            with contextlib.suppress(*TROUBLE):
                await self._socket.send(json.dumps(frame))

    async def _ask_for_earlier(self) -> None:
        """Read what was said before the first message on the screen, as a page does when one scrolls up."""
        first = self.messages[0]["id"]
        self._sent_at[first] = time.monotonic()
        if self._socket:
            with contextlib.suppress(*TROUBLE):
                await self._socket.send(json.dumps({"type": "history.before", "before": first}))

    async def _elsewhere(self, frame: Frame) -> None:
        with contextlib.suppress(*TROUBLE):
            async with self._connect() as other:
                await other.send(json.dumps(frame))
                await asyncio.sleep(self.rng.uniform(0, 0.2))

    def _saying(self, id: str) -> Frame:
        return {"type": "message.send", "id": id, "text": self.said[id]}

    def _due(self, id: str) -> bool:
        return time.monotonic() - self._sent_at.get(id, 0.0) > PATIENCE

    # what is seen

    def _see(self, frame: Frame) -> None:
        match frame["type"]:
            case "snapshot":
                self._see_snapshot(frame)
                return
            case "history":
                self._see_history(frame)
                return
            case "message.accepted":
                self.acknowledged.add(frame["message"]["id"])
            case "error":
                self._see_error(frame)
        if "cursor" not in frame or self.view is None or position(frame["cursor"]) <= self.view["cursor"]:
            return
        self.view["cursor"] = position(frame["cursor"])
        self._check(frame, self.view["reply"])
        apply_event(self.view, frame)
        self._note(frame)

    def _see_snapshot(self, frame: Frame) -> None:
        before = self.view
        seen = self._before(frame["conversation"])
        self.view = {
            "messages": [*seen, *copy.deepcopy(frame["conversation"]["messages"])],
            "earlier": frame["conversation"]["earlier"] - len(seen),
            "reply": copy.deepcopy(frame["reply"]),
            "cursor": position(frame["cursor"]),
        }
        if before is None:
            return
        if self.view["cursor"] < before["cursor"]:
            self.rewinds += 1
            return
        old, new = before["reply"], frame["reply"]
        if old and new and old["id"] == new["id"] and not new["text"].startswith(old.get("text", "")):
            self.broken.append(f"a snapshot withdrew words of reply {new['id']}")

    def _see_history(self, frame: Frame) -> None:
        if self.view and self.view["messages"] and self.view["messages"][0]["id"] == frame["before"]:
            self.view["messages"][:0] = copy.deepcopy(frame["messages"])
            self.view["earlier"] = frame["earlier"]

    def _see_error(self, frame: Frame) -> None:
        """Being busy, away, or too late with a retry is no news; everything else is."""
        if frame.get("id") in self.said and frame["code"] != "unavailable":
            self.broken.append(f"refused: {frame}")
        elif frame["code"] in ("busy", "bad_frame"):
            self.asked_again = None

    def _check(self, frame: Frame, reply: dict[str, Any] | None) -> None:
        """What a frame says must follow from what was shown."""
        if frame["type"] == "reply.delta" and (not reply or reply["id"] != frame["id"]):
            self.broken.append(f"words of reply {frame['id']} while {reply and reply['id']} is under way")
        if frame["type"] == "reply.finished" and reply and reply["id"] == frame["message"]["id"]:
            text = frame["message"]["text"]
            kept = frame["message"]["finish_reason"] == "stopped" and not reply.get("text")
            if reply.get("text", "") != text and not kept:
                self.broken.append(f"reply {reply['id']} ended with another text than was shown")

    def _note(self, frame: Frame) -> None:
        now = time.monotonic()
        match frame["type"]:
            case "reply.delta":
                self.words.append((now, frame["id"]))
            case "reply.finished":
                self.words.append((now, frame["message"]["id"]))
                self.ends[frame["message"]["id"]] = now
            case "reply.failed":
                self.ends[frame["id"]] = now

    def _see_to_retry(self) -> None:
        """Try again what failed; forget a retry that has come to something."""
        last = self._last()
        if not last or not self.view or self.view["reply"]:
            return
        answer = next((m["id"] for m in self.messages if m.get("to") == last["id"]), None)
        if self.asked_again and (self.asked_again[0] != last["id"] or self.asked_again[1] == answer):
            self.asked_again = None
        failed = last.get("failed")
        if failed and (self.asked_again is None or self.asked_again[1] == failed["id"]):
            self.asked_again = (last["id"], str(uuid.uuid4()))

    def _before(self, conversation: dict[str, Any]) -> list[dict[str, Any]]:
        """What this person saw before the first message of a snapshot, which has the last ones."""
        first = conversation["messages"][0]["id"] if conversation["earlier"] else ""
        at = next((at for at, message in enumerate(self.messages) if message["id"] == first), 0)
        return self.messages[:at]

    def _last(self) -> dict[str, Any]:
        return next((message for message in reversed(self.messages) if message["role"] == "human"), {})

    def _unanswered(self) -> set[str]:
        asked = {message["id"] for message in self.messages if message["role"] == "human"}
        answered = {message["to"] for message in self.messages if "to" in message}
        failed = {message["id"] for message in self.messages if "failed" in message}
        return asked - answered - failed
