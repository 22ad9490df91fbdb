"""The socket of the stream contract: one coroutine receives, one sends, and the first that ends also ends the other."""

import asyncio
import contextlib
import logging

from starlette.websockets import WebSocket, WebSocketDisconnect

from api import frames, messages
from api.access.throttle import FRAMES_AT_ONCE, FRAMES_PER_SECOND, Throttle
from api.fanout.tail import Backlog, Subscription, parse_cursor
from api.frames import (
    ClientFrame,
    HistoryBefore,
    MessageEdit,
    MessageSend,
    ReplyContinue,
    ReplyRetry,
    ReplyStop,
    check_frame,
)
from api.messages import Accepted
from api.sessions import conversation_of
from api.state import OK, AppState
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
from tasks.storage import events
from tasks.storage.conversations import View, load, resume
from tasks.worker.recovery import requeue

log = logging.getLogger("parley.websocket")
# Redis in trouble refuses every message of everybody, with the same words.
log.addFilter(OncePerWhile())

#: Seconds that a close frame may take.
CLOSE_TIMEOUT = 0.5
#: How the last frame of a deleted conversation ends.
DELETED = f",{events.DELETED.decode()}"
TOO_FAST = "Very much comes from your network right now. Please try again in a moment."
UNAVAILABLE = "This cannot be stored right now. It is kept here and sent again."


async def serve(websocket: WebSocket, state: AppState, token: str, after: str | None) -> None:
    """Serve one socket from its handshake to its end."""
    address = state.visitors.address_of(websocket)
    try:
        await websocket.accept(subprotocol=frames.SUBPROTOCOL)
        conversation = conversation_of(token)
        async with state.connection_limits.slot(conversation, address):
            await Socket(websocket, state, conversation, address).run(after)
    except (WebSocketDisconnect, OSError, RuntimeError, asyncio.CancelledError):
        # OSError: the client left before the socket was accepted. CancelledError: the server's shutdown time is over,
        # and it has closed the socket already.
        return
    except FloodError:
        if state.visitors.flood(address):
            await _close_with(websocket, frames.POLICY_VIOLATION)
    except Exception as error:
        await _close(websocket, error)


async def _close(websocket: WebSocket, error: Exception) -> None:
    match error:
        case ConversationGoneError():
            code = frames.UNKNOWN_TOKEN
        case TooManyConnectionsError():
            code = frames.TOO_MANY_REQUESTS
        case SlowConsumerError():
            code = frames.TRY_AGAIN_LATER
        case StorageError():
            log.warning("socket.unavailable error=%s", error)
            code = frames.SERVICE_RESTART
        case _:
            raise error
    await _close_with(websocket, code)


async def _close_with(websocket: WebSocket, code: int) -> None:
    # A client that reads nothing does not read the close frame either.
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
        await asyncio.wait_for(websocket.close(code), CLOSE_TIMEOUT)


def _id_of(frame: ClientFrame) -> str:
    """The id by which a client knows its frame again."""
    match frame:
        case ReplyStop(to):
            return to
        case HistoryBefore(before):
            return before
        case _:
            return frame.id


