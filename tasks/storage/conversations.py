"""The conversation as a document: made, looked at with its stream at one instant, forgotten."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tasks.errors import ConversationGone
from tasks.storage import events, scripts
from tasks.storage.client import Command, RedisClient
from tasks.storage.keys import ConversationKeys, conversation_id

#: Cursor of a conversation whose stream is empty: everything that comes is later.
BEGINNING = "0-0"
REPLY_NAMESPACE = uuid.UUID("6f3b1c52-94a7-4a53-9a5b-0d6f5a3e1f77")
#: Milliseconds until a sweep looks after something that was just enqueued.
PATIENCE_MS = 10_000
#: The same for something that has waited long already.
LONGEST_PATIENCE_MS = 60_000
#: Seconds that a quiet conversation's stream stays for those who come back with a cursor.
QUIET_STREAM_SECONDS = 300

Message = dict[str, Any]


def now_iso() -> str:
    """This instant in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def reply_id(message: str) -> str:
    """The id of the reply to a message: the same for whoever computes it."""
    return str(uuid.uuid5(REPLY_NAMESPACE, message))


@dataclass(frozen=True)
class Progress:
    """The reply that is due next: how far it is."""

    pending: int
    count: int
    is_retry: bool
    retry: str
    phase: str
    partial: str
    waiting: dict[str, Any] | None
    leased: bool

    @property
    def index(self) -> int:
        """Where in the document the message stands that is being answered."""
        return self.count - self.pending - int(self.is_retry)


@dataclass(frozen=True)
class View:
    """A conversation at one instant: its document, the cursor that belongs to it, the reply in progress."""

    document: bytes
    cursor: str
    progress: Progress

    def messages(self) -> list[Message]:
        """The document's messages, oldest first."""
        messages: list[Message] = orjson.loads(self.document)["messages"]
        return messages

    def reply(self) -> dict[str, Any] | None:
        """The reply in progress as the snapshot frame has it."""
        p = self.progress
        if p.pending == 0:
            return None
        to = self.messages()[p.index]["id"]
        state = p.phase or "queued"
        reply = {"id": p.retry or reply_id(to), "to": to, "text": p.partial, "state": state}
        if state == "waiting" and p.waiting:
            reply["reason"] = p.waiting["reason"]
            reply["retry_in"] = max(0.0, round(p.waiting["until"] - time.time(), 1))
        return reply


async def create(redis: RedisClient, token: str, name: str, ttl: int) -> Message:
    """Begin a conversation; returns its document. Raises StorageError."""
    document = {"token": token, "name": name, "session_start": now_iso(), "messages": []}
    key = ConversationKeys(conversation_id(token)).document
    await redis.transaction(("JSON.SET", key, "$", orjson.dumps(document)), ("EXPIRE", key, ttl))
    return document


async def load(redis: RedisClient, conversation: str, ttl: int) -> View:
    """Read a conversation whole, with the cursor that belongs to it, and count that as use.

    Raises ConversationGone, StorageError.
    """
    keys = ConversationKeys(conversation)
    document, state, partial, last, lease_left, *_ = await redis.transaction(
        ("JSON.GET", keys.document, "$"),
        *progress_commands(keys),
        *((("EXPIRE", key, ttl)) for key in (keys.document, keys.state, keys.ids)),
    )
    if not document or document == b"[]":
        raise ConversationGone("This conversation does not exist any more.")
    cursor = last[0][0].decode() if last else BEGINNING
    return View(document[1:-1], cursor, progress_of(state, partial, lease_left))


def progress_commands(keys: ConversationKeys) -> tuple[Command, ...]:
    """The commands whose answers `progress_of` takes, and the stream's last entry between them."""
    fields = ("pending", "count", "is_retry", "retry", "phase", "waiting", "owner", "lease_expires_at")
    return (
        ("HMGET", keys.state, *fields),
        ("GET", keys.partial),
        ("XREVRANGE", keys.events, "+", "-", "COUNT", 1),
        ("TIME",),
    )


def progress_of(state: list[bytes | None], partial: bytes | None, clock: Any) -> Progress:
    """The reply in progress, from the fields that `progress_commands` reads."""
    pending, count, is_retry, retry, phase, waiting, owner, until = (value or b"" for value in state)
    seconds, micros = clock
    now_ms = seconds * 1000 + micros / 1000
    return Progress(
        pending=int(pending or 0),
        count=int(count or 0),
        is_retry=is_retry == b"1",
        retry=retry.decode(),
        phase=phase.decode(),
        partial=(partial or b"").decode(),
        waiting=orjson.loads(waiting) if waiting else None,
        leased=bool(owner) and float(until or 0) > now_ms,
    )


async def delete(redis: RedisClient, conversation: str) -> bool:
    """Forget a conversation; True if there was one. Raises StorageError."""
    keys = ConversationKeys(conversation)
    return bool(await redis.script(scripts.DELETE, keys.all, (conversation, events.DELETED)))
