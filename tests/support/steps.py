"""A conversation taken step by step, as web process and worker would, without either: for tests of single steps."""

import asyncio
import contextlib
import json
import secrets
import uuid
from types import TracebackType
from typing import Any

from api import messages
from tasks.storage import conversations, events
from tasks.storage.client import RedisClient
from tasks.storage.conversations import Message, View
from tasks.storage.keys import ConversationKeys, conversation_id
from tasks.worker.lease import Lease, Turn
from tasks.worker.publisher import Publisher, ReplyBuffer
from tests.support.past import used_ids

#: Long enough for every test, in seconds.
TTL = 600


class Steps:
    """One conversation; inside the block, text written under a lease goes through a writer of its own."""

    def __init__(self, redis: RedisClient, name: str = "Ada") -> None:
        self.redis = redis
        self.name = name
        self.token = secrets.token_urlsafe(32)
        self.id = conversation_id(self.token)
        self.keys = ConversationKeys(self.id)
        self.publisher = Publisher(redis)
        self._worker: Lease | None = None
        self._buffers: dict[tuple[str, str], ReplyBuffer] = {}

    async def __aenter__(self) -> "Steps":
        await conversations.create(self.redis, self.token, self.name, TTL)
        self._running = asyncio.create_task(self.publisher.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    async def say(self, text: str, id: str | None = None) -> str:
        """A person sends a message; returns its id."""
        id = id or str(uuid.uuid4())
        await messages.accept(self.redis, self.id, id, text, TTL)
        return id

    async def grow(self, many: int) -> None:
        """Give the conversation `many` messages from before, instead of those that it has."""
        earlier: list[Message] = [
            {"id": f"m{n}", "role": "human", "text": f"text {n}", "timestamp": "t"}
            if n % 2 == 0
            else {
                **{"id": f"m{n}", "role": "bot", "text": f"text {n}", "timestamp": "t"},
                **{"finish_reason": "stop", "to": f"m{n - 1}"},
            }
            for n in range(many)
        ]
        await self.put(earlier)

    async def put(self, messages: list[Message]) -> None:
        """Give the conversation these messages instead of those that it has."""
        await self.redis.pipeline(
            ("JSON.SET", self.keys.document, "$.messages", json.dumps(messages)),
            ("HSET", self.keys.state, "count", len(messages)),
            *(("HSET", self.keys.ids, id, value) for id, value in used_ids(messages).items()),
        )

    async def stop(self, to: str) -> None:
        """A person stops the reply to a message."""
        await messages.stop(self.redis, self.id, to, TTL)

    async def retry(self, to: str, id: str | None = None) -> str:
        """A person asks for another reply; returns its id."""
        id = id or str(uuid.uuid4())
        await messages.retry(self.redis, self.id, to, id, TTL)
        return id

    async def edit(self, to: str, text: str, id: str | None = None) -> str:
        """A person replaces their last message; returns the new one's id."""
        id = id or str(uuid.uuid4())
        await messages.edit(self.redis, self.id, to, id, text, TTL)
        return id

    async def grow_reply(self, to: str, id: str | None = None) -> str:
        """A person asks for more of the reply to a message; returns the id of the wish."""
        id = id or str(uuid.uuid4())
        await messages.grow(self.redis, self.id, to, id, TTL)
        return id

    def lease(self, process: str = "worker:1:test") -> Lease:
        """What a worker holds, or wants to."""
        return Lease(self.redis, process, self.id, TTL)

    def _own_lease(self) -> Lease:
        """A worker goes on with the lease it has."""
        if self._worker is None or self._worker.lost:
            self._worker = self.lease()
        return self._worker

    async def begin(self, lease: Lease | None = None) -> tuple[Lease, Turn]:
        """A worker takes the conversation and begins its next reply."""
        lease = lease or self._own_lease()
        turn = await lease.next_turn()
        assert turn, "there is nothing to answer"
        assert await lease.start(turn), "the reply was stopped before its turn"
        return lease, turn

    async def write(self, lease: Lease, turn: Turn, *texts: str) -> None:
        """A worker shows some words of a reply, each in an event of its own. Raises LeaseLostError."""
        buffer = self.buffer(lease, turn)
        for text in texts:
            self.publisher.write(buffer, text)
            await self.publisher.drain(buffer)

    def buffer(self, lease: Lease, turn: Turn) -> ReplyBuffer:
        """A worker's way of writing a reply, one for each lease and reply."""
        return self._buffers.setdefault((lease.owner, turn.reply), ReplyBuffer(lease, turn.reply))

    async def pause(self, lease: Lease, turn: Turn, reason: str = "model_loading", until: float = 2e9) -> None:
        """A worker says that a reply waits."""
        buffer = self.buffer(lease, turn)
        self.publisher.pause(buffer, reason, 1.5, until)
        await self.publisher.drain(buffer)

    async def answer(self, *texts: str, finish_reason: str = "stop") -> Turn:
        """A worker answers the next message whole."""
        lease, turn = await self.begin()
        await self.write(lease, turn, *texts)
        await lease.finish(turn, finish_reason)
        return turn

    async def say_and_answer(self, text: str, reply: str) -> str:
        """A person sends a message and a worker answers it; returns the message's id."""
        id = await self.say(text)
        await self.answer(reply)
        return id

    async def answer_stopped(self) -> None:
        """A worker comes to a message whose reply was stopped before its turn."""
        lease = self._own_lease()
        turn = await lease.next_turn()
        assert turn, "there is nothing to answer"
        assert not await lease.start(turn), "the reply was not stopped"
        await lease.finish(turn, "stopped")

    async def look(self) -> View:
        """The conversation as a snapshot has it."""
        return await conversations.load(self.redis, self.id, TTL)

    async def messages(self) -> list[Message]:
        """The document's messages."""
        return await conversations.read_slice(self.redis, self.id, 0, 100_000)

    async def texts(self) -> list[str]:
        """What was said, oldest first."""
        return [message["text"] for message in await self.messages()]

    async def events(self, after: str = "-") -> list[dict[str, Any]]:
        """The frames of the stream, from the cursor after `after`."""
        entries = await self.redis.command("XRANGE", self.keys.events, after if after == "-" else f"({after}", "+")
        return [json.loads(events.frame(cursor, fields[events.FIELD])) for cursor, fields in entries]

    async def state(self) -> dict[str, str]:
        """The fields of the state."""
        fields = await self.redis.command("HGETALL", self.keys.state)
        return {name.decode(): value.decode() for name, value in fields.items()}
