"""Answers what is unanswered in a conversation: asks the model, and publishes its text until the reply is whole."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tasks.errors import LeaseLost, ModelError, StorageError
from tasks.model.prompt import Turn as PromptTurn
from tasks.worker.lease import Lease, Turn
from tasks.worker.publisher import Publisher, ReplyBuffer
from tasks.worker.reply_metrics import ReplyMetrics

if TYPE_CHECKING:
    from tasks.worker.runtime import WorkerRuntime

log = logging.getLogger("parley.reply")

#: Turns in which a worker writes the same reply before it gives the conversation up: one is enough, if it ends.
MAX_TURNS_PER_REPLY = 3

INTERNAL = "Something went wrong on our side. Please try again."


async def answer_conversation(runtime: "WorkerRuntime", lease: Lease) -> None:
    """Answer whatever is unanswered in a conversation, one message after another.

    Raises LeaseLost, StorageError.
    """
    turns, before = 0, ""
    while not lease.done and (turn := await lease.next_turn()):
        turns, before = turns + 1 if turn.reply == before else 0, turn.reply
        if turns == MAX_TURNS_PER_REPLY:
            # Each of these turns asks the model, and the document does not grow: no person waits for that.
            log.error("conversation.abandoned conversation=%s reply=%s turns=%d", lease.conversation, before, turns)
            await lease.abandon()
            return
        metrics = ReplyMetrics(runtime.metrics, turn, lease.conversation)
        if await lease.start(turn):
            await answer_turn(runtime, lease, turn, metrics)
        else:
            await lease.finish(turn, "stopped")
            metrics.finished("stopped")


async def answer_turn(runtime: "WorkerRuntime", lease: Lease, turn: Turn, metrics: ReplyMetrics) -> None:
    """Answer one message, from the words of its reply that are already shown. Raises LeaseLost, StorageError."""
    buffer = ReplyBuffer(lease, turn.reply)
    try:
        turns = [PromptTurn(message["role"], message["text"]) for message in turn.messages if message["text"]]
        listener = ReplyPublisher(runtime.publisher, buffer, metrics)
        finished = await runtime.model.reply(turn.person, turns, turn.partial, _no_slot, listener, turn.grows_from)
        await runtime.publisher.drain(buffer)
        await lease.finish(turn, finished.finish_reason)
        metrics.finished(finished.finish_reason)
    except ModelError as error:
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, error.code, error.detail, error.retryable)
        metrics.failed(error.code)
    except (LeaseLost, StorageError):
        raise
    except Exception:
        log.exception("reply.crashed conversation=%s reply=%s", lease.conversation, turn.reply)
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, "internal", INTERNAL, True)
        metrics.failed("internal")


class ReplyPublisher:
    """Publishes what the model says of one reply, as it says it."""

    def __init__(self, publisher: Publisher, buffer: ReplyBuffer, metrics: ReplyMetrics) -> None:
        self._publisher = publisher
        self._buffer = buffer
        self._metrics = metrics

    def text(self, text: str) -> bool:
        """More of the reply; False if too much of it is unsent. Raises LeaseLost."""
        self._metrics.token()
        return self._publisher.write(self._buffer, text)

    async def room(self) -> None:
        """Wait until all of it is sent. Raises LeaseLost."""
        await self._publisher.drain(self._buffer)

    def waiting(self, reason: str, retry_in: float) -> None:
        """The model lets the reply wait for `retry_in` seconds."""
        self._metrics.waiting(reason)
        self._publisher.pause(self._buffer, reason, retry_in, time.time() + retry_in)


@asynccontextmanager
async def _no_slot() -> AsyncIterator[None]:
    yield
