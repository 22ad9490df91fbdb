"""What each known model wants of whoever asks it. Nothing else in the program knows models by their names."""

from dataclasses import dataclass
from typing import Literal

#: How a model reads a conversation: as a transcript, or as turns between marks.
Style = Literal["transcript", "chatml"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """`window`: tokens that prompt and reply share. `vocabulary`: how a text's tokens can be counted without the
    model: GPT-2's words, or only a bound by bytes. `style`: a base model continues a transcript; an instructed one
    was trained on marked turns. `stop_tokens`: texts of single tokens that end a reply. `preamble`: the opening it
    was trained on, if any."""

    window: int = 2048
    vocabulary: Literal["gpt-2", "bytes"] = "bytes"
    style: Style = "transcript"
    stop_tokens: tuple[str, ...] = ()
    preamble: str | None = None


#: By parts of the model's name in lower case; the first whose parts are all there.
_KNOWN = {
    ("gpt-j",): KnownModel(vocabulary="gpt-2"),
    ("smollm2", "instruct"): KnownModel(
        style="chatml",
        stop_tokens=("<|im_end|>",),
        # With any other one it is noticeably worse.
        preamble="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    ),
}


def known_model(name: str) -> KnownModel:
    """What the model called `name` wants; of an unknown one the safest is assumed."""
    small = name.lower()
    return next((known for parts, known in _KNOWN.items() if all(part in small for part in parts)), KnownModel())
