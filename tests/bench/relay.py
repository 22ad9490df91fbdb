"""The direct relay that Parley is measured against: the socket's handler calls the model itself and stores nothing.

Written as well as it can be: one pooled client, the body read at httpx's lowest level, one frame a token, spliced
rather than encoded, and started with the same uvicorn options as the Procfile's `web`. RELAY_TRANSPORT chooses httpx's
own transport (`httpx`) or the one that Parley uses (`aiohttp`), which makes it the best relay.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
from httpx_aiohttp import HttpxAiohttpClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from api.frames import SUBPROTOCOL
from tasks.model.sse import EventStream

MODEL_URL = os.environ.get("MODEL_URL", "")
#: Settings of a request, as Parley's own; no stop sequence, so its stream is two events shorter.
PARAMETERS = {"max_new_tokens": 200, "temperature": 0.7, "top_p": 0.9, "details": True, "return_full_text": False}

FINISHED = '{"type":"reply.finished","message":{"role":"bot"}}'
SNAPSHOT = '{"type":"snapshot"}'


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One client for all sockets, with as many connections as they need."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    kind = HttpxAiohttpClient if os.environ.get("RELAY_TRANSPORT") == "aiohttp" else httpx.AsyncClient
    async with kind(limits=limits, timeout=60, trust_env=False) as client:
        app.state.client = client
        yield


async def token(request: Request) -> Response:
    """What a client needs to open a socket."""
    return JSONResponse({"token": str(uuid.uuid4())})


async def health(request: Request) -> Response:
    """The process lives."""
    return PlainTextResponse("ok")


async def chat(socket: WebSocket) -> None:
    """Answer each message in turn."""
    await socket.accept(subprotocol=SUBPROTOCOL)
    await socket.send_text(SNAPSHOT)
    async for text in socket.iter_text():
        await answer(socket, orjson.loads(text)["text"])


async def answer(socket: WebSocket, text: str) -> None:
    """Ask the model and pass each token on as it comes."""
    client: httpx.AsyncClient = socket.app.state.client
    body = orjson.dumps({"inputs": f"\nAda: {text}\nBot:", "parameters": PARAMETERS, "stream": True})
    head = f'{{"type":"reply.delta","id":"{uuid.uuid4()}","text":'
    events = EventStream()
    async with client.stream("POST", MODEL_URL, content=body) as response:
        response.raise_for_status()
        async for chunk in response.aiter_raw():
            for data in events.feed(chunk):
                event = orjson.loads(data)
                if not event["token"]["special"]:
                    await socket.send_text(f"{head}{orjson.dumps(event['token']['text']).decode()}}}")
    await socket.send_text(FINISHED)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/token", token, methods=["POST"]),
        Route("/healthz", health),
        WebSocketRoute("/chat", chat),
    ],
)
