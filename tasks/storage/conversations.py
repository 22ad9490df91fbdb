"""The conversation as a document: created, read with its stream at one instant, deleted."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tasks.errors import ConversationGoneError
from tasks.storage import events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.keys import ConversationKeys, conversation_id

#: Cursor of a conversation whose stream is empty: everything that comes is later.
BEGINNING = "0-0"
REPLY_NAMESPACE = uuid.UUID("6f3b1c52-94a7-4a53-9a5b-0d6f5a3e1f77")
#: How long a lease outlives its last renewal (ms).
LEASE_MS = 4500
#: Milliseconds until a sweep looks after something that was just enqueued.
RECOVERY_DELAY_MS = 10_000
#: The same for something that has waited long already.
MAX_RECOVERY_DELAY_MS = 60_000
#: Seconds that a quiet conversation's stream stays for those who come back with a cursor.
QUIET_STREAM_SECONDS = 300
#: Messages that one read of the document's end, or of what is before it, brings at most.
WINDOW_MESSAGES = 60
#: Bytes of JSON up to which exchanges are added to a window; the last exchange and all that is pending always are.
WINDOW_BYTES = 64_000
#: Messages of one conversation that may wait for their replies; a window has room for all of them.
MAX_PENDING = 50
#: Bytes from which on a reply cannot be continued; far more than a model reads again.
MAX_CONTINUED_BYTES = 16_000

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
class Page:
    """Some messages in a row, whole exchanges, oldest first; `earlier` messages come before them."""

    messages: list[Message]
    earlier: int


@dataclass(frozen=True)
class View:
    """The end of a conversation at one instant: its last messages, the cursor that belongs to them, the reply in
    progress. `about` holds the document's other fields: token, name, session_start.
    """

    about: dict[str, Any]
    page: Page
    cursor: str
    progress: Progress

    def conversation(self) -> dict[str, Any]:
        """The conversation as the snapshot frame has it."""
        return {**self.about, "messages": self.page.messages, "earlier": self.page.earlier}

    def reply(self) -> dict[str, Any] | None:
        """The reply in progress as the snapshot frame has it."""
        p = self.progress
        if p.pending == 0:
            return None
        to = self.page.messages[p.index - self.page.earlier]["id"]
        state = p.phase or "queued"
        reply = {"id": p.retry or reply_id(to), "to": to, "text": p.partial, "state": state}
        if state == "waiting" and p.waiting:
            reply["reason"] = p.waiting["reason"]
            reply["retry_in"] = max(0.0, round(p.waiting["until"] - time.time(), 1))
        return reply


@dataclass(frozen=True)
class Resumption:
    """What a reader who lacks only the stream's end has to know: the last event's cursor, the reply in progress."""

    cursor: str
    progress: Progress


async def create(redis: RedisClient, token: str, name: str, ttl: int) -> Message:
    """Begin a conversation that lives for `ttl` seconds after its last use.

    Returns its document. Raises StorageError.
    """
    document = {"token": token, "name": name, "session_start": now_iso(), "messages": []}
    key = ConversationKeys(conversation_id(token)).document
    await redis.script(scripts.CREATE, (key,), (orjson.dumps(document), ttl))
    return document


async def load(redis: RedisClient, conversation: str, ttl: int) -> View:
    """Read a conversation's end, with the cursor that belongs to it, and count that as use.

    It then lives for `ttl` more seconds. The cost does not grow with the conversation.
    Raises ConversationGoneError, StorageError.
    """
    view = await resume(redis, conversation, ttl, "")
    assert isinstance(view, View)
    return view


async def resume(redis: RedisClient, conversation: str, ttl: int, after: str) -> View | Resumption:
    """As `load`, for a reader who knows all up to the cursor `after`, if the stream still has what came since.

    The conversation lives for `ttl` more seconds.
    """
    args = (ttl, after, WINDOW_MESSAGES)
    opened = await redis.script(scripts.OPEN, ConversationKeys(conversation).all[:-1], args)
    if opened is None:
        raise ConversationGoneError("This conversation does not exist any more.")
    parts, fields, partial, last, now = opened
    progress, cursor = _progress_of(fields, partial, now), last.decode() or BEGINNING
    if not parts:
        return Resumption(cursor, progress)
    document = orjson.loads(parts)
    first = max(0, progress.count - WINDOW_MESSAGES)
    messages = document.pop(f"$.messages[-{WINDOW_MESSAGES}:]")
    at_least = progress.index if progress.pending else None
    page = _within_bounds(messages, len(parts), first, at_least)
    about = {path.removeprefix("$."): value for path, (value,) in sorted(document.items(), reverse=True)}
    return View(about, page, cursor, progress)


async def history(redis: RedisClient, conversation: str, before: str) -> Page | None:
    """Read what was said before the message or reply with the id `before`; None if there is no such message.

    Messages before an exchange that has ended never change. Raises ConversationGoneError, StorageError.
    """
    keys = ConversationKeys(conversation)
    found = await redis.script(scripts.HISTORY, (keys.document, keys.ids), (before, WINDOW_MESSAGES))
    if found is None:
        raise ConversationGoneError("This conversation does not exist any more.")
    return _within_bounds(orjson.loads(found[0]), len(found[0]), found[1]) if found else None


async def read_slice(redis: RedisClient, conversation: str, start: int, end: int) -> list[Message]:
    """The messages from index `start` to before `end`; none if the conversation is gone. Raises StorageError."""
    read = await redis.command("JSON.GET", ConversationKeys(conversation).document, f"$.messages[{start}:{end}]")
    messages: list[Message] = orjson.loads(read or b"[]")
    return messages


def _within_bounds(messages: list[Message], size: int, first: int, at_least: int | None = None) -> Page:
    """The last of some messages, within WINDOW_BYTES of JSON, from a person's message on.

    `size`: bytes of JSON that all of them take at most; `first`: index of the first of them in the document;
    `at_least`: index from which on all of them are kept; left out, only the last exchange is.
    """
    asked = [at for at, message in enumerate(messages) if message["role"] == "human"]
    if not asked:
        return Page([], first)
    if size <= WINDOW_BYTES:
        return Page(messages[asked[0] :], first + asked[0])
    start = asked[-1] if at_least is None else at_least - first
    size = len(orjson.dumps(messages[start:]))
    for at in range(start - 1, -1, -1):
        size += len(orjson.dumps(messages[at])) + 1
        if size > WINDOW_BYTES:
            break
        if messages[at]["role"] == "human":
            start = at
    return Page(messages[start:], first + start)


def _progress_of(state: list[bytes | None], partial: bytes, now_ms: int) -> Progress:
    """The reply in progress, from what the script `open` read.

    As in the scripts, a lease that ends later than a lease can last was taken before the clock was set back.
    """
    pending, count, is_retry, retry, phase, waiting, owner, expires_at = (value or b"" for value in state)
    lease_left = float(expires_at or 0) - now_ms
    return Progress(
        pending=int(pending or 0),
        count=int(count or 0),
        is_retry=is_retry == b"1",
        retry=retry.decode(),
        phase=phase.decode(),
        partial=partial.decode(),
        waiting=orjson.loads(waiting) if waiting else None,
        leased=bool(owner) and 0 < lease_left <= 2 * LEASE_MS,
    )


def finished_reply(to: str, finish_reason: str) -> tuple[bytes, bytes]:
    """What the scripts that end a reply put around its text: its other fields, and the beginning of its event."""
    reply = {"role": "bot", "timestamp": now_iso(), "finish_reason": finish_reason, "to": to}
    return events.up_to_text(reply), events.FINISHED_HEAD


async def delete(redis: RedisClient, conversation: str) -> bool:
    """Delete a conversation; True if there was one. Raises StorageError."""
    keys = ConversationKeys(conversation)
    return bool(await redis.script(scripts.DELETE, keys.all, (conversation, events.DELETED)))
