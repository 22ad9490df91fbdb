"""A conversation with a long past, written straight into Redis: nobody can wait for a model to say so much."""

import json
import uuid
from collections.abc import Iterable
from typing import Any

from tasks.storage.conversations import Message, now_iso
from tasks.storage.keys import ConversationKeys, conversation_id


def exchanges(texts: Iterable[tuple[str, str]]) -> list[Message]:
    """A message and its reply for each pair of texts."""
    messages: list[Message] = []
    for text, answer in texts:
        asked, reply, at = str(uuid.uuid4()), str(uuid.uuid4()), now_iso()
        messages.append({"id": asked, "role": "human", "text": text, "timestamp": at})
        ended = {"finish_reason": "stop", "to": asked}
        messages.append({"id": reply, "role": "bot", "text": answer, "timestamp": at, **ended})
    return messages


def used_ids(messages: list[Message]) -> dict[str, str]:
    """What the hash `ids` says of these messages, if they are a whole conversation."""
    return {
        message["id"]: f"reply {message['to']}" if "to" in message else f"message 0-0 {at} {at}"
        for at, message in enumerate(messages)
    }


def give_past(client: Any, token: str, messages: list[Message]) -> None:
    """Give a new conversation these messages; `client`: redis-py's own."""
    keys = ConversationKeys(conversation_id(token))
    client.execute_command("JSON.SET", keys.document, "$.messages", json.dumps(messages))
    client.hset(keys.state, "count", len(messages))
    client.hset(keys.ids, mapping=used_ids(messages))
