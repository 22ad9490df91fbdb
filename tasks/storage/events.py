"""What can happen in a conversation: each event is encoded once, here, and spliced to its cursor on the way out.

An event is stored as the inside of its JSON object, so that the frame is `{"cursor":"…",` + event.
"""

from typing import Any

import orjson

#: The only field of a stream entry.
FIELD = b"e"


def encode(event: dict[str, Any]) -> bytes:
    """An event as it is stored: its JSON without the opening brace."""
    return orjson.dumps(event)[1:]


def frame(cursor: bytes, event: bytes) -> str:
    """The text frame for an event at a cursor."""
    return f'{{"cursor":"{cursor.decode()}",{event.decode()}'


def accepted(message: dict[str, Any]) -> bytes:
    """A person's message is durable and its reply will come."""
    return encode({"type": "message.accepted", "message": message})


def edited(to: str, message: dict[str, Any]) -> bytes:
    """The message `to` and its reply are gone; `message` stands in their place, and its reply will come."""
    return encode({"type": "message.edited", "to": to, "message": message})


def started(reply: str, to: str) -> bytes:
    """A worker begins a reply."""
    return encode({"type": "reply.started", "id": reply, "to": to})


def waiting(reply: str, reason: str, retry_in: float) -> bytes:
    """A reply has to wait for the model; `retry_in` in seconds."""
    return encode({"type": "reply.waiting", "id": reply, "reason": reason, "retry_in": round(retry_in, 1)})


def delta(reply: str, text: str) -> bytes:
    """Text was added to a reply."""
    return encode({"type": "reply.delta", "id": reply, "text": text})


#: What a script puts before the JSON of the finished reply.
FINISHED_HEAD = b'"type":"reply.finished","message":'
DELETED = encode({"type": "conversation.deleted"})


def failed_head(to: str) -> bytes:
    """What a script puts before the fields of a failure."""
    return b'"type":"reply.failed","to":' + orjson.dumps(to) + b","


def up_to_text(fields: dict[str, Any]) -> bytes:
    """The inside of a JSON object up to the value of `text`, which a script fills in."""
    return orjson.dumps({**fields, "text": ""})[1 : -len(b'""}')]
