"""What a person can do in a conversation: send a message, edit it, stop a reply, ask for another one or for more."""

import logging
from dataclasses import dataclass
from typing import Any

import orjson

from api.state import AppState
from tasks.errors import ConversationGoneError, FrameRejectedError
from tasks.storage import conversations, events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.conversations import (
    LEASE_MS,
    MAX_CONTINUED_BYTES,
    MAX_PENDING,
    QUIET_STREAM_SECONDS,
    RECOVERY_DELAY_MS,
    Message,
    Page,
    finished_reply,
    now_iso,
    reply_id,
)
from tasks.storage.keys import ConversationKeys

log = logging.getLogger("parley.messages")

GONE = "This conversation does not exist any more."
#: Why a wish is refused: the code and the sentence for each outcome of a script.
REFUSALS = {
    b"full": ("full", "This conversation is full. Please start a new one."),
    b"taken": ("bad_frame", "This id was used for something else already."),
    b"not_last": ("bad_frame", "Only the last message can be edited or answered again."),
    b"whole": ("bad_frame", "Only the last reply can be continued, if it was cut off and is not too long already."),
}


@dataclass(frozen=True)
class Accepted:
    """A message that is durable.

    `cursor`: where its event stands in the stream; `known`: it was accepted before; `replaces`: id of the message in
    whose place it stands, if it is an edit; `held`: a worker writes in the conversation, and will come to it.
    """

    cursor: str
    message: Message
    known: bool
    replaces: str | None = None
    held: bool = False

    def frame(self) -> str:
        """The `message.accepted` or `message.edited` frame."""
        event = events.edited(self.replaces, self.message) if self.replaces else events.accepted(self.message)
        return events.frame(self.cursor.encode(), event)


async def check_limits(state: AppState, conversation: str, address: str, id: str) -> None:
    """Count a message against every limit. Raises FrameRejectedError, StorageError."""
    await state.rate_limits.message(conversation, address, queued=state.queued, id=id)


async def send_message(state: AppState, conversation: str, address: str, id: str, text: str) -> Accepted:
    """Accept a message within the limits and put its conversation on the queue.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    await check_limits(state, conversation, address, id)
    settings = state.settings
    accepted = await accept(state.redis, conversation, id, text, settings.session_ttl_seconds, settings.limit_messages)
    return await _requested(state, conversation, accepted)


async def edit_message(state: AppState, conversation: str, address: str, to: str, id: str, text: str) -> Accepted:
    """Replace the last human message and its reply within the limits, and put the conversation on the queue.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    await check_limits(state, conversation, address, id)
    accepted = await edit(state.redis, conversation, to, id, text, state.settings.session_ttl_seconds)
    return await _requested(state, conversation, accepted)


async def retry_reply(state: AppState, conversation: str, address: str, to: str, id: str) -> None:
    """Answer the last human message again within the limits.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    await check_limits(state, conversation, address, id)
    await retry(state.redis, conversation, to, id, state.settings.session_ttl_seconds)
    state.metrics.count("retries")
    await state.broker.request_reply(conversation)


async def continue_reply(state: AppState, conversation: str, address: str, to: str, id: str) -> None:
    """Let the last reply grow within the limits. Raises FrameRejectedError, ConversationGoneError, StorageError."""
    await check_limits(state, conversation, address, id)
    await grow(state.redis, conversation, to, id, state.settings.session_ttl_seconds)
    await state.broker.request_reply(conversation)


async def stop_reply(state: AppState, conversation: str, to: str) -> None:
    """Stop the reply to a message; too late is no error. Raises ConversationGoneError, StorageError."""
    waiting = await stop(state.redis, conversation, to, state.settings.session_ttl_seconds)
    if waiting is None:
        return
    state.metrics.count("replies", "stopped")
    log.info("reply.stopped conversation=%s message=%s", conversation, to)
    if waiting:
        # Their worker gives up with the reply that was stopped.
        await state.broker.request_reply(conversation)


async def read_history(redis: RedisClient, conversation: str, before: str) -> Page:
    """What was said before a message. Raises FrameRejectedError, ConversationGoneError, StorageError."""
    page = await conversations.history(redis, conversation, before)
    if page is None:
        raise FrameRejectedError("bad_frame", "There is no message with this id here.", id=before)
    return page


async def accept(redis: RedisClient, conversation: str, id: str, text: str, ttl: int, maximum: int = 0) -> Accepted:
    """Make a message durable; again, it changes nothing.

    Args:
        ttl: seconds that the conversation lives on without use.
        maximum: messages that fit in a conversation, with the replies that are due; 0 for any number.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    message = {"id": id, "role": "human", "text": text, "timestamp": now_iso()}
    args = (
        *(conversation, id, orjson.dumps(message), events.accepted(message), ttl, RECOVERY_DELAY_MS),
        *(maximum, MAX_PENDING, reply_id(id), LEASE_MS),
    )
    keys = ConversationKeys(conversation)
    outcome, *rest = await redis.script(scripts.ACCEPT, keys.all, args)
    if outcome == b"busy":
        raise FrameRejectedError("busy", f"{MAX_PENDING} messages wait for their replies already.", id=id)
    _check(outcome, id)
    return _accepted(outcome, rest, message)


