"""Everything that can go wrong with a model server, each with its code, its sentence and what to do about it."""

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from tasks.errors import ModelError
from tasks.model.connection import NotHttp, Silent, Unreachable
from tasks.model.decoder import ProtocolMismatch, ServerError

Reason = Literal["model_loading", "rate_limited", "retrying"]

#: Seconds: a loading model is asked again at least so often, whatever it estimates; it may be ready sooner.
LOADING_POLL = 15.0


@dataclass
class ModelRequestError(Exception):
    """Why one request failed. With a `reason` waiting can help; without, somebody must change something.

    `delay`: seconds the server asks to wait. `quoted`: the server's own words; the person may see them, the log
    must not, since they may quote the person.
    """

    code: str
    detail: str
    reason: Reason | None = None
    delay: float | None = None
    quoted: str = ""

    @property
    def waiting_reason(self) -> Reason:
        """What the person is told meanwhile."""
        return self.reason or "retrying"

    def error(self, more: str = "") -> ModelError:
        """The same, said in the end, with `more` to say."""
        said = f"{self.detail}: {self.quoted}" if self.quoted else self.detail
        detail = f"{said} {more}".strip()
        return ModelError(self.code, detail, retryable=self.reason is not None)


def _permanent(code: str, detail: str) -> ModelRequestError:
    return ModelRequestError(code, detail)


#: Answers that nobody can wait out: status, code, sentence.
_PERMANENT = {
    401: ("model_unauthorized", "The model server does not accept the token; check HF_TOKEN."),
    403: (
        "model_forbidden",
        "The token may not use this model server; check HF_TOKEN's rights and MODEL_URL.",
    ),
    404: (
        "model_not_found",
        "There is no model server at MODEL_URL, or it has no model called MODEL_NAME; check both, and MODEL_PROTOCOL.",
    ),
    405: (
        "model_not_found",
        "The address in MODEL_URL takes no requests for text; check its path and MODEL_PROTOCOL.",
    ),
    410: (
        "model_gone",
        "The service at MODEL_URL has been retired (as Hugging Face's free serverless one was); "
        "set MODEL_URL to an Inference Endpoint, TGI or vLLM.",
    ),
    413: (
        "model_too_long",
        "The model server finds the conversation too long; lower MODEL_CONTEXT or MAX_NEW_TOKENS.",
    ),
}

#: Answers that may be different in a while: status, code, sentence, what the person is told meanwhile.
_PASSING: dict[int, tuple[str, str, Reason]] = {
    408: ("model_timeout", "The model server gave up waiting for the request.", "retrying"),
    424: ("model_generation", "The model failed while it was generating text.", "retrying"),
    425: ("model_timeout", "The model server was not ready for the request.", "retrying"),
    429: ("model_rate_limited", "The model server has more requests than it takes.", "rate_limited"),
    500: ("model_server_error", "The model server reports an error of its own.", "retrying"),
    502: ("model_bad_gateway", "The model server cannot be reached behind its gateway.", "retrying"),
    503: ("model_loading", "The model is still loading or its endpoint is starting up.", "model_loading"),
    504: ("model_gateway_timeout", "The model server did not answer its gateway in time.", "retrying"),
}


def from_status(status: int, headers: Mapping[str, str], body: bytes) -> ModelRequestError:
    """An answer that is not 200; `body` is its beginning."""
    message = _message(body)
    if _is_too_long(message):
        return _permanent(*_PERMANENT[413])
    if status in _PASSING:
        code, detail, reason = _PASSING[status]
        return ModelRequestError(code, detail, reason, _delay(headers, body, reason))
    if status in _PERMANENT:
        return _permanent(*_PERMANENT[status])
    if 300 <= status < 400:
        return _permanent("model_redirected", "MODEL_URL leads to another address; set MODEL_URL to that one.")
    if status >= 500:
        return ModelRequestError("model_server_error", f"The model server answers with status {status}.", "retrying")
    return ModelRequestError(
        "model_rejected", f"The model server rejects the request with status {status}", quoted=message
    )


def from_event(event: ServerError | ProtocolMismatch) -> ModelRequestError:
    """An answer that began well and then was none."""
    if isinstance(event, ProtocolMismatch):
        return protocol_mismatch(event.what)
    kind = event.kind.lower()
    if _is_too_long(event.message):
        return _permanent(*_PERMANENT[413])
    if kind in ("validation", "badrequesterror", "invalid_request_error"):
        return ModelRequestError("model_rejected", "The model server rejects the request", quoted=event.message[:200])
    if kind == "overloaded":
        return ModelRequestError("model_rate_limited", _PASSING[429][1], "rate_limited")
    return ModelRequestError("model_stream_error", "The model failed in the middle of its reply.", "retrying")


def protocol_mismatch(what: str) -> ModelRequestError:
    """The server speaks, but not what we asked it to."""
    return _permanent(
        "model_misfit",
        f"The model server sent {what}; check that MODEL_URL is a model server's address "
        "and that MODEL_PROTOCOL (text-generation or completions) is the one it speaks.",
    )


def from_exception(error: Exception, *, streaming: bool) -> ModelRequestError:
    """What the transport raised; `streaming`: after the answer had begun."""
    causes = list(_causes(error))

    def caused(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if streaming:
        if caused(Silent):
            return ModelRequestError("model_silent", "The model fell silent in the middle of its reply.", "retrying")
        return ModelRequestError(
            "model_cut", "The connection to the model broke in the middle of its reply.", "retrying"
        )
    if caused(ssl.SSLError, ssl.CertificateError):
        return ModelRequestError(
            "model_tls", "No secure connection to the model server: check the https address in MODEL_URL "
            "and the server's certificate.", "retrying",
        )  # fmt: skip
    if caused(socket.gaierror):
        return ModelRequestError("model_dns", "The model server's name is not known; check MODEL_URL.", "retrying")
    if caused(ConnectionRefusedError):
        return ModelRequestError(
            "model_refused", "Nothing answers at the model server's address; is it running?", "retrying"
        )
    if caused(Silent):
        return ModelRequestError("model_silent", "The model server does not answer.", "retrying")
    if caused(Unreachable):
        return ModelRequestError("model_unreachable", "The model server's address cannot be reached.", "retrying")
    if caused(NotHttp):
        return protocol_mismatch("something that is not HTTP")
    return ModelRequestError(
        "model_disconnected", "The model server closed the connection without an answer.", "retrying"
    )


def _is_too_long(message: str) -> bool:
    """Whether prompt and reply exceeded the context, in TGI's, vLLM's or (of a position table) PyTorch's words."""
    return (
        re.search(r"inputs?`? tokens|must have less than|context length|index .*out of (bounds|range)", message)
        is not None
    )


def _causes(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _message(body: bytes) -> str:
    """What a JSON error body says, in at most 200 characters; empty if it is none."""
    match _json(body):
        case (
            {"error": {"message": str(message)}}
            | {"error": str(message)}
            | {"message": str(message)}
            | {"detail": str(message)}
        ):
            return " ".join(message.split())[:200]
    return ""


def _delay(headers: Mapping[str, str], body: bytes, reason: Reason) -> float | None:
    """How long the server asks to wait: Retry-After (seconds or a date), or an older 503's `estimated_time`."""
    match _json(body):
        case {"estimated_time": int() | float() as estimated} if estimated > 0:
            return min(float(estimated), LOADING_POLL)
    wait = _retry_after(headers.get("retry-after", ""))
    return min(wait, LOADING_POLL) if wait is not None and reason == "model_loading" else wait


def _retry_after(value: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
