"""Everything that can go wrong with a model server: its code, its two sentences, and what to do about it.

One sentence is for the person, who can only wait, try again or tell somebody. The other is for the operator, names
the setting, and goes to the log and to `make try-model`.
"""

import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
import httpx

from tasks.errors import ModelError, ParleyError
from tasks.model.decoder import ProtocolMismatch, ServerError
from tasks.model.error_body import describe, names_in, number_in, parse_body

Reason = Literal["model_loading", "rate_limited", "retrying"]

#: Seconds: a loading model is asked again at least so often, whatever it estimates; it may be ready sooner.
LOADING_POLL = 15.0
#: Characters of a server's own words that are logged.
QUOTE_LIMIT = 300

NOT_SET_UP = "The model is not set up correctly. Please tell whoever runs this site."
TOO_LONG = "This conversation is too long for the model. Please start a new one."
STARTING = "The model is still starting. Please try again in a few minutes."
BUSY = "The model server has more requests than it takes. Please try again in a moment."
UNREACHABLE = "The model cannot be reached. Please try again in a while."
FAILED = "The model failed. Please try again."
BROKEN_OFF = "The model broke off in the middle of its reply. Please try again."


class ModelRequestError(ParleyError):
    """Why one request failed. With a `reason` waiting can help; without, somebody must change something.

    `person` and `operator` are the two sentences. `delay` is the number of seconds for which the server asks to wait.
    `quoted` are the server's own words for the operator: `without` takes secrets and people's words out of them.
    `named` holds all names in the server's words, to find the parameter that a server does not know.
    """

    def __init__(
        self,
        code: str,
        person: str,
        operator: str,
        *,
        reason: Reason | None = None,
        delay: float | None = None,
        quoted: str = "",
        named: tuple[str, ...] = (),
    ) -> None:
        super().__init__(operator)
        self.code = code
        self.person = person
        self.operator = operator
        self.reason = reason
        self.delay = delay
        self.quoted = quoted
        self.named = named

    @property
    def waiting_reason(self) -> Reason:
        """The `reason` of the `reply.waiting` event; the page turns it into a sentence."""
        return self.reason or "retrying"

    def final(self, more: str = "") -> ModelError:
        """The error that ends the reply; `more` is a further sentence for the operator."""
        said = f"{self.operator} The server says: {self.quoted}" if self.quoted else self.operator
        return ModelError(self.code, self.person, retryable=self.reason is not None, operator=f"{said} {more}".strip())


def _permanent(code: str, operator: str, person: str = NOT_SET_UP) -> ModelRequestError:
    return ModelRequestError(code, person, operator)


#: Responses that nobody can wait out: status, code, sentence for the operator.
_PERMANENT = {
    401: ("model_unauthorized", "The model server does not accept the token; check HF_TOKEN."),
    403: ("model_forbidden", "The token may not use this model server; check HF_TOKEN's rights and MODEL_URL."),
    404: (
        "model_not_found",
        "There is no model server at MODEL_URL, or it has no model called MODEL_NAME; check both, and MODEL_PROTOCOL.",
    ),
    405: (
        "model_not_found",
        "The address in MODEL_URL takes no requests for text; check its path and MODEL_PROTOCOL.",
    ),
    407: ("model_proxy", "The proxy in HTTPS_PROXY or HTTP_PROXY does not accept this process; check its password."),
    410: (
        "model_gone",
        "The service at MODEL_URL has been retired (as Hugging Face's free serverless one was); "
        "set MODEL_URL to an Inference Endpoint, TGI or vLLM.",
    ),
}

#: Errors that can pass: status, code, the sentence for the person, the one for the operator, the waiting reason.
_PASSING: dict[int, tuple[str, str, str, Reason]] = {
    408: ("model_timeout", FAILED, "The model server gave up waiting for the request.", "retrying"),
    424: ("model_generation", FAILED, "The model failed while it was generating text.", "retrying"),
    425: ("model_timeout", FAILED, "The model server was not ready for the request.", "retrying"),
    429: ("model_rate_limited", BUSY, "The model server has more requests than it takes.", "rate_limited"),
    500: ("model_server_error", FAILED, "The model server reports an error of its own.", "retrying"),
    502: ("model_bad_gateway", UNREACHABLE, "The model server cannot be reached behind its gateway.", "retrying"),
    503: ("model_loading", STARTING, "The model is still loading or its endpoint is starting up.", "model_loading"),
    504: ("model_gateway_timeout", UNREACHABLE, "The model server did not answer its gateway in time.", "retrying"),
}