class Socket:
    """An accepted socket of a conversation."""

    def __init__(self, websocket: WebSocket, state: AppState, conversation: str, address: str) -> None:
        self._websocket = websocket
        self._address = address
        self._state = state
        self._conversation = conversation
        self._reader: Subscription = state.tail.join(conversation, state.backlogs.setdefault(address, Backlog()))
        self._throttle = Throttle(FRAMES_PER_SECOND, FRAMES_AT_ONCE)

    async def run(self, after: str | None) -> None:
        """Receive and send until the client goes, or one of both cannot go on."""
        state = self._state
        try:
            await self._open(after)
            state.readers.add(self._reader)
            lives_for = state.settings.session_ttl_seconds
            state.open_sockets.add(self._conversation, self._reader, knows_alive=True, lives_for=lives_for)
            if state.status != OK:
                self._reader.push(frames.service(state.status))
            await run_both(self._reader, self._send, self._receive)
        finally:
            state.readers.discard(self._reader)
            state.open_sockets.remove(self._reader)
            state.tail.leave(self._conversation, self._reader)

    async def _open(self, after: str | None = None) -> None:
        """Read from a cursor on, if everything since is still in the stream; else begin with a snapshot."""
        state, ttl = self._state, self._state.settings.session_ttl_seconds
        if after and frames.is_cursor(after):
            ms, number = parse_cursor(after)
            cursor = f"{ms}-{number}"
            found = await resume(state.redis, self._conversation, ttl, cursor)
        else:
            found = await load(state.redis, self._conversation, ttl)
        pending = found.progress.pending > 0
        if isinstance(found, View):
            state.tail.begin(self._conversation, self._reader, found.cursor, busy=pending)
            state.queue_places.forget(self._reader)
            await self._websocket.send_text(frames.snapshot(found, state.model, state.text_limits))
        else:
            state.tail.begin(self._conversation, self._reader, cursor, busy=pending or found.cursor != cursor)
        if pending and not found.progress.leased:
            await requeue(state.redis, state.broker, self._conversation)

    async def _send(self) -> None:
        while True:
            try:
                async for some in self._reader:
                    for frame in some:
                        await self._websocket.send_text(frame)
                        if frame.endswith(DELETED):
                            raise ConversationGoneError("This conversation was deleted.")
            except ResyncNeededError:
                self._reader.restart()
                await self._open()

    async def _receive(self) -> None:
        while True:
            data = await self._websocket.receive()
            if data["type"] == "websocket.disconnect":
                return
            if self._throttle.take():
                raise FloodError
            text = data.get("text")
            try:
                await self._carry_out(text if text is not None else data["bytes"])
            except FrameRejectedError as rejected:
                self._state.metrics.count("frames_rejected", rejected.code)
                self._reader.push(frames.error(rejected))
                # Nothing was waited for: between two such frames, everybody else has a turn.
                await asyncio.sleep(0)

    async def _carry_out(self, data: str | bytes) -> None:
        state = self._state
        wait = state.visitors.frame(self._address)
        frame = check_frame(data, state.settings.limit_text)
        if wait:
            raise FrameRejectedError("rate_limited", TOO_FAST, id=_id_of(frame), retry_in=wait)
        try:
            match frame:
                case MessageSend(id, text):
                    self._confirm(await messages.send_message(state, self._conversation, self._address, id, text))
                case MessageEdit(to, id, text):
                    self._confirm(await messages.edit_message(state, self._conversation, self._address, to, id, text))
                case ReplyStop(to):
                    await state.rate_limits.stop(self._conversation, self._address, id=to)
                    await messages.stop_reply(state, self._conversation, to)
                case ReplyRetry(to, id):
                    await messages.retry_reply(state, self._conversation, self._address, to, id)
                case ReplyContinue(to, id):
                    await messages.continue_reply(state, self._conversation, self._address, to, id)
                case HistoryBefore(before):
                    if wait := state.visitors.call(self._address):
                        raise FrameRejectedError("rate_limited", TOO_FAST, id=before, retry_in=wait)
                    page = await messages.read_history(state.redis, self._conversation, before)
                    self._reader.push(frames.history(before, page))
        except StorageError as error:
            log.warning("frame.unavailable type=%s error=%s", type(frame).__name__, error)
            raise FrameRejectedError("unavailable", UNAVAILABLE, id=_id_of(frame)) from error

    def _confirm(self, accepted: Accepted) -> None:
        """Answer a message that was sent again; a new one reaches every socket through the stream."""
        # An event that this socket does not have yet must not overtake those before it.
        if accepted.known and parse_cursor(accepted.cursor) <= self._reader.cursor:
            self._reader.push(accepted.frame())