async def edit(redis: RedisClient, conversation: str, to: str, id: str, text: str, ttl: int) -> Accepted:
    """Put a new message in the place of the last one and its reply, once for each `id`.

    Args:
        to: id of the message to replace.
        ttl: seconds that the conversation lives on without use.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    message = {"id": id, "role": "human", "text": text, "timestamp": now_iso()}
    event = events.edited(to, message)
    args = (conversation, to, id, orjson.dumps(message), event, ttl, RECOVERY_DELAY_MS, reply_id(id))
    keys = ConversationKeys(conversation)
    outcome, *rest = await redis.script(scripts.EDIT, keys.all, args)
    _check(outcome, id)
    return _accepted(outcome, rest, message, replaces=to)


async def retry(redis: RedisClient, conversation: str, to: str, id: str, ttl: int) -> None:
    """Have the last human message answered again, once for each `id`.

    Args:
        to: id of that message.
        id: the new reply will have it.
        ttl: seconds that the conversation lives on without use.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    keys = ConversationKeys(conversation)
    _check(await redis.script(scripts.RETRY, keys.all, (conversation, id, to, ttl, RECOVERY_DELAY_MS)), id)


async def grow(redis: RedisClient, conversation: str, to: str, id: str, ttl: int) -> None:
    """Have the last reply go on from its words, once for each `id`, if it was cut off at its length or stopped.

    Args:
        to: id of the message that it answers.
        ttl: seconds that the conversation lives on without use.

    Raises FrameRejectedError, ConversationGoneError, StorageError.
    """
    keys = ConversationKeys(conversation)
    args = (conversation, id, to, ttl, RECOVERY_DELAY_MS, MAX_CONTINUED_BYTES)
    _check(await redis.script(scripts.CONTINUE, keys.all, args), id)


async def stop(redis: RedisClient, conversation: str, to: str, ttl: int) -> int | None:
    """End the reply to a message with what was shown of it; too late is no error.

    The conversation then lives for `ttl` more seconds. Returns how many messages still wait, or None if no reply ended
    now. A reply whose turn has not come ends when it comes. The worker that writes the reply loses the lease, so its
    next text is rejected and it gives up. Raises ConversationGoneError, StorageError.
    """
    keys = ConversationKeys(conversation)
    args = (conversation, to, reply_id(to), *finished_reply(to, "stopped"), ttl, QUIET_STREAM_SECONDS)
    left: int = await redis.script(scripts.STOP, keys.all, args)
    if left == -3:
        raise ConversationGoneError(GONE)
    return left if left >= 0 else None


async def _requested(state: AppState, conversation: str, accepted: Accepted) -> Accepted:
    if not accepted.known:
        state.metrics.count("messages_accepted")
        log.info("message.accepted conversation=%s message=%s", conversation, accepted.message["id"])
    # Also for a message that was sent again: the first time may have ended right here.
    if not accepted.held:
        await state.broker.request_reply(conversation)
    # Last: what this Redis has is answered, also while no second node has it. And also if the message was known before:
    # then nobody knows whether the first sending reached a second node.
    await state.redis.wait_for_replica(ConversationKeys(conversation).shard)
    return accepted


def _check(outcome: bytes, id: str) -> None:
    """Raise what a script's outcome means."""
    if outcome == b"gone":
        raise ConversationGoneError(GONE)
    if outcome == b"busy":
        raise FrameRejectedError("busy", "A reply is still being written.", id=id)
    if outcome in REFUSALS:
        code, detail = REFUSALS[outcome]
        raise FrameRejectedError(code, detail, id=id)


def _accepted(outcome: bytes, rest: list[Any], message: Message, replaces: str | None = None) -> Accepted:
    """The Accepted of a script's result. If an edit has replaced the stored message, use the one just sent."""
    cursor, *more = rest
    known = outcome == b"known"
    if known and more[0]:
        message = orjson.loads(more[0])
    return Accepted(cursor.decode(), message, known, replaces, held=not known and more == [1])
