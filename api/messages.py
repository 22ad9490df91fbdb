"""What a person can do in a conversation: say something, stop a reply, ask for another one."""

import logging
from dataclasses import dataclass
from typing import Any

import orjson

from api.state import AppState
from api.ws.frames import FrameRejected
from tasks.broker import enqueue_commands
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
from tasks.storage.redis_line import command_of
from tasks.worker.lease import TURNS_READ, Turn, finish_command

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
    """Count a message against every limit. Raises Refused, StorageError."""
    try:
        await state.limits.message(conversation, address, queued=state.queued, id=id)
    except FrameRejected as rejected:
        state.metrics.count("messages_refused", rejected.code)
        raise


async def send_message(state: AppState, conversation: str, address: str, id: str, text: str) -> Accepted:
    """Accept a message within the limits. Raises Refused, ConversationGone, StorageError."""
    await check_limits(state, conversation, address, id)
    settings = state.settings
    accepted = await accept(state.redis, conversation, id, text, settings.session_ttl_seconds, settings.limit_messages)
    if not accepted.known:
        state.metrics.count("messages_accepted")
        log.info("accepted conversation=%s message=%s", conversation, id)
    return accepted


async def accept(redis: RedisClient, conversation: str, id: str, text: str, ttl: int, maximum: int = 0) -> Accepted:
    """Make a message durable and put its conversation on the queue, in one step; again, it changes nothing.

    `most`: messages that fit in a conversation, 0 for any number. Raises Refused, ConversationGone, StorageError.
    """
    keys = ConversationKeys(conversation)
    message = {"id": id, "role": "human", "text": text, "timestamp": now_iso()}
    answer, *_ = await redis.together(
        command_of(
            scripts.ACCEPT,
            keys.all,
            (
                *(conversation, id, orjson.dumps(message), events.accepted(message), ttl, PATIENCE_MS, maximum),
                reply_id(id),
            ),
        ),
        *enqueue_commands(conversation),
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
    """Answer the last human message again, once for each `id`. Raises Refused, ConversationGone, StorageError."""
    keys = ConversationKeys(conversation)
    while True:
        recent, progress = await _recent(redis, keys)
        last = next((m for m in reversed(recent) if m["role"] == "human"), None)
        is_retry = int(bool(recent) and recent[-1]["role"] == "bot")
        answer = b"known"
        if await redis.command("HGET", keys.ids, id) != f"retry:{to}".encode():
            if progress.pending == 0 and (last is None or last["id"] != to):
                raise FrameRejected("bad_frame", "Only the last message can be answered again.", id=id)
            answer, *_ = await redis.together(
                command_of(
                    scripts.RETRY,
                    keys.all,
                    (conversation, id, progress.count, is_retry, ttl, PATIENCE_MS, to),
                ),
                *enqueue_commands(conversation),
            )
        if answer == b"gone":
            raise ConversationGone(GONE)
        if answer == b"taken":
            raise FrameRejected("bad_frame", TAKEN, id=id)
        if answer == b"busy":
            raise FrameRejected("busy", "A reply is still being written.", id=id)
        if answer != b"changed":
            return


async def stop(redis: RedisClient, conversation: str, to: str, ttl: int) -> bool:
    """End the reply to a message with what was shown of it; too late is no error.

    True if it ended now; one whose turn has not come ends when it comes. The reply's writer loses the lease
    with it, so its next word is refused and it gives up.
    Raises ConversationGone, StorageError.
    """
    keys = ConversationKeys(conversation)
    marked = False
    while True:
        recent, progress = await _recent(redis, keys)
        waiting = recent[len(recent) - progress.pending - int(progress.is_retry) :] if progress.pending else []
        if all(message["id"] != to for message in waiting):
            return False
        if waiting[0]["id"] != to:
            if marked:
                return False
            # Its turn has not come: the worker that reaches it will find this mark, unless it did so just now.
            await redis.command("HSET", keys.ids, f"stop:{to}", 1)
            marked = True
            continue
        if await _stop_first(redis, keys, waiting, progress, ttl):
            log.info("stopped conversation=%s message=%s", conversation, to)
            return True


async def _stop_first(
    redis: RedisClient, keys: ConversationKeys, waiting: list[Message], progress: Progress, ttl: int
) -> bool:
    """False if the conversation changed meanwhile."""
    to = waiting[0]["id"]
    reply = progress.retry or reply_id(to)
    earlier = waiting[1]["text"] if progress.is_retry else ""
    finished = finish_command(
        keys,
        owner="",
        turn=Turn(reply=reply, to=to, person="", messages=(), partial=""),
        finish_reason="stopped",
        ttl=ttl,
        seen=f"{progress.pending}:{progress.count}",
        empty=earlier,
    )
    # What waits behind it is enqueued in the same step, for its worker is let go with it.
    left, *_ = await redis.together(finished, *enqueue_commands(keys.conversation))
    return bool(left >= 0)


async def _recent(redis: RedisClient, keys: ConversationKeys, many: int = TURNS_READ) -> tuple[list[Message], Progress]:
    """The end of the document, from the message in turn or before it, and the reply in progress, at one instant."""
    document, state, partial, _, clock = await redis.together(
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
