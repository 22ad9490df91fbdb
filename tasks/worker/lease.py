"""Who may write: the lease of a conversation, the turn it is there to answer, and its prolonging."""

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from tasks.errors import LeaseLostError
from tasks.monitoring.background import cancel_and_wait
from tasks.storage import events, scripts
from tasks.storage.client import Part, RedisClient
from tasks.storage.conversations import LEASE_MS, QUIET_STREAM_SECONDS, Message, finished_reply, reply_id
from tasks.storage.keys import ConversationKeys

#: Seconds between two prolongings.
RENEW_SECONDS = 1.5
#: Seconds that a conversation with a lease lives at least: longer than the lease and the search for who takes it over.
MIN_TTL_IN_USE = 30
#: Messages that are read for a prompt, at any length of the conversation; of very short ones a context could hold
#: more.
TURNS_READ = 32

_numbers = itertools.count()


@dataclass(frozen=True)
class Turn:
    """A message to answer: what was said before it, and how much of its reply is already shown."""

    reply: str
    to: str
    person: str
    #: Oldest first; the last one is the message to answer.
    messages: tuple[Message, ...]
    partial: str
    #: Characters of `partial` that the reply had before a person asked for more of it.
    grows_from: int = 0
    #: When a person asked for this reply, as a Unix time in seconds.
    requested_at: float = 0.0


class Lease:
    """The timed right to write one conversation's replies; every write names it and is refused without it.

    Args:
        redis: where the conversation is.
        process: this process's name, unique among all that are alive.
        conversation: its token.
        ttl: how many seconds the conversation lives after a write.
    """

    def __init__(self, redis: RedisClient, process: str, conversation: str, ttl: int) -> None:
        self.conversation = conversation
        self.owner = f"{process}:{next(_numbers)}"
        self.keys = ConversationKeys(conversation)
        #: Bytes of the current reply that stand in Redis, or are on their way there.
        self.written = 0
        self.taken = False
        self.lost = False
        #: Why this worker must stop, if the reason is not a lost lease.
        self.error: Exception | None = None
        #: The last reply ended and no message waits. A new message enqueues the conversation again.
        self.done = False
        #: A reply is ending, which gives the lease back if no message waits. Its answer says whether the lease was lost
        #: before; a renewal meanwhile cannot tell.
        self.ending = False
        self._redis = redis
        self._ttl = ttl
        #: Seconds that the conversation lives on from each renewal: a reply in progress is use.
        self.ttl_in_use = max(ttl, MIN_TTL_IN_USE)
        self._holder: asyncio.Task[Any] | None = None

    @property
    def node(self) -> str:
        """The name of the node that has the conversation; '' on a single server."""
        return self._redis.node_of(self.keys.shard)

    def held_by(self, task: asyncio.Task[Any] | None) -> None:
        """Name the task to stop at once when the lease is lost."""
        self._holder = task

    def lose(self) -> None:
        """Somebody else may write now: stop whoever still tries to."""
        if not self.lost:
            self.lost = True
            if self._holder:
                self._holder.cancel()

    def break_off(self, error: Exception) -> None:
        """Stop the holder because of an error that is not its own."""
        self.error = error
        self.lose()

    async def next_turn(self) -> Turn | None:
        """Take (or keep) the lease and read what is to be answered next; None if there is nothing for this worker.

        Raises StorageError.
        """
        keys = self.keys
        taken = await self._redis.script(
            scripts.TAKE, keys.all, (self.conversation, self.owner, LEASE_MS, self.ttl_in_use, TURNS_READ)
        )
        if taken is None:
            return None
        self.taken = True
        (person,), messages = orjson.loads(taken[7]), tuple(orjson.loads(taken[8]))
        self.written = len(taken[4])
        to = messages[-1]["id"]
        return Turn(
            reply=taken[3].decode() or reply_id(to),
            to=to,
            person=person,
            messages=messages,
            partial=taken[4].decode(),
            grows_from=len(taken[4][: int(taken[6])].decode()),
            requested_at=_requested_at(messages[-1], int(taken[5]) if int(taken[2]) else 0),
        )

    async def start(self, turn: Turn) -> bool:
        """Say that the reply begins; False if it was stopped before its turn. Raises LeaseLostError, StorageError."""
        keys = self.keys
        answer = await self._redis.script(
            scripts.START,
            keys.all,
            (self.conversation, self.owner, turn.reply, turn.to, events.started(turn.reply, turn.to)),
        )
        if answer == 0:
            raise LeaseLostError("The reply was given to somebody else before it began.")
        return bool(answer == 1)

    async def finish(self, turn: Turn, finish_reason: str) -> None:
        """End the reply with the text that was shown. Raises LeaseLostError, StorageError."""
        outcome = "stopped" if finish_reason == "stopped" else "finished"
        await self._end(turn, outcome, *finished_reply(turn.to, finish_reason))

    async def fail(self, turn: Turn, code: str, detail: str, retryable: bool) -> None:
        """End the reply with a failure; what was shown of it is kept beside it. Raises LeaseLostError, StorageError."""
        failure = {"code": code, "detail": detail, "retryable": retryable}
        await self._end(turn, "failed", events.up_to_text(failure), events.failed_head(turn.to))

    async def _end(self, turn: Turn, outcome: str, fields: bytes, event: bytes) -> None:
        self.ending = True
        left = await self._redis.script(
            scripts.FINISH,
            self.keys.all,
            (
                *(self.conversation, self.owner, turn.reply, outcome, fields, event),
                *(self._ttl, QUIET_STREAM_SECONDS),
            ),
        )
        if left == -1:
            raise LeaseLostError("The reply was given to somebody else before it ended.")
        self.done = self.ending = left == 0
        await self._redis.wait_for_replica(self.keys.shard)

    async def release(self) -> bool:
        """Give the lease back; True if it was ours and something is left to answer. Raises StorageError."""
        keys = (self.keys.state, self.keys.pending_index)
        return bool(await self._redis.script(scripts.RELEASE, keys, (self.conversation, self.owner)))

    async def crash(self, pause_ms: int) -> int:
        """Give the lease back after an unexpected error, to be tried again after a pause.

        Args:
            pause_ms: milliseconds after the first error; the pause doubles with each further one.

        Returns how often this reply has crashed; 0 if the lease was not ours. Raises StorageError.
        """
        keys = (self.keys.state, self.keys.pending_index)
        crashes: int = await self._redis.script(scripts.CRASH, keys, (self.conversation, self.owner, pause_ms))
        return crashes

    async def abandon(self) -> None:
        """Give the lease back and have nobody look for the conversation. Raises StorageError."""
        await self._redis.script(
            scripts.ABANDON, (self.keys.state, self.keys.pending_index), (self.conversation, self.owner)
        )


