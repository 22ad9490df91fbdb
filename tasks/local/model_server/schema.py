"""OpenAI's `/v1/completions` as far as a model that only continues text can serve it."""

import time
from typing import Annotated, Any, Literal
from uuid import uuid4

import orjson
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from tasks.local.model_server.messages import Sampling

#: Characters of a prompt: far more than fit into any window here, far less than would hold up the tokenizer.
LONGEST_PROMPT = 100_000

Stop = Annotated[str, Field(min_length=1, max_length=200)]


class StreamOptions(BaseModel):
    """What a stream shall hold besides the text."""

    include_usage: bool = False


class Request(Sampling):
    """The body of POST /v1/completions. Unknown fields are ignored, as OpenAI's clients send many."""

    model: str
    prompt: str = Field(max_length=LONGEST_PROMPT)
    max_tokens: int = Field(16, ge=1)
    stop: tuple[Stop, ...] = Field((), max_length=16)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    # What it cannot do is refused, not left out.
    n: Literal[1] = 1
    best_of: Literal[1] = 1
    echo: Literal[False] = False
    logprobs: None = None
    suffix: None = None

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: ValidationInfo) -> Any:
        return cls.model_fields[info.field_name or ""].default if value is None else value

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_prompt(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def sampling(self) -> Sampling:
        """How the tokens are chosen."""
        return Sampling.model_validate(self.model_dump(include=set(Sampling.model_fields)))


class Completion:
    """The answers to one request, as JSON.

    Args:
        model: what the server calls the model.
        prompt_tokens: the prompt's length in tokens.
    """

    def __init__(self, model: str, prompt_tokens: int) -> None:
        self._head = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._prompt_tokens = prompt_tokens
        self.tokens = 0

    def choice(self, text: str, reason: Literal["stop", "length"] | None) -> dict[str, Any]:
        """One piece of a stream, or the whole text."""
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        return self._head | {"choices": [choice]}

    def usage(self) -> dict[str, Any]:
        """How many tokens were read and written."""
        total = self._prompt_tokens + self.tokens
        counts = {"prompt_tokens": self._prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}
        return {"usage": counts}

    def last_usage(self) -> dict[str, Any]:
        """The piece of a stream that tells the usage."""
        return self._head | {"choices": []} | self.usage()


def error(message: str, kind: str, code: int) -> dict[str, Any]:
    """An error, as the body of an answer or as an event of a stream; `code` is an HTTP status."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def event(content: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


DONE = b"data: [DONE]\n\n"

#: A comment: it tells client and proxies that the server is alive.
WAITING = b": waiting\n\n"
