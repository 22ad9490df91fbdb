"""The web process: the calls, the sockets, and the built page."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.middleware.cors import CORSMiddleware

from api.http.assets import Assets
from api.http.middleware import Admission, Boundary, HeadAsGet
from api.http.routes import Sockets, router
from api.http.schemas import document
from api.http.security_headers import HEADERS, SecurityHeaders
from api.state import AppState
from tasks.errors import StorageError
from tasks.settings import Settings, settings
from tasks.startup import freeze_gc, set_up_logging

log = logging.getLogger("parley.app")

PAGE = Path(__file__).parent.parent / "frontend" / "dist"
AWAY = "The conversations cannot be reached right now. Please try again in a moment."

FAILED = "Something went wrong on our side."


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.state = state = AppState(settings)
        try:
            await state.start()
        except Exception:
            log.exception("web.start_failed")
            raise
        freeze_gc()
        yield
        await state.stop()

    app = FastAPI(title="Parley", version="1.0.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Admission)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
    )
    app.add_middleware(HeadAsGet)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Sockets)
    app.add_middleware(Boundary)
    app.add_exception_handler(StorageError, _away)
    app.add_exception_handler(Exception, _failed)
    app.include_router(router)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    if PAGE.is_dir():
        _serve_page(app)
    return app


async def _away(request: Request, error: Exception) -> Response:
    log.warning("a call was refused: %s", error)
    return JSONResponse({"detail": AWAY}, 503, {"Retry-After": "2"})


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours, which the server logs; this answer passes no middleware any more."""
    return JSONResponse({"detail": FAILED}, 500, HEADERS)


def _serve_page(app: FastAPI) -> None:
    assets = Assets(PAGE / "assets")

    @app.get("/assets/{name:path}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        """A script or a style of the page."""
        return assets.response(name, request)

    # Looked up by name: what a stranger sends never becomes a path.
    files = {file.name: file for file in PAGE.iterdir() if file.is_file()}

    @app.get("/{path:path}", include_in_schema=False)
    async def page(path: str) -> Response:
        """The page's own files; every other address is the page, which knows what to show there."""
        return FileResponse(files.get(path, PAGE / "index.html"), headers={"Cache-Control": "no-cache"})


set_up_logging()
app = create_app(settings())
