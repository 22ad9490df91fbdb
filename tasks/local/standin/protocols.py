"""How the stand-in says it: requests read and answers encoded in each of the two protocols."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

Protocol = Literal["text-generation", "completions"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of either protocol."""

    protocol: Protocol
    prompt: str
    limit: int
    stop: tuple[str, ...]
    stream: bool
    details: bool = False
    model: str = "stand-in"


class InvalidRequestError(ValueError):
    """A request that the protocol's own server would refuse with a validation error."""


def read(path: str, body: dict[str, Any]) -> Asked:
    """The request in `body`, sent to `path`.

    Raises InvalidRequestError.
    """
    return _read_completions(body) if path.endswith("/completions") else _read_text_generation(path, body)


def _read_text_generation(path: str, body: dict[str, Any]) -> Asked:
    parameters = body.get("parameters") or {}
    stop = tuple(parameters.get("stop") or ())
    limit = parameters.get("max_new_tokens", 100)
    top_p = parameters.get("top_p")
    if not isinstance(body.get("inputs"), str):
        raise InvalidRequestError("missing field `inputs`")
    if len(stop) > 4:
        raise InvalidRequestError("Input validation error: `stop` supports up to 4 stop sequences")
    if top_p is not None and not 0 < top_p < 1:
        raise InvalidRequestError("Input validation error: `top_p` must be > 0.0 and < 1.0")
    for name, value in {**parameters, "max_new_tokens": limit}.items():
        if (
            name in ("max_new_tokens", "temperature", "top_k", "repetition_penalty")
            and value is not None
            and value <= 0
        ):
            raise InvalidRequestError(f"Input validation error: `{name}` must be strictly positive")
    stream = path.endswith("_stream") or (path == "/" and bool(body.get("stream")))
    return Asked("text-generation", body["inputs"], limit, stop, stream, details=bool(parameters.get("details")))


def _read_completions(body: dict[str, Any]) -> Asked:
    stop = body.get("stop") or ()
    if not isinstance(body.get("prompt"), str):
        raise InvalidRequestError("prompt must be a string")
    return Asked(
        "completions",
        body["prompt"],
        16 if body.get("max_tokens") is None else body["max_tokens"],
        (stop,) if isinstance(stop, str) else tuple(stop),
        bool(body.get("stream")),
        model=str(body.get("model") or "stand-in"),
    )


def token(asked: Asked, number: int, text: str) -> bytes:
    """The event of the token `number`, counted from 1."""
    if asked.protocol == "completions":
        return b"data: " + orjson.dumps(_choice(asked, text, None)) + b"\n\n"
    event = {"index": number, "token": _token(number, text), "generated_text": None, "details": None}
    return b"data:" + orjson.dumps(event) + b"\n\n"


def end(asked: Asked, number: int, last: str, text: str, reason: str) -> bytes:
    """What closes the stream: the event of the token `number`, the last; `text` is the whole reply."""
    if asked.protocol == "completions":
        return b"data: " + orjson.dumps(_choice(asked, last, reason)) + b"\n\ndata: [DONE]\n\n"
    details = {
        "finish_reason": reason,
        "generated_tokens": number,
        "seed": None,
        "input_length": len(asked.prompt),
    }
    event = {
        "index": number,
        "token": _token(number, last or "<|endoftext|>", special=not last),
        "generated_text": text,
        "details": details if asked.details else None,
    }
    return b"data:" + orjson.dumps(event) + b"\n\n"


def whole(asked: Asked, path: str, tokens: int, text: str, reason: str) -> bytes:
    """The answer to a request that does not stream: a `text` of `tokens` tokens."""
    if asked.protocol == "completions":
        return orjson.dumps(_choice(asked, text, reason))
    answer: dict[str, Any] = {"generated_text": text}
    if asked.details:
        answer["details"] = {
            "finish_reason": reason, "generated_tokens": tokens, "seed": None, "prefill": [], "tokens": [],
        }  # fmt: skip
    return orjson.dumps([answer] if path == "/" else answer)


def error(asked: Asked, kind: str) -> bytes:
    """An error in the middle of a stream."""
    if asked.protocol == "completions":
        event: dict[str, Any] = {"error": {"message": "The stand-in was told to fail.", "type": kind, "code": 500}}
        return b"data: " + orjson.dumps(event) + b"\n\ndata: [DONE]\n\n"
    event = {"error": "The stand-in was told to fail.", "error_type": kind}
    return b"data:" + orjson.dumps(event) + b"\n\n"


def invalid(path: str, message: str) -> tuple[int, bytes]:
    """Status and body for a request that makes no sense."""
    if path.endswith("/completions"):
        return 400, orjson.dumps({"error": {"message": message, "type": "BadRequestError", "code": 400}})
    return 422, orjson.dumps({"error": message, "error_type": "validation"})


def _token(number: int, text: str, *, special: bool = False) -> dict[str, Any]:
    return {"id": number, "text": text, "logprob": -0.5, "special": special}


def _choice(asked: Asked, text: str, reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {
        "id": "cmpl-stand-in",
        "object": "text_completion",
        "created": 0,
        "model": asked.model,
        "choices": [choice],
    }
