"""A client of the stream contract, and one of the older contract, as plain as the wire allows."""

import asyncio
import json
import uuid
from types import TracebackType
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from api.protocol import SUBPROTOCOL

Frame = dict[str, Any]

#: Seconds after which an awaited frame counts as never coming.
PATIENCE = 20.0


async def new_token(url: str, name: str = "Ada") -> str:
    """Begin a conversation over HTTP."""
    async with httpx.AsyncClient() as http:
        token: str = (await http.post(f"{url}/token", params={"name": name})).json()["token"]
        return token


async def history(url: str, token: str) -> list[dict[str, str]]:
    """The messages of the older contract's history."""
    async with httpx.AsyncClient() as http:
        messages: list[dict[str, str]] = (await http.get(f"{url}/refresh_token", params={"token": token})).json()[
            "messages"
        ]
        return messages


class Chat:
    """One socket of the stream contract; keeps every frame it saw, and a document made of them."""

    def __init__(self, url: str, token: str, after: str | None = None, **options: Any) -> None:
        address = f"{url.replace('http', 'ws', 1)}/chat?token={token}"
        self._address = address + (f"&after={after}" if after else "")
        self._options = options
        self.frames: list[Frame] = []

    async def __aenter__(self) -> "Chat":
        self.socket: ClientConnection = await connect(
            self._address, subprotocols=[websockets.Subprotocol(SUBPROTOCOL)], max_size=None, **self._options
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    @property
    def cursor(self) -> str:
        """The last cursor seen."""
        cursor: str = next(frame["cursor"] for frame in reversed(self.frames) if "cursor" in frame)
        return cursor

    async def next(self) -> Frame:
        """The next frame."""
        frame: Frame = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))
        self.frames.append(frame)
        return frame

    async def until(self, *types: str) -> Frame:
        """Read up to the first frame of one of these types."""
        while (frame := await self.next())["type"] not in types:
            pass
        return frame

    async def send(self, text: str, id: str | None = None) -> str:
        """Send a message; returns its id."""
        id = id or str(uuid.uuid4())
        await self.send_frame({"type": "message.send", "id": id, "text": text})
        return id

    async def send_frame(self, frame: Any) -> None:
        """Send any JSON value."""
        await self.socket.send(json.dumps(frame))

    async def stop(self, to: str) -> None:
        """Ask for the reply to a message to stop."""
        await self.send_frame({"type": "reply.stop", "to": to})

    async def retry(self, to: str, id: str | None = None) -> str:
        """Ask for another reply; returns its id."""
        id = id or str(uuid.uuid4())
        await self.send_frame({"type": "reply.retry", "to": to, "id": id})
        return id

    async def closed_with(self) -> int:
        """Read to the end; returns the close code."""
        try:
            while True:
                await self.next()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


def replay(frames: list[Frame]) -> dict[str, Any]:
    """The conversation that a client ends up with: a snapshot and the events after it, as the contract says."""
    snapshot = next(frame for frame in frames if frame["type"] == "snapshot")
    state: dict[str, Any] = {
        "messages": list(snapshot["conversation"]["messages"]),
        "reply": snapshot["reply"],
        "cursor": _position(snapshot["cursor"]),
    }
    for frame in frames[frames.index(snapshot) + 1 :]:
        if frame["type"] == "snapshot":
            return replay(frames[frames.index(frame) :])
        if "cursor" in frame and _position(frame["cursor"]) > state["cursor"]:
            state["cursor"] = _position(frame["cursor"])
            _apply(state, frame)
    return state


def _position(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))


def _apply(state: dict[str, Any], frame: Frame) -> None:
    messages: list[dict[str, Any]] = state["messages"]
    match frame["type"]:
        case "message.accepted":
            messages.append(frame["message"])
        case "reply.started":
            state["reply"] = {"id": frame["id"], "to": frame["to"], "text": "", "state": "writing"}
            _asked(messages, frame["to"]).pop("failed", None)
        case "reply.waiting":
            state["reply"]["state"] = "waiting"
        case "reply.delta":
            state["reply"]["state"] = "writing"
            state["reply"]["text"] += frame["text"]
        case "reply.finished":
            message = frame["message"]
            messages[:] = [m for m in messages if m.get("to") != message["to"]]
            messages.insert(messages.index(_asked(messages, message["to"])) + 1, message)
            state["reply"] = None
        case "reply.failed":
            fields = ("id", "code", "detail", "retryable", "text")
            _asked(messages, frame["to"])["failed"] = {name: frame[name] for name in fields}
            state["reply"] = None


def _asked(messages: list[dict[str, Any]], id: str) -> dict[str, Any]:
    return next(message for message in messages if message["id"] == id)
