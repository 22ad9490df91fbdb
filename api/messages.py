"""What a person can do in a conversation: say something, stop a reply, ask for another one."""

import logging
from dataclasses import dataclass
from typing import Any

import orjson

from api.state import AppState
from api.ws.frames import FrameRejected
from tasks.errors import ConversationGone
from tasks.storage import events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.conversations import (
    PATIENCE_MS,
    Message,
    Progress,
    now_iso,
    progress_commands,
    progress_of,
    reply_id,
)
from tasks.storage.keys import ConversationKeys
from tasks.worker.lease import TURNS_READ, Turn, finish

log = logging.getLogger("parley.messages")

GONE = "This conversation does not exist any more."
TAKEN = "This id was used for something else already."


@dataclass(frozen=True)
class Accepted:
    """A message that is durable; `known` if it was before."""

    cursor: str
    message: Message
    known: bool

    def frame(self) -> str:
        """The `message.accepted` frame."""
        return events.frame(self.cursor.encode(), events.accepted(self.message))


async def check_limits(state: AppState, conversation: str, address: str, id: str) -> None:
    """Count a message against every limit. Raises FrameRejected, StorageError."""
    try:
        await state.limits.message(conversation, address, queued=state.queued, id=id)
    except FrameRejected as rejected:
        state.metrics.count("messages_refused", rejected.code)
        raise


async def send_message(state: AppState, conversation: str, address: str, id: str, text: str) -> Accepted:
    """Accept a message within the limits and put its conversation on the queue.

    Raises FrameRejected, ConversationGone, StorageError.
    """
    await check_limits(state, conversation, address, id)
    settings = state.settings
    accepted = await accept(state.redis, conversation, id, text, settings.session_ttl_seconds, settings.limit_messages)
    if not accepted.known:
        state.metrics.count("messages_accepted")
        log.info("message.accepted conversation=%s message=%s", conversation, id)
    # Also for a message that was sent again: the first time may have ended right here.
    await state.broker.request_reply(conversation)
    return accepted


async def retry_reply(state: AppState, conversation: str, address: str, to: str, id: str) -> None:
    """Answer the last human message again within the limits. Raises FrameRejected, ConversationGone, StorageError."""
    await check_limits(state, conversation, address, id)
    await retry(state.redis, conversation, to, id, state.settings.session_ttl_seconds)
    state.metrics.count("retries")
    await state.broker.request_reply(conversation)


async def stop_reply(state: AppState, conversation: str, to: str) -> None:
    """Stop the reply to a message; too late is no error. Raises ConversationGone, StorageError."""
    waiting = await stop(state.redis, conversation, to, state.settings.session_ttl_seconds)
    if waiting is None:
        return
    state.metrics.count("replies", "stopped")
    log.info("reply.stopped conversation=%s message=%s", conversation, to)
    if waiting:
        # Their worker gives up with the reply that was stopped.
        await state.broker.request_reply(conversation)


async def accept(redis: RedisClient, conversation: str, id: str, text: str, ttl: int, maximum: int = 0) -> Accepted:
    """Make a message durable; again, it changes nothing.

    `maximum`: messages that fit in a conversation, 0 for any number.
    Raises FrameRejected, ConversationGone, StorageError.
    """
    keys = ConversationKeys(conversation)
    message = {"id": id, "role": "human", "text": text, "timestamp": now_iso()}
    answer = await redis.script(
        scripts.ACCEPT,
        keys.all,
        (
            *(conversation, id, orjson.dumps(message), events.accepted(message), ttl, PATIENCE_MS, maximum),
            reply_id(id),
        ),
    )
    outcome = answer[0]
    if outcome == b"gone":
        raise ConversationGone(GONE)
    if outcome == b"full":
        raise FrameRejected("full", "This conversation is full. Please start a new one.", id=id)
    if outcome == b"taken":
        raise FrameRejected("bad_frame", TAKEN, id=id)
    cursor = answer[1].decode()
    if outcome == b"known":
        return Accepted(cursor, await _find(redis, keys, id), known=True)
    return Accepted(cursor, message, known=False)


