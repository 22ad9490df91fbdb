"""The socket of the older contract: text in, and for each text one whole reply out, in order; nothing else, ever."""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from api import messages
from api.access.throttle import FRAMES_AT_ONCE, FRAMES_PER_SECOND, Throttle
from api.fanout.tail import Backlog, Subscription
from api.frames import POLICY_VIOLATION, check_text
from api.sessions import conversation_of
from api.state import AppState
from api.ws.duplex import run_both
from tasks.errors import (
    ConversationGoneError,
    FloodError,
    FrameRejectedError,
    ResyncNeededError,
    SlowConsumerError,
    StorageError,
    TooManyConnectionsError,
)
from tasks.startup import OncePerWhile
from tasks.storage.conversations import Page, View, history, load, now_iso

log = logging.getLogger("parley.legacy")
# Redis in trouble refuses every message of everybody, with the same words.
log.addFilter(OncePerWhile())

#: Answers that one socket may wait for.
MAX_OWED = 100
TRY_AGAIN = "This message could not be stored. Please send it again in a moment."


def reply_frame(id: str, text: str, timestamp: str) -> str:
    """The only frame of this contract."""
    return orjson.dumps({"id": id, "msg": f"Bot: {text}", "timestamp": timestamp}).decode()


async def serve(websocket: WebSocket, state: AppState, token: str) -> None:
    """Serve one socket from its handshake to its end."""
    address = state.visitors.address_of(websocket)
    # OSError: the client left before the socket was accepted. CancelledError: the server's shutdown time is over, and
    # it has closed the socket already.
    with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError, asyncio.CancelledError):
        try:
            conversation = conversation_of(token)
            async with state.connection_limits.slot(conversation, address):
                await LegacySocket(websocket, state, conversation, address).run()
        except FloodError:
            if state.visitors.flood(address):
                await websocket.close(POLICY_VIOLATION)
        except (ConversationGoneError, TooManyConnectionsError, StorageError, SlowConsumerError):
            await websocket.close(POLICY_VIOLATION)


class LegacySocket:
    """One older client's socket."""

    def __init__(self, websocket: WebSocket, state: AppState, conversation: str, address: str) -> None:
        self._websocket = websocket
        self._address = address
        self._state = state
        self._conversation = conversation
        self._reader: Subscription = state.tail.join(conversation, state.backlogs.setdefault(address, Backlog()))
        self._throttle = Throttle(FRAMES_PER_SECOND, FRAMES_AT_ONCE)
        #: What this socket asked and is still owed, in order: a message's id, or the frame that refuses it.
        self._owed: deque[str] = deque()
        #: Places in it; without one, nothing more is read.
        self._places = asyncio.Semaphore(MAX_OWED)
        #: The message that was answered last.
        self._answered = ""

    async def run(self) -> None:
        """Receive and send until the client goes."""
        state = self._state
        try:
            view = await self._catch_up()
            self._answered = next((m["to"] for m in reversed(view.page.messages) if "to" in m), "")
            await self._websocket.accept()
            lives_for = state.settings.session_ttl_seconds
            state.open_sockets.add(self._conversation, self._reader, knows_alive=False, lives_for=lives_for)
            await run_both(self._reader, self._send, self._receive)
        finally:
            state.open_sockets.remove(self._reader)
            state.tail.leave(self._conversation, self._reader)

    async def _receive(self) -> None:
        while True:
            await self._places.acquire()
            data = await self._websocket.receive()
            if data["type"] == "websocket.disconnect":
                return
            if self._throttle.take():
                raise FloodError
            id = str(uuid.uuid4())
            # Its reply may be here before we hear that it was accepted.
            self._owed.append(id)
            try:
                if self._state.visitors.frame(self._address):
                    raise FrameRejectedError("rate_limited", TRY_AGAIN)
                wanted = check_text(data.get("text"), self._state.settings.limit_text)
                await messages.send_message(self._state, self._conversation, self._address, id, wanted)
            except FrameRejectedError as rejected:
                self._state.metrics.count("frames_rejected", rejected.code)
                await self._refuse(id, rejected.detail)
            except StorageError as error:
                log.warning("message.unavailable error=%s", error)
                await self._refuse(id, TRY_AGAIN)

    async def _refuse(self, id: str, detail: str) -> None:
        """Answer a message with the reason why it was rejected, after the replies to the messages before it."""
        if id in self._owed:
            self._owed[self._owed.index(id)] = reply_frame(id, detail, now_iso())
            await self._settle()

    async def _send(self) -> None:
        while True:
            try:
                async for frames in self._reader:
                    for frame in frames:
                        await self._pass_on(orjson.loads(frame))
            except ResyncNeededError:
                self._reader.restart()
                await self._catch_up()

    async def _pass_on(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "reply.finished":
                message = event["message"]
                await self._answer(message["to"], message["id"], message["text"], message["timestamp"])
            case "reply.failed":
                await self._answer(event["to"], event["id"], event["detail"], now_iso())
            case "conversation.deleted":
                await self._websocket.close(POLICY_VIOLATION)

    async def _answer(self, to: str, id: str, text: str, timestamp: str) -> None:
        if to == self._answered:
            # Another answer to the same message, asked for by a newer client: one frame a message is all.
            return
        self._answered = to
        if to in self._owed:
            self._owed.remove(to)
            self._places.release()
        await self._websocket.send_text(reply_frame(id, text, timestamp))
        await self._settle()

    async def _settle(self) -> None:
        """Send the rejections that have no unanswered message before them."""
        while self._owed and self._owed[0].startswith("{"):
            await self._websocket.send_text(self._owed.popleft())
            self._places.release()

    async def _catch_up(self) -> View:
        """Begin at the conversation as it is, and send what was answered since this socket last knew."""
        state = self._state
        view = await load(state.redis, self._conversation, state.settings.session_ttl_seconds)
        busy = view.progress.pending > 0
        state.tail.begin(self._conversation, self._reader, view.cursor, busy=busy)
        for message in await self._unread(view.page):
            failed = message.get("failed")
            if message.get("to") in self._owed:
                await self._answer(message["to"], message["id"], message["text"], message["timestamp"])
            elif failed and message["id"] in self._owed:
                await self._answer(message["id"], failed["id"], failed["detail"], now_iso())
        return view

    async def _unread(self, page: Page) -> list[dict[str, Any]]:
        """The last messages, as many pages as the answers that this socket still waits for can take."""
        messages, earlier = page.messages, page.earlier
        while self._owed and earlier and len(messages) < 2 * MAX_OWED:
            before = await history(self._state.redis, self._conversation, messages[0]["id"])
            assert before is not None, "a page begins with a message that is there"
            messages, earlier = [*before.messages, *messages], before.earlier
        return messages
