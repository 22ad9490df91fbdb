"""What the two protocols' streams say, sans-I/O: bytes in; tokens, the end or the server's own error out."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tasks.model.sse import EndlessLine, EventStream

FinishReason = Literal["stop", "length"]
Protocol = Literal["text-generation", "completions"]


@dataclass(slots=True)  # not frozen: one is made for every token, and a frozen one takes twice as long
class Token:
    """Text to append; nearly always one token's."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The model is done: it came to an end or a stop sequence ("stop"), or was cut off ("length"); None if unsaid."""

    reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server gave up inside a stream that began well. `kind` is its own word for it, perhaps empty."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class ProtocolMismatch:
    """These bytes are not of the protocol. `what` completes the sentence "The model server sent …"."""

    what: str


Event = Token | End | ServerError | ProtocolMismatch

#: `finish_reason` of either protocol: eos_token and stop_sequence are text-generation's words for "stop".
_REASONS: dict[object, FinishReason] = {
    "length": "length",
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
}


class Decoder:
    """Takes one answer's bytes in pieces of any size. After an End, ServerError or ProtocolMismatch nothing more comes."""

    def __init__(self, protocol: Protocol) -> None:
        self._events = EventStream()
        self._read = _read_text_generation if protocol == "text-generation" else _read_completions
        self.ended = False

    def feed(self, chunk: bytes) -> list[Event]:
        """What `chunk` completes, in order."""
        try:
            data = self._events.feed(chunk)
        except EndlessLine:
            self.ended = True
            return [ProtocolMismatch("something without an end of line")]
        return self._decode(data)

    def close(self) -> list[Event]:
        """What was complete but for its blank line when the answer ended."""
        return self._decode([data]) if (data := self._events.close()) else []

    def _decode(self, datas: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for data in datas:
            if self.ended:
                break
            found = [End(None)] if data == b"[DONE]" else self._read(_parse(data))
            events += found
            self.ended = bool(found) and type(found[-1]) is not Token
        return events


def decode_whole(protocol: Protocol, body: bytes) -> list[Event]:
    """An answer that is one JSON document because the server does not stream."""
    answer = _parse(body)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if protocol == "text-generation" and isinstance(answer, dict) and "generated_text" in answer:
        answer = {"token": {"text": answer["generated_text"]}, **answer}
    return (_read_text_generation if protocol == "text-generation" else _read_completions)(answer)


def _parse(data: bytes) -> Any:
    """The JSON value; None if it is none. Bytes that are not UTF-8 become replacement characters."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(data.decode(errors="replace"))
    except orjson.JSONDecodeError:
        return None


def _read_text_generation(data: Any) -> list[Event]:
    token = _get(data, "token")
    text = _get(token, "text")
    if not isinstance(text, str):
        return [_not_a_token(data)]
    events: list[Event] = [] if token.get("special") or not text else [Token(text)]
    if data.get("generated_text") is not None:
        events.append(End(_REASONS.get(_get(data.get("details"), "finish_reason"))))
    return events


def _read_completions(data: Any) -> list[Event]:
    choices = _get(data, "choices")
    if choices == []:
        return []
    choice: Any = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, dict) or not isinstance(text := choice.get("text", 0), str | None):
        return [_not_a_token(data)]
    events: list[Event] = [Token(text)] if text else []
    if (reason := choice.get("finish_reason")) is not None:
        events.append(End(_REASONS.get(reason, "stop")))
    return events


def _get(data: Any, key: str) -> Any:
    """What `data` has under `key`, if anything. For every token; a `match` takes four times as long."""
    return data.get(key) if isinstance(data, dict) else None


def _not_a_token(data: Any) -> ServerError | ProtocolMismatch:
    """An error in either server's form, or something that belongs to another protocol."""
    match data:
        case {"error": {"message": message} as error}:
            return ServerError(str(error.get("type") or error.get("code") or ""), str(message))
        case {"error": message, **rest}:
            return ServerError(str(rest.get("error_type") or ""), str(message))
        case {"object": "error", "message": message, **rest}:
            return ServerError(str(rest.get("type") or ""), str(message))
        case {"choices": [{"delta": _} | {"message": _}, *_]}:
            return ProtocolMismatch("an answer of the chat protocol")
        case {"choices": _}:
            return ProtocolMismatch("an answer of the completions protocol")
        case {"token": _} | {"generated_text": _}:
            return ProtocolMismatch("an answer of the text-generation protocol")
        case _:
            return ProtocolMismatch("something that is not a stream of tokens")