def _requested_at(message: Message, retried_ms: int) -> float:
    """When the message was accepted, or its retry. Only metrics use it, so a time that cannot be read is now."""
    if retried_ms:
        return retried_ms / 1000
    try:
        return datetime.fromisoformat(message["timestamp"]).timestamp()
    except ValueError:
        return time.time()


async def renew(redis: RedisClient, leases: Iterable[Lease]) -> None:
    """Prolong leases; those that are lost stop their holders.

    Each node is asked for itself, so that one that is away does not delay the others. Raises StorageError.
    """
    by_node: dict[str, list[Lease]] = {}
    for lease in leases:
        if lease.taken:
            by_node.setdefault(lease.node, []).append(lease)
    renewals = [asyncio.create_task(_renew(redis, held)) for held in by_node.values()]
    if not renewals:
        return
    try:
        await asyncio.wait(renewals, timeout=RENEW_SECONDS if len(renewals) > 1 else None)
    finally:
        await cancel_and_wait(renewals)
    for error in [renewal.exception() for renewal in renewals if not renewal.cancelled()]:
        if error:
            raise error


async def _renew(redis: RedisClient, held: list[Lease]) -> None:
    # All leases of a process have the same.
    ttl_in_use = held[0].ttl_in_use
    parts = [Part(lease.keys.shard, lease.keys.all, (lease.conversation, lease.owner)) for lease in held]
    renewed = await redis.script_on_parts(scripts.RENEW, parts, (LEASE_MS, ttl_in_use))
    for lease, mine in zip(held, renewed, strict=True):
        if not mine and not lease.ending:
            lease.lose()