#: Statuses whose words are not looked at for a prompt that is too long: "too many tokens per minute" is a rate.
_NEVER_TOO_LONG = (401, 403, 404, 405, 407, 408, 410, 429, 502, 503, 504)

#: In the words of TGI, vLLM, llama.cpp, Ollama, LM Studio, SGLang, TensorRT-LLM, OpenAI's and Anthropic's proxies,
#: and (of a position table) PyTorch.
_TOO_LONG = re.compile(
    r"""inputs?`?\ tokens | must\ have\ less\ than | too\ many\ tokens | reduce\ the\ length
    | context[\ _]?(length|size|window) | (context|tokens?)\ (the\ )?overflow
    | max(imum)?[\ _](allowed\ )?(model|sequence|seq|input|prompt|position)[\ _]?(length|len|tokens|embeddings)
    | (prompt|inputs?|messages?|conversation|sequence)\b.{0,60}\b(too\ (long|large)|exceed|longer\ than)
    | \blength\b.{0,60}\b(exceed|longer\ than|greater\ than) | at\ most\ \d+\ (characters|tokens)
    | index\ .*out\ of\ (bounds|range)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

#: What servers call an error that another request of the same kind will meet again.
_REJECTIONS = ("validation", "badrequest", "bad_request", "invalid_request", "invalidrequest", "not_supported")
#: And one that says that the server has too much to do.
_OVERLOADS = ("overloaded", "rate_limit", "ratelimit", "too_many_requests")


def from_status(status: int, headers: Mapping[str, str], body: bytes, url: str = "") -> ModelRequestError:
    """A response of `url` with an HTTP `status` that is no success; `body` is its beginning."""
    if 300 <= status < 400:
        return _redirected(url, headers.get("location", ""))
    value = parse_body(body)
    message = describe(value)
    error = _from_status(status, headers, value, message)
    error.quoted, error.named = message, tuple(names_in(value))
    return error


def _from_status(status: int, headers: Mapping[str, str], value: Any, message: str) -> ModelRequestError:
    if status == 413 or (status not in _NEVER_TOO_LONG and _TOO_LONG.search(message)):
        return too_long()
    if status in _PASSING:
        code, person, operator, reason = _PASSING[status]
        return ModelRequestError(code, person, operator, reason=reason, delay=_delay(headers, value, reason))
    if status in _PERMANENT:
        return _permanent(*_PERMANENT[status])
    if status >= 500:
        return ModelRequestError(
            "model_server_error", FAILED, f"The model server answers with status {status}.", reason="retrying"
        )
    return _permanent("model_rejected", f"The model server rejects the request with status {status}.")


def from_event(event: ServerError | ProtocolMismatch) -> ModelRequestError:
    """A response that began well and then was none."""
    if isinstance(event, ProtocolMismatch):
        return protocol_mismatch(event.what)
    error = _from_server_error(event)
    error.quoted, error.named = event.message, (event.message,)
    return error


def _from_server_error(event: ServerError) -> ModelRequestError:
    kind = event.kind.lower().replace(" ", "_")
    if any(word in kind for word in _OVERLOADS):
        return ModelRequestError("model_rate_limited", BUSY, _PASSING[429][2], reason="rate_limited")
    if event.status not in _NEVER_TOO_LONG and _TOO_LONG.search(f"{event.message} {kind}"):
        return too_long()
    if event.status and event.status != 500:
        return _from_status(event.status, {}, None, "")
    if any(word in kind for word in _REJECTIONS):
        return _permanent("model_rejected", "The model server rejects the request.")
    return stream_error()


def too_long() -> ModelRequestError:
    """Prompt and reply are more than the server's context."""
    return _permanent(
        "model_too_long",
        "The model server finds the conversation too long; lower MODEL_CONTEXT or MAX_NEW_TOKENS.",
        TOO_LONG,
    )


def stream_error() -> ModelRequestError:
    """The server said inside its reply that it cannot go on."""
    return ModelRequestError(
        "model_stream_error", BROKEN_OFF, "The model failed in the middle of its reply.", reason="retrying"
    )


def cut(*, began: bool) -> ModelRequestError:
    """The response ended before the reply did."""
    if began:
        return ModelRequestError(
            "model_cut", BROKEN_OFF, "The connection to the model broke in the middle of its reply.", reason="retrying"
        )
    return ModelRequestError(
        "model_cut", FAILED, "The model server ended its answer before the first word.", reason="retrying"
    )


def empty() -> ModelRequestError:
    """The reply ended without a word."""
    return ModelRequestError(
        "model_empty", "The model had nothing to say. Please try again.", "The model answered without a single word.",
        reason="retrying",
    )  # fmt: skip


def protocol_mismatch(what: str) -> ModelRequestError:
    """The server speaks, but not what we asked it to."""
    return _permanent(
        "model_misfit",
        f"The model server sent {what}; check that MODEL_URL is a model server's address "
        "and that MODEL_PROTOCOL (text-generation or completions) is the one it speaks.",
    )


def from_exception(error: BaseException, *, answered: bool, began: bool) -> ModelRequestError:
    """What the transport raised. `answered`: after the head of the response; `began`: after a token."""
    causes = list(_causes(error))

    def caused(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    def passing(code: str, operator: str, person: str = UNREACHABLE) -> ModelRequestError:
        return ModelRequestError(code, person, operator, reason="retrying")

    connecting = caused(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    if caused(httpx.DecodingError):
        return protocol_mismatch("a body that is not in the Content-Encoding that it names")
    silent = caused(TimeoutError, httpx.ReadTimeout)
    if silent and began:
        return passing("model_silent", "The model fell silent in the middle of its reply.", BROKEN_OFF)
    if silent and answered:
        return passing("model_silent", "The model is silent before the first word of its reply.", FAILED)
    if answered:
        return cut(began=began)
    if caused(aiohttp.ClientHttpProxyError):
        return passing("model_proxy", "The proxy in HTTPS_PROXY or HTTP_PROXY refuses to connect to the model server.")
    if caused(aiohttp.ClientProxyConnectionError):
        return passing("model_proxy", "The proxy in HTTPS_PROXY or HTTP_PROXY cannot be reached.")
    if caused(ssl.SSLError, ssl.CertificateError):
        return passing(
            "model_tls",
            "No secure connection to the model server: check the https address in MODEL_URL and the server's "
            "certificate; SSL_CERT_FILE names a private authority.",
        )
    if caused(socket.gaierror):
        return passing("model_dns", "The model server's name is not known; check MODEL_URL.")
    if caused(ConnectionRefusedError):
        return passing("model_refused", "Nothing answers at the model server's address; is it running?")
    if connecting:
        return passing("model_unreachable", "The model server's address cannot be reached.")
    if silent:
        return passing("model_silent", "The model server does not answer.", FAILED)
    if caused(aiohttp.ClientResponseError):
        return protocol_mismatch("something that is not HTTP")
    return passing("model_disconnected", "The model server closed the connection without an answer.", FAILED)


def is_disconnect(error: BaseException) -> bool:
    """Whether the server closed the connection before a byte of its response came.

    It may have closed it while it was unused: then the request has not been seen, and may be sent again.
    """
    return any(
        isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError)
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _redirected(url: str, location: str) -> ModelRequestError:
    """A redirect. Its address is quoted without its query, which may hold a key."""
    error = _permanent(
        "model_redirected",
        "MODEL_URL leads to another address; if that is the model server's, set MODEL_URL to it.",
    )
    if location:
        parts = urlsplit(urljoin(url, location))
        error.quoted = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return error


def _delay(headers: Mapping[str, str], value: Any, reason: Reason) -> float | None:
    """How long the server asks to wait: Retry-After (seconds or a date), or an older 503's `estimated_time`."""
    if (estimated := number_in(value, "estimated_time")) > 0:
        return min(estimated, LOADING_POLL)
    wait = _retry_after(headers.get("retry-after", ""))
    return min(wait, LOADING_POLL) if wait is not None and reason == "model_loading" else wait


def _retry_after(value: str) -> float | None:
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
