"""The session token: who holds it owns the conversation."""

import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

import orjson

from tasks.errors import ConversationGoneError, InvalidNameError
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.conversations import Message, View
from tasks.storage.keys import conversation_id

#: Characters of a name.
LONGEST_NAME = 200
#: Messages of a history that are read and sent at once.
PIECE = 50
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")


async def create(redis: RedisClient, name: str, ttl: int) -> dict[str, Any]:
    """Begin a conversation that lives for `ttl` seconds; returns its document.

    Raises InvalidNameError, StorageError.
    """
    name = name.strip()
    if not name:
        raise InvalidNameError("Please enter a name.")
    if len(name) > LONGEST_NAME:
        raise InvalidNameError(f"Please enter a name of at most {LONGEST_NAME} characters.")
    return await conversations.create(redis, secrets.token_urlsafe(32), name, ttl)


def conversation_of(token: str) -> str:
    """The id of the conversation that a token opens. Raises ConversationGoneError if it cannot be a token."""
    if not _TOKEN.fullmatch(token):
        raise ConversationGoneError("This conversation does not exist any more.")
    return conversation_id(token)


async def legacy_history(redis: RedisClient, conversation: str, ttl: int) -> AsyncIterator[bytes]:
    """A whole conversation in the older contract's shape, as the pieces of one JSON object.

    `ttl`: seconds that the conversation lives on, for reading is use.
    Raises ConversationGoneError and StorageError, both also while it is iterated.
    """
    return _legacy_history(redis, conversation, await conversations.load(redis, conversation, ttl))


async def _legacy_history(redis: RedisClient, conversation: str, view: View) -> AsyncIterator[bytes]:
    """What comes before the view's own messages cannot change any more, so it is read piece by piece."""
    yield orjson.dumps(view.about)[:-1] + b',"messages":['
    comma = b""
    for start in range(0, view.page.earlier, PIECE):
        end = min(start + PIECE, view.page.earlier)
        messages = await conversations.read_slice(redis, conversation, start, end)
        if len(messages) < end - start:
            raise ConversationGoneError("This conversation was deleted while it was read.")
        yield comma + _legacy_messages(messages)
        comma = b","
    if view.page.messages:
        yield comma + _legacy_messages(view.page.messages)
    yield b"]}"


def _legacy_messages(messages: list[Message]) -> bytes:
    """Messages in the older contract's shape, as the inside of a JSON list."""
    speaker = {"human": "Human", "bot": "Bot"}
    shaped = [
        {"id": m["id"], "msg": f"{speaker[m['role']]}: {m['text']}", "timestamp": m["timestamp"]} for m in messages
    ]
    return orjson.dumps(shaped)[1:-1]
