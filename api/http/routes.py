"""The HTTP calls and the two sockets, each handed to the module that does the work."""

import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from api import frames
from api.http import metrics, schemas
from api.sessions import conversation_of, create, legacy_history
from api.state import AppState
from api.ws import legacy, stream
from tasks.errors import ConversationGoneError, InvalidNameError, StorageUnavailableError
from tasks.storage import conversations

router = APIRouter()

#: Histories that wait until another one has begun; together they wait for about a second. One more is refused.
MAX_HISTORIES_WAITING = 200
UNKNOWN = "This session is unknown or has expired. Please start a new one."
ASK_WITH_TOKEN = "This is for operators: ask with METRICS_TOKEN as bearer token."  # noqa: S105


def state_of(request: Request) -> AppState:
    """What the process shares."""
    state: AppState = request.app.state.state
    return state


Shared = Annotated[AppState, Depends(state_of)]
Token = Annotated[str, Query(description="The session token.")]
Name = Annotated[str, Query(description="What the person is called, up to 200 characters.")]


def is_operator(request: Request, state: AppState) -> bool:
    """Whether a call may read what only operators need to know."""
    token = state.settings.metrics_token
    if token is None:
        return True
    given = request.headers.get("authorization", "").encode()
    return secrets.compare_digest(given, f"Bearer {token.get_secret_value()}".encode())


@router.post("/token", responses=schemas.of(200, 400, 403, 429, 503, ok=schemas.Session))
async def begin(request: Request, state: Shared, name: Name = "") -> Any:
    """Begin a conversation for a person of this name."""
    address = state.visitors.address_of(request)
    wait = await state.rate_limits.session(address)
    if wait:
        raise HTTPException(
            429,
            f"Too many new sessions from here. Please come back in {wait} seconds.",
            {"Retry-After": str(wait)},
        )
    try:
        return await create(state.redis, name, state.settings.session_ttl_seconds)
    except InvalidNameError as error:
        raise HTTPException(400, str(error)) from None


@router.get("/refresh_token", responses=schemas.of(200, 400, 429, 503, ok=schemas.LegacySession))
async def history(request: Request, state: Shared, token: Token = "") -> Any:
    """The conversation in the older contract's shape."""
    if state.histories_waiting >= MAX_HISTORIES_WAITING:
        raise StorageUnavailableError("More histories are asked for than can be read.")
    state.histories_waiting += 1
    try:
        async with state.history_turn:
            if await request.is_disconnected():
                return Response()
            pieces = await legacy_history(state.redis, conversation_of(token), state.settings.session_ttl_seconds)
    except ConversationGoneError:
        raise HTTPException(400, UNKNOWN) from None
    finally:
        state.histories_waiting -= 1
    return History(_counted(pieces, request, state), media_type="application/json")


class History(StreamingResponse):
    """A response in pieces that is not cancelled when the client hangs up.

    Starlette would cancel the command to Redis that is under way, and again when redis-py gives its connection back, so
    the connection would be lost to the pool.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


async def _counted(pieces: AsyncIterator[bytes], request: Request, state: AppState) -> AsyncIterator[bytes]:
    """The pieces of a history, counted for whoever asked for it."""
    address = state.visitors.address_of(request)
    while not await request.is_disconnected():
        async with state.history_turn:
            piece = await anext(pieces, None)
        if piece is None:
            return
        state.visitors.history(address, len(piece))
        yield piece


@router.delete("/token", status_code=204, responses=schemas.of(400, 403, 429, 503))
async def forget(state: Shared, token: Token = "") -> Response:
    """Delete a conversation; its readers get an event."""
    try:
        gone = not await conversations.delete(state.redis, conversation_of(token))
    except ConversationGoneError:
        gone = True
    if gone:
        raise HTTPException(400, UNKNOWN)
    return Response(status_code=204)


@router.get("/healthz")
async def health() -> schemas.Health:
    """The process lives."""
    return schemas.Health(status="ok")


@router.get("/readyz", responses=schemas.READY)
async def ready(request: Request, state: Shared) -> Response:
    """A new message would be answered."""
    missing = await state.missing()
    if missing and not is_operator(request, state):
        missing = [ASK_WITH_TOKEN]
    return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)


@router.get("/metrics", response_class=PlainTextResponse, responses=schemas.of(401, 429, 503))
async def show_metrics(request: Request, state: Shared) -> Response:
    """The metrics of all processes."""
    if not is_operator(request, state):
        raise HTTPException(401, ASK_WITH_TOKEN, {"WWW-Authenticate": "Bearer"})
    return Response(metrics.text(await state.totals(), await state.gauges()), media_type=CONTENT_TYPE_LATEST)


class Sockets:
    """Takes the sockets out before all that is made for calls: each layer costs memory and time for each socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/chat":
            await chat(WebSocket(scope, receive, send))
        else:
            await self._app(scope, receive, send)


async def refuse(socket: WebSocket, code: int, streams: bool) -> None:
    """Close a socket with `code` (RFC 6455, 7.4) before it is served.

    A socket that streams is accepted first: browsers hide the reason of a handshake that was refused.
    """
    if streams:
        await socket.accept(subprotocol=frames.SUBPROTOCOL)
    await socket.close(code)


async def chat(socket: WebSocket) -> None:
    """The stream contract if the client names its subprotocol, else the older one."""
    state: AppState = socket.app.state.state
    token, after = socket.query_params.get("token", ""), socket.query_params.get("after")
    streams = frames.SUBPROTOCOL in socket.scope["subprotocols"]
    if not state.origins.allow(socket):
        await refuse(socket, frames.FORBIDDEN_ORIGIN, streams)
    elif state.visitors.call(state.visitors.address_of(socket)):
        await refuse(socket, frames.TOO_MANY_REQUESTS, streams)
    elif streams:
        await stream.serve(socket, state, token, after)
    else:
        await legacy.serve(socket, state, token)
