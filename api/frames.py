"""The wire: frames in and out, close codes, and the check of what a client sends."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from tasks.errors import FrameRejectedError
from tasks.storage.conversations import Page, View

SUBPROTOCOL = "chat.stream.v1"

POLICY_VIOLATION = 1008
SERVICE_RESTART = 1012
MESSAGE_TOO_BIG = 1009
TRY_AGAIN_LATER = 1013
UNKNOWN_TOKEN = 4401
FORBIDDEN_ORIGIN = 4403
TOO_MANY_REQUESTS = 4429

#: Bytes of JSON that a text may have for each character of its limit: as many as UTF-8 needs at most.
BYTES_PER_CHARACTER = 4
#: Bytes of JSON that a text may have at any limit: as much as the largest frame.
MAX_TEXT_BYTES = 65_536
TOO_MANY_BYTES = (
    "The message takes {size:,} bytes to send and {most:,} are possible: it has too many control characters or "
    "quotation marks. Please shorten it."
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: As many digits as Redis takes for sure.
_CURSOR = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@dataclass(frozen=True)
class MessageSend:
    """Accept this message, once."""

    id: str
    text: str


@dataclass(frozen=True)
class ReplyStop:
    """Stop the reply to a message."""

    to: str


@dataclass(frozen=True)
class ReplyRetry:
    """Answer the last message again; the new reply is called `id`."""

    to: str
    id: str


@dataclass(frozen=True)
class MessageEdit:
    """Replace the last message and its reply by a new message, called `id`."""

    to: str
    id: str
    text: str


@dataclass(frozen=True)
class ReplyContinue:
    """Let the last reply go on from its words; `id` names this wish."""

    to: str
    id: str


@dataclass(frozen=True)
class HistoryBefore:
    """Send the messages before the one with this id."""

    before: str


ClientFrame = MessageSend | MessageEdit | ReplyStop | ReplyRetry | ReplyContinue | HistoryBefore


def check_frame(data: str | bytes, limit_text: int) -> ClientFrame:
    """Read a client's frame; `limit_text` in characters, 0 for none. Raises FrameRejectedError."""
    if isinstance(data, bytes):
        raise FrameRejectedError("bad_frame", "Frames must be text, not binary.")
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise FrameRejectedError("bad_frame", "This frame is not JSON.") from None
    if not isinstance(frame, dict):
        raise FrameRejectedError("bad_frame", "A frame must be a JSON object.")
    match frame.get("type"):
        case "message.send":
            id = _uuid(frame, "id")
            return MessageSend(id, check_text(frame.get("text"), limit_text, id))
        case "message.edit":
            to, id = _uuid(frame, "to"), _uuid(frame, "id")
            return MessageEdit(to, id, check_text(frame.get("text"), limit_text, id))
        case "reply.stop":
            return ReplyStop(_uuid(frame, "to"))
        case "reply.retry":
            return ReplyRetry(_uuid(frame, "to"), _uuid(frame, "id"))
        case "reply.continue":
            return ReplyContinue(_uuid(frame, "to"), _uuid(frame, "id"))
        case "history.before":
            return HistoryBefore(_uuid(frame, "before"))
        case _:
            raise FrameRejectedError("bad_frame", "This type of frame is not known here.", id=_id_of(frame))


def check_text(text: object, limit: int, id: str | None = None) -> str:
    """What a person wrote, if it can be accepted.

    Args:
        text: what the client sent.
        limit: characters that are possible, 0 for any number; on the wire, a text may have four bytes for each.
        id: id of the message, for the refusal to name it.

    Raises FrameRejectedError.
    """
    if not isinstance(text, str):
        raise FrameRejectedError("bad_frame", "A message needs a text.", id=id)
    if not text.strip():
        raise FrameRejectedError("empty", "The message is empty. Please write something.", id=id)
    if limit and len(text) > limit:
        raise FrameRejectedError(
            "too_long", f"The message has {len(text):,} characters; {limit:,} are possible.", id=id
        )
    # JSON writes a control character with six bytes, a quotation mark with two.
    size, most = len(orjson.dumps(text)) - 2, min(BYTES_PER_CHARACTER * limit or MAX_TEXT_BYTES, MAX_TEXT_BYTES)
    if size > most:
        raise FrameRejectedError("too_long", TOO_MANY_BYTES.format(size=size, most=most), id=id)
    return text


def is_cursor(after: str) -> bool:
    """Whether a client came back with something that can be a cursor at all."""
    return _CURSOR.fullmatch(after) is not None


def snapshot(view: View, model: dict[str, Any], limits: dict[str, Any]) -> str:
    """The `snapshot` frame."""
    return orjson.dumps(
        {
            "type": "snapshot",
            "cursor": view.cursor,
            "conversation": view.conversation(),
            "reply": view.reply(),
            "model": model,
            "limits": limits,
        }
    ).decode()


def history(before: str, page: Page) -> str:
    """The `history` frame: what was said before the message `before`."""
    frame = {"type": "history", "before": before, "messages": page.messages, "earlier": page.earlier}
    return orjson.dumps(frame).decode()


#: The `alive` frame: sent when nothing else was for a while, for browsers hide pings.
ALIVE = '{"type":"alive"}'


def error(rejected: FrameRejectedError) -> str:
    """The `error` frame for a frame that was rejected."""
    frame: dict[str, Any] = {"type": "error", "code": rejected.code, "detail": rejected.detail}
    if rejected.id is not None:
        frame["id"] = rejected.id
    if rejected.retry_in is not None:
        frame["retry_in"] = round(rejected.retry_in, 1)
    return orjson.dumps(frame).decode()


def service(state: str) -> str:
    """The `service` frame: whether messages are being answered at all."""
    return orjson.dumps({"type": "service", "state": state}).decode()


def queue(ahead: int | None) -> str:
    """The `queue` frame: `ahead` conversations will be answered before this one; None if that is not known."""
    return orjson.dumps({"type": "queue", "ahead": ahead}).decode()


def _uuid(frame: dict[str, Any], field: str) -> str:
    value = frame.get(field)
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise FrameRejectedError("bad_frame", f"`{field}` must be a UUID.", id=_id_of(frame))
    return value


def _id_of(frame: dict[str, Any]) -> str | None:
    """The id to name in a refusal, if it is short enough to be one."""
    value = frame.get("id")
    return value if isinstance(value, str) and len(value) <= 64 else None