async def retry(redis: RedisClient, conversation: str, to: str, id: str, ttl: int) -> None:
    """Answer the last human message again, once for each `id`. Raises FrameRejected, ConversationGone, StorageError."""
    keys = ConversationKeys(conversation)
    while True:
        recent, progress = await _recent(redis, keys)
        last = next((m for m in reversed(recent) if m["role"] == "human"), None)
        is_retry = int(bool(recent) and recent[-1]["role"] == "bot")
        answer = b"known"
        if await redis.command("HGET", keys.ids, id) != f"retry:{to}".encode():
            if progress.pending == 0 and (last is None or last["id"] != to):
                raise FrameRejected("bad_frame", "Only the last message can be answered again.", id=id)
            answer = await redis.script(
                scripts.RETRY, keys.all, (conversation, id, progress.count, is_retry, ttl, PATIENCE_MS, to)
            )
        if answer == b"gone":
            raise ConversationGone(GONE)
        if answer == b"taken":
            raise FrameRejected("bad_frame", TAKEN, id=id)
        if answer == b"busy":
            raise FrameRejected("busy", "A reply is still being written.", id=id)
        if answer != b"changed":
            return


async def stop(redis: RedisClient, conversation: str, to: str, ttl: int) -> int | None:
    """End the reply to a message with what was shown of it; too late is no error.

    Returns how many messages still wait, or None if no reply ended now. A reply whose turn has not come ends when it
    comes. The worker that writes the reply loses the lease, so its next text is rejected and it gives up.
    Raises ConversationGone, StorageError.
    """
    keys = ConversationKeys(conversation)
    marked = False
    while True:
        recent, progress = await _recent(redis, keys)
        waiting = recent[len(recent) - progress.pending - int(progress.is_retry) :] if progress.pending else []
        if all(message["id"] != to for message in waiting):
            return None
        if waiting[0]["id"] != to:
            if marked:
                return None
            # Its turn has not come: the worker that reaches it will find this mark, unless it did so just now.
            await redis.command("HSET", keys.ids, f"stop:{to}", 1)
            marked = True
            continue
        left = await _stop_first(redis, keys, waiting, progress, ttl)
        if left >= 0:
            return left


async def _stop_first(
    redis: RedisClient, keys: ConversationKeys, waiting: list[Message], progress: Progress, ttl: int
) -> int:
    """How many messages still wait; negative if the conversation changed meanwhile."""
    to = waiting[0]["id"]
    reply = progress.retry or reply_id(to)
    earlier = waiting[1]["text"] if progress.is_retry else ""
    return await finish(
        redis,
        keys,
        owner="",
        turn=Turn(reply=reply, to=to, person="", messages=(), partial=""),
        finish_reason="stopped",
        ttl=ttl,
        seen=f"{progress.pending}:{progress.count}",
        empty=earlier,
    )


async def _recent(redis: RedisClient, keys: ConversationKeys, many: int = TURNS_READ) -> tuple[list[Message], Progress]:
    """The end of the document, from the message in turn or before it, and the reply in progress, at one instant."""
    document, state, partial, _, clock = await redis.transaction(
        ("JSON.GET", keys.document, f"$.messages[-{many}:]"), *progress_commands(keys)
    )
    if document is None:
        raise ConversationGone(GONE)
    progress = progress_of(state, partial, clock)
    if progress.pending + 1 > many:
        return await _recent(redis, keys, progress.pending * 2)
    return orjson.loads(document), progress


async def _find(redis: RedisClient, keys: ConversationKeys, id: str) -> Any:
    found = orjson.loads(await redis.command("JSON.GET", keys.document, f'$.messages[?(@.id=="{id}")]') or b"[]")
    return found[0] if found else None
