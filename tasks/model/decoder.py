"""What a response says in either protocol, sans-I/O: bytes in; tokens, the end or the server's own error out.

What a response is depends on its content, never on its label: a stream of events, lines of JSON, one JSON document
or a web page.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tasks.model.error_body import describe
from tasks.model.sse import ErrorData, EventStream, EventTooLongError

FinishReason = Literal["stop", "length"]
Protocol = Literal["text-generation", "completions"]

#: Bytes of a response that is one JSON document.
DOCUMENT_LIMIT = 1 << 20


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
    """The server gave up inside a response that began well.

    `kind` is the server's own word for the error, perhaps empty; `status` an HTTP status, or 0 if it names none.
    """

    kind: str
    message: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class ProtocolMismatch:
    """These bytes are not of the protocol. `what` completes the sentence "The model server sent …"."""

    what: str


Event = Token | End | ServerError | ProtocolMismatch

#: The reasons that are known to mean "done", in lower case. Any other reason means that the reply is not whole.
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_length": "length",
    "max_new_tokens": "length",
    "max_tokens": "length",
    "model_length": "length",
    "stop": "stop",
    "complete": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
}
#: What servers put where there is no reason.
_NO_REASON = ("", "none", "null")

_HIGH, _LOW = ("\ud800", "\udbff"), ("\udc00", "\udfff")


class Decoder:
    """Takes the bytes of one response in pieces of any size. Nothing comes after an End, ServerError or mismatch."""

    def __init__(self, protocol: Protocol) -> None:
        self._stream = EventStream()
        self._read = _read_text_generation if protocol == "text-generation" else _read_completions
        self._take: Callable[[bytes], list[Event]] = self._sniff
        self._start = b""
        self._document = bytearray()
        #: The first half of a character that the server split over two JSON strings.
        self._high = ""
        self.ended = False
        self.began = False
        #: Something came that is neither a token nor known to belong to such a stream.
        self.unknown = False

    def feed(self, chunk: bytes) -> list[Event]:
        """What `chunk` completes, in order."""
        return self._take(chunk)

    def close(self) -> list[Event]:
        """What was complete when the response ended, but for the sign of its end."""
        if self.ended:
            return []
        if self._document:
            return self._decode([bytes(self._document)], whole=True)
        events = self._decode(self._stream.close())
        self.unknown |= self._stream.unknown_lines
        return events

    def _sniff(self, chunk: bytes) -> list[Event]:
        """Finds out from the first character what the response is."""
        self._start += chunk
        first = self._start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if first == b"<":
            return self._end_with(ProtocolMismatch("a web page"))
        if first and first in b"{[":
            self._take = self._take_document
        elif first and first != b"\xef":
            self._take = self._take_stream
        elif len(self._start) < 3:
            return []
        else:
            self._take = self._take_stream
        start, self._start = self._start, b""
        return self._take(start)

    def _take_stream(self, chunk: bytes) -> list[Event]:
        try:
            return self._decode(self._stream.feed(chunk))
        except EventTooLongError:
            return self._end_with(ProtocolMismatch("something without an end of line"))

    def _take_document(self, chunk: bytes) -> list[Event]:
        self._document += chunk
        if len(self._document) > DOCUMENT_LIMIT:
            return self._end_with(ProtocolMismatch("more than a reply can be"))
        line, _, rest = bytes(self._document).partition(b"\n") if b"\n" in chunk else (b"", b"", b"")
        if rest.strip() and _parse(line) is not None:
            # One JSON value a line.
            lines, self._document = bytes(self._document), bytearray()
            self._take = self._take_stream
            return self._take(lines)
        return []

    def _end_with(self, event: Event) -> list[Event]:
        self.ended = True
        return [event]

    def _decode(self, datas: list[bytes], *, whole: bool = False) -> list[Event]:
        events: list[Event] = []
        for data in datas:
            if self.ended:
                break
            for event in self._events(data):
                if type(event) is Token:
                    self.began = True
                    if self._high or not event.text.isascii():
                        event.text = self._joined(event.text)
                        if not event.text:
                            continue
                else:
                    self.ended = True
                    if self._high and type(event) is End:
                        events.append(Token("\ufffd"))
                events.append(event)
        if whole and self.began and not self.ended:
            events += self._end_with(End(None))
        return events

    def _events(self, data: bytes) -> list[Event]:
        if data == b"[DONE]":
            return [End(None)]
        value = _parse(data)
        if type(data) is ErrorData:
            return [_server_error(data.decode(errors="replace") if value is None else value)]
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            self.unknown = True
            return []
        if value.get("error"):
            return [_server_error(value)]
        found = self._read(value, self.began)
        if found is not None:
            return found
        event = _error_or_mismatch(value)
        if event and not (self.began and isinstance(event, ProtocolMismatch)):
            return [event]
        self.unknown = True
        return []

    def _joined(self, text: str) -> str:
        """`text` with its surrogate halves joined; a half that stays alone becomes U+FFFD."""
        text, self._high = self._high + text, ""
        if _HIGH[0] <= text[-1] <= _HIGH[1]:
            text, self._high = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _parse(data: bytes) -> Any:
    """The JSON value; None if it is none. Bytes that are not UTF-8 become replacement characters."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        # This one also reads halves of characters, NaN and raw control characters.
        return json.loads(data.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _read_text_generation(value: dict[str, Any], began: bool) -> list[Event] | None:
    """https://huggingface.co/docs/text-generation-inference; None if `value` holds neither token nor end."""
    token: Any = value.get("token")
    whole = value.get("generated_text")
    details = value.get("details")
    reason = details.get("finish_reason") if isinstance(details, dict) else None
    text = token.get("text") if isinstance(token, dict) else None
    events: list[Event] = []
    if isinstance(text, str):
        if text and not token.get("special"):
            events.append(Token(text))
        if whole is None and reason is None:
            return events
    elif isinstance(whole, str) and not began:
        # A server that does not stream.
        if whole:
            events.append(Token(whole))
    elif whole is None and not _is_reason(reason):
        return None
    if _is_reason(reason):
        events.append(_end(reason))
    elif whole is not None:
        events.append(End(None))
    return events


def _read_completions(value: dict[str, Any], began: bool) -> list[Event] | None:
    """https://platform.openai.com/docs/api-reference/completions; None if `value` holds neither token nor end."""
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return None
    text, reason = choice.get("text"), choice.get("finish_reason")
    if isinstance(text, str):
        events: list[Event] = [Token(text)] if text else []
    elif not _is_reason(reason) or "delta" in choice or "message" in choice:
        return None
    else:
        events = []
    if reason is not None and _is_reason(reason):
        events.append(_end(reason))
    return events


def _is_reason(reason: object) -> bool:
    return bool(reason) and not (isinstance(reason, str) and reason.strip().lower() in _NO_REASON)


def _end(reason: object) -> End | ServerError:
    """Only a reason that is known to mean "done" ends a reply; after any other one the reply is not whole."""
    known = _REASONS.get(str(reason).strip().lower())
    return End(known) if known else ServerError("finish_reason", f"finish_reason {reason}")


def _error_or_mismatch(value: dict[str, Any]) -> ServerError | ProtocolMismatch | None:
    """An error in any server's form, or an event of another protocol, or neither."""
    match value:
        case {"object": "error"} | {"type": "error"} | {"status": "error"} | {"level": "error"}:
            return _server_error(value)
        case {"detail": detail} | {"errors": detail} if detail:
            return _server_error(value)
        case {"message": str(), "code": _} | {"message": str(), "error_type": _} | {"message": str(), "status": _}:
            return _server_error(value)
        case {"choices": [{"delta": _} | {"message": _}, *_]}:
            return ProtocolMismatch("an answer of the chat protocol")
        case {"choices": [{"text": str()}, *_]}:
            return ProtocolMismatch("an answer of the completions protocol")
        case {"token": {"text": str()}} | {"generated_text": str()}:
            return ProtocolMismatch("an answer of the text-generation protocol")
    return None


def _server_error(value: Any) -> ServerError:
    """An error event, whatever its shape."""
    inner = value.get("error") if isinstance(value, dict) else None
    places = [place for place in (inner, value) if isinstance(place, dict)]
    kinds = [place.get(key) for place in places for key in ("error_type", "type", "code", "status")]
    kind = next((kind for kind in kinds if isinstance(kind, str) and kind and kind != "error"), "")
    numbers = [place.get(key) for place in places for key in ("code", "status", "status_code", "http_status_code")]
    statuses = [int(str(number)) for number in numbers if re.fullmatch(r"[45]\d\d", str(number))]
    return ServerError(kind, describe(value), statuses[0] if statuses else 0)
