"""What the HTTP calls answer, as the OpenAPI document at /openapi.json describes it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field


class Session(BaseModel):
    """A conversation that has just begun."""

    token: str
    name: str
    session_start: str = Field(description="ISO 8601, UTC")
    messages: list[None] = Field(max_length=0)


class LegacyMessage(BaseModel):
    """A message in the older contract's shape."""

    id: str
    msg: str = Field(pattern="^(Human|Bot): ")
    timestamp: str = Field(description="ISO 8601, UTC")


class LegacySession(BaseModel):
    """A conversation in the older contract's shape."""

    token: str
    name: str
    session_start: str = Field(description="ISO 8601, UTC")
    messages: list[LegacyMessage]


class Problem(BaseModel):
    """The reason for a refusal, as a sentence for the person."""

    detail: str


class Health(BaseModel):
    """The process lives."""

    status: str


class Readiness(BaseModel):
    """Whether a new message would be answered, and if not, what is missing for that."""

    ready: bool
    missing: list[str]


_WHY = {
    200: "Done",
    400: "An empty or too long name, or an unknown or expired token",
    401: "METRICS_TOKEN is set and was not sent as bearer token",
    403: "Another site asks in the visitor's name",
    429: "Too many from this address; Retry-After says when to come back",
    503: "Redis cannot be used right now; try again",
}
_RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "string"}}}

#: The two answers of /readyz.
READY: dict[int | str, dict[str, Any]] = {
    200: {"model": Readiness, "description": "A new message would be answered"},
    429: {"model": Problem, "description": _WHY[429], "headers": _RETRY},
    503: {"model": Readiness, "description": "It would not"},
}


def of(*statuses: int, ok: type[BaseModel] = Problem) -> dict[int | str, dict[str, Any]]:
    """The answers of a call; `ok` is the shape of the good one."""
    return {
        status: {
            "model": ok if status < 300 else Problem,
            "description": _WHY[status],
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status in statuses
    }


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the 422 that FastAPI adds: any text is a valid name and a valid token here."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for path in app.openapi_schema["paths"].values():
            for call in path.values():
                call["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            app.openapi_schema["components"]["schemas"].pop(unused, None)
    return app.openapi_schema
