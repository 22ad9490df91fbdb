"""What every call and socket passes on its way in and out."""

import asyncio
import logging

from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.state import AppState
from tasks.errors import ClientTooSlowError

log = logging.getLogger("parley.http")

#: Seconds in which a client has to take some of what it is sent.
SEND_TIMEOUT = 10.0

FOREIGN_ORIGIN = "This page may not call this service: its origin is not among those allowed."
#: What was sent behind a call that is refused is not even read.
HANG_UP = {"Connection": "close"}
TOO_MANY_CALLS = "Too many calls from here. Please try again in {wait} seconds."


class Boundary:
    """Where server and application meet: gives up clients that do not read, and logs errors that nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            # The server waits here while a client does not read, for ever if need be. Sockets have bounds of their own:
            # what they have not taken is counted, and pings find those that are gone.
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await send(message)
            except TimeoutError:
                raise ClientTooSlowError from None

        try:
            await self._app(scope, receive, send_in_time if scope["type"] == "http" else send)
        except ClientTooSlowError:
            log.info("client.too_slow path=%s", scope["path"] if scope["path"] in ("/chat", "/refresh_token") else "…")
        except Exception:
            log.exception("call.failed type=%s method=%s", scope["type"], scope.get("method"))
            raise


class HeadAsGet:
    """Answers HEAD as GET is answered, without the body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, without_body)


class Admission:
    """Refuses calls that another site makes in a visitor's name, and more calls of one address than are possible.

    Health checks of platforms and the page's own files are not counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._refusal(scope) if scope["type"] == "http" else None
        await (response or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        request = Request(scope)
        state: AppState = request.app.state.state
        # CORS keeps a foreign page from reading the answer, but not from having the call carried out.
        if request.method not in ("GET", "HEAD", "OPTIONS") and not state.origins.allow(request):
            return JSONResponse({"detail": FOREIGN_ORIGIN}, 403)
        if request.url.path == "/healthz" or request.url.path.startswith("/assets/"):
            return None
        if wait := state.visitors.call(state.visitors.address_of(request)):
            return JSONResponse(
                {"detail": TOO_MANY_CALLS.format(wait=wait)}, 429, {"Retry-After": str(wait), **HANG_UP}
            )
        return None
