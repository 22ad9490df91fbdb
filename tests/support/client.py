"""A client of the stream contract, and one of the older contract, as plain as the wire allows."""

import asyncio
import copy
import json
import ssl
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from api.frames import SUBPROTOCOL

Frame = dict[str, Any]

#: Seconds after which an awaited frame counts as never coming.
PATIENCE = 60.0
#: Seconds that anything may take to happen in a conversation.
LONGEST = 240.0
#: Nobody here speaks TLS; left to itself, httpx loads all certificates for each client, and nobody can read meanwhile.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def new_token(url: str, name: str = "Ada", headers: dict[str, str] | None = None) -> str:
    """Begin a conversation over HTTP."""
    async with httpx.AsyncClient(timeout=PATIENCE, verify=NO_TLS, headers=headers) as http:
        token: str = (await http.post(f"{url}/token", params={"name": name})).json()["token"]
        return token


async def history(url: str, token: str) -> list[dict[str, str]]:
    """The messages of the older contract's history."""
    async with httpx.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as http:
        messages: list[dict[str, str]] = (await http.get(f"{url}/refresh_token", params={"token": token})).json()[
            "messages"
        ]
        return messages


class Chat:
    """One socket of the stream contract; keeps every frame it saw, and a document made of them."""

    def __init__(self, url: str, token: str, after: str | None = None, **options: Any) -> None:
        address = f"{url.replace('http', 'ws', 1)}/chat?token={token}"
        self._address = address + (f"&after={after}" if after else "")
        self._options = {"open_timeout": PATIENCE, **options}
        self.frames: list[Frame] = []

    async def __aenter__(self) -> "Chat":
        self.socket: ClientConnection = await connect(
            self._address,
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            max_size=None,
            max_queue=None,
            **self._options,
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
        # Signs of life come for ever, also where nothing else does.
        async with asyncio.timeout(LONGEST):
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

    async def edit(self, to: str, text: str, id: str | None = None) -> str:
        """Replace a message; returns the new one's id."""
        id = id or str(uuid.uuid4())
        await self.send_frame({"type": "message.edit", "to": to, "id": id, "text": text})
        return id

    async def continue_reply(self, to: str, id: str | None = None) -> str:
        """Ask for more of the reply to a message; returns the id of the wish."""
        id = id or str(uuid.uuid4())
        await self.send_frame({"type": "reply.continue", "to": to, "id": id})
        return id

    async def history(self, before: str) -> Frame:
        """Ask for the messages before another one, and read up to the answer."""
        await self.send_frame({"type": "history.before", "before": before})
        return await self.until("history", "error")

    async def closed_with(self) -> int:
        """Read to the end; returns the close code."""
        try:
            while True:
                await self.next()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


class LegacyChat:
    """One socket of the older contract."""

    def __init__(self, url: str, token: str, **options: Any) -> None:
        self._address = f"{url.replace('http', 'ws', 1)}/chat?token={token}"
        self._options = {"open_timeout": PATIENCE, **options}

    async def __aenter__(self) -> "LegacyChat":
        self.socket: ClientConnection = await connect(self._address, max_size=None, max_queue=None, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def send(self, text: str | bytes) -> None:
        """Send what was typed, as it is."""
        await self.socket.send(text)

    async def next(self) -> dict[str, str]:
        """The next frame, which has to be what the contract says."""
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        assert isinstance(frame, str)
        message: dict[str, str] = json.loads(frame)
        assert set(message) == {"id", "msg", "timestamp"}
        assert all(isinstance(value, str) and value for value in message.values())
        assert message["msg"].startswith("Bot: ")
        return message

    async def ask(self, text: str | bytes) -> str:
        """Send a text; returns the `msg` of its answer."""
        await self.send(text)
        return (await self.next())["msg"]


def replay(frames: list[Frame], apply: Callable[[dict[str, Any], Frame], None] | None = None) -> dict[str, Any]:
    """The conversation that a client ends up with: a snapshot and the events after it, as the contract says."""
    apply = apply or apply_event
    snapshot = next(frame for frame in frames if frame["type"] == "snapshot")
    state: dict[str, Any] = {
        "messages": copy.deepcopy(snapshot["conversation"]["messages"]),
        "reply": copy.deepcopy(snapshot["reply"]),
        "earlier": snapshot["conversation"]["earlier"],
        "cursor": position(snapshot["cursor"]),
    }
    for frame in frames[frames.index(snapshot) + 1 :]:
        if frame["type"] == "snapshot":
            return replay(frames[frames.index(frame) :], apply)
        if frame["type"] == "history" and state["messages"] and frame["before"] == state["messages"][0]["id"]:
            state["messages"][:0] = copy.deepcopy(frame["messages"])
            state["earlier"] = frame["earlier"]
        if "cursor" in frame and position(frame["cursor"]) > state["cursor"]:
            state["cursor"] = position(frame["cursor"])
            apply(state, frame)
    return state


def position(cursor: str) -> tuple[int, ...]:
    """A cursor as two integers, to be compared."""
    return tuple(map(int, cursor.split("-")))


def apply_event(state: dict[str, Any], frame: Frame) -> None:
    """What one event changes in a conversation."""
    messages: list[dict[str, Any]] = state["messages"]
    match frame["type"]:
        case "message.accepted":
            messages.append(dict(frame["message"]))
        case "message.edited":
            messages[messages.index(_asked(messages, frame["to"])) :] = [dict(frame["message"])]
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
            _asked(messages, message["to"]).pop("failed", None)
            messages[:] = [m for m in messages if m.get("to") != message["to"]]
            messages.insert(messages.index(_asked(messages, message["to"])) + 1, message)
            state["reply"] = None
        case "reply.failed":
            fields = ("id", "code", "detail", "retryable", "text")
            _asked(messages, frame["to"])["failed"] = {name: frame[name] for name in fields}
            state["reply"] = None


def _asked(messages: list[dict[str, Any]], id: str) -> dict[str, Any]:
    return next(message for message in messages if message["id"] == id)
