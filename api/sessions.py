"""The session token: who holds it owns the conversation."""

import re
import secrets
from typing import Any

import orjson

from tasks.errors import ConversationGone
from tasks.storage import conversations
from tasks.storage.client import RedisClient
from tasks.storage.conversations import View
from tasks.storage.keys import conversation_id

#: Characters of a name.
LONGEST_NAME = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")


class BadName(Exception):
    """A name that nobody can be called by; the text says why."""


async def create(redis: RedisClient, name: str, ttl: int) -> dict[str, Any]:
    """Begin a conversation; returns its document. Raises BadName, StorageError."""
    name = name.strip()
    if not name:
        raise BadName("Please enter a name.")
    if len(name) > LONGEST_NAME:
        raise BadName(f"Please enter a name of at most {LONGEST_NAME} characters.")
    return await conversations.create(redis, secrets.token_urlsafe(32), name, ttl)


def conversation_of(token: str) -> str:
    """The id of the conversation that a token opens. Raises ConversationGone if it cannot be a token."""
    if not _TOKEN.fullmatch(token):
        raise ConversationGone("This conversation does not exist any more.")
    return conversation_id(token)


def legacy_history(view: View) -> dict[str, Any]:
    """A conversation in the older contract's shape."""
    document = orjson.loads(view.document)
    speaker = {"human": "Human", "bot": "Bot"}
    return {
        **document,
        "messages": [
            {"id": m["id"], "msg": f"{speaker[m['role']]}: {m['text']}", "timestamp": m["timestamp"]}
            for m in document["messages"]
        ],
    }
