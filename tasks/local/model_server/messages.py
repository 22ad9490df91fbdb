"""What the server and its engine process say to each other: JSON, one message on a line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)

    def line(self) -> bytes:
        """The message as it is sent."""
        return self.model_dump_json().encode() + b"\n"


class Options(BaseModel):
    """`path`: a GGUF file or a folder in OpenVINO's format; `window`: tokens that prompt and reply share; `slots`:
    replies written at once; `cache_gb`: room for the keys and values of their tokens, in GiB; `stop_tokens`: texts
    of single tokens that end a reply, besides the model's own."""

    path: Path
    window: int
    slots: int
    cache_gb: int
    stop_tokens: tuple[str, ...] = ()


class Sampling(BaseModel):
    """How the next token is chosen. A temperature of 0 always takes the likeliest one."""

    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    #: The same seed gives the same text; without one, the engine draws it.
    seed: int | None = Field(None, ge=0, lt=2**63)


class Begin(_Message):
    """To the engine: continue `prompt` by at most `max_tokens` tokens, up to the first of `stop`."""

    kind: Literal["begin"] = "begin"
    id: int
    prompt: str
    max_tokens: int
    stop: tuple[str, ...]
    sampling: Sampling


class Cancel(_Message):
    """To the engine: nobody wants the rest."""

    kind: Literal["cancel"] = "cancel"
    id: int


class Ready(_Message):
    """From the engine: the model is loaded and warm."""

    kind: Literal["ready"] = "ready"


class Accepted(_Message):
    """From the engine: the prompt fits; its text will come."""

    kind: Literal["accepted"] = "accepted"
    id: int
    prompt_tokens: int


class Refused(_Message):
    """From the engine: the prompt cannot be continued, for the reason in `detail`."""

    kind: Literal["refused"] = "refused"
    id: int
    detail: str


class Text(_Message):
    """From the engine: more text, of `tokens` tokens."""

    kind: Literal["text"] = "text"
    id: int
    text: str
    tokens: int


class Ended(_Message):
    """From the engine: there is no more, and the request takes no room any longer."""

    kind: Literal["ended"] = "ended"
    id: int
    reason: Literal["stop", "length", "cancelled", "no_room"]


ToEngine = Annotated[Begin | Cancel, Field(discriminator="kind")]
Event = Accepted | Refused | Text | Ended
FromEngine = Annotated[Ready | Event, Field(discriminator="kind")]

to_engine: TypeAdapter[ToEngine] = TypeAdapter(ToEngine)
from_engine: TypeAdapter[FromEngine] = TypeAdapter(FromEngine)
