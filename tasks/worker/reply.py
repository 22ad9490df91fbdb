"""Answers what is unanswered in a conversation: asks the model, and publishes its text until the reply is whole."""

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from tasks.errors import LeaseLostError, ModelError, StorageError
from tasks.model.client import Finished, Text, Waiting
from tasks.model.prompt import Turn as PromptTurn
from tasks.worker.lease import Lease, Turn
from tasks.worker.publisher import ReplyBuffer
from tasks.worker.reply_metrics import ReplyMetrics

if TYPE_CHECKING:
    from tasks.worker.runtime import WorkerRuntime

log = logging.getLogger("parley.reply")

#: Turns in which a worker writes the same reply before it gives the conversation up: one is enough, if it ends.
MAX_TURNS_PER_REPLY = 3

INTERNAL = "Something went wrong on our side. Please try again."


async def answer_conversation(runtime: "WorkerRuntime", lease: Lease) -> None:
    """Answer whatever is unanswered in a conversation, one message after another.

    Raises LeaseLostError, StorageError.
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
    """Answer one message, from the words of its reply that are already shown. Raises LeaseLostError, StorageError."""
    buffer = ReplyBuffer(lease, turn.reply)
    try:
        turns = [PromptTurn(message["role"], message["text"]) for message in turn.messages if message["text"]]
        async with aclosing(runtime.model.reply(turn.person, turns, turn.partial, turn.grows_from)) as events:
            async for event in events:
                match event:
                    case Text():
                        metrics.token()
                        if not runtime.publisher.write(buffer, event.text):
                            await runtime.publisher.drain(buffer)
                    case Waiting():
                        metrics.waiting(event.reason)
                        until = time.time() + event.retry_in
                        runtime.publisher.pause(buffer, event.reason, event.retry_in, until)
                    case Finished():
                        await runtime.publisher.drain(buffer)
                        await lease.finish(turn, event.finish_reason)
                        metrics.finished(event.finish_reason)
    except ModelError as error:
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, error.code, error.detail, error.retryable)
        metrics.failed(error.code)
    except (LeaseLostError, StorageError):
        raise
    except Exception:
        log.exception("reply.internal_error conversation=%s reply=%s", lease.conversation, turn.reply)
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, "internal", INTERNAL, True)
        metrics.failed("internal")
