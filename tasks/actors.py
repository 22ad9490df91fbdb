"""The story of a message once it is accepted: a worker takes its conversation, asks the model, and passes the
words on until the reply is whole."""

import logging
import signal
import sys
import time
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

from tasks.broker import ACTOR, QUEUE, WaitingBroker
from tasks.errors import LeaseLost, ModelError, StorageError
from tasks.model.prompt import Turn as PromptTurn
from tasks.settings import settings
from tasks.startup import freeze_gc, set_up_logging
from tasks.storage.health import EXIT_UNSUPPORTED
from tasks.worker.lease import Lease, Turn
from tasks.worker.publisher import Publisher, ReplyBuffer
from tasks.worker.reply_metrics import ReplyMetrics
from tasks.worker.runtime import WorkerRuntime

log = logging.getLogger("parley.actors")

#: Turns in which a worker writes the same reply before it gives the conversation up: one is enough, if it ends.
MAX_TURNS_PER_REPLY = 3


async def answer_conversation(runtime: WorkerRuntime, lease: Lease) -> None:
    """Answer whatever is unanswered in a conversation, one message after another."""
    same, before = 0, ""
    while not lease.done and (turn := await lease.next_turn()):
        same, before = same + 1 if turn.reply == before else 0, turn.reply
        if same == MAX_TURNS_PER_REPLY:
            # Each of these turns asks the model, and the document does not grow: no person waits for that.
            log.error("abandoned conversation=%s reply=%s turns=%d", lease.conversation, turn.reply, same)
            await lease.abandon()
            return
        if await lease.start(turn):
            await answer_turn(runtime, lease, turn)
        else:
            await lease.finish(turn, "stopped")
            ReplyMetrics(runtime.metrics, turn, lease.conversation).finished("stopped")


async def answer_turn(runtime: WorkerRuntime, lease: Lease, turn: Turn) -> None:
    """Answer one message, from the words of its reply that are already shown."""
    reply_metrics = ReplyMetrics(runtime.metrics, turn, lease.conversation)
    buffer = ReplyBuffer(lease, turn.reply)
    try:
        await pass_on(runtime, buffer, turn, reply_metrics)
    except ModelError as error:
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, error.code, error.detail, error.retryable)
        reply_metrics.failed(error.code)
    except (LeaseLost, StorageError):
        raise
    except Exception:
        log.exception("a reply failed for a reason of our own conversation=%s", lease.conversation)
        await runtime.publisher.drain(buffer)
        await lease.fail(turn, "internal", "Something went wrong on our side. Please try again.", True)
        reply_metrics.failed("internal")


async def pass_on(runtime: WorkerRuntime, buffer: ReplyBuffer, turn: Turn, reply_metrics: ReplyMetrics) -> None:
    """Pass on what the model says until it has said it all, and end the reply with it.

    Raises ModelError, LeaseLost, StorageError.
    """
    turns = [PromptTurn(message["role"], message["text"]) for message in turn.messages if message["text"]]
    passing = ReplyPublisher(runtime.publisher, buffer, reply_metrics)
    ended = await runtime.model.reply(turn.person, turns, turn.partial, runtime.places.resting, passing)
    await runtime.publisher.drain(buffer)
    await buffer.lease.finish(turn, ended.finish_reason)
    reply_metrics.finished(ended.finish_reason, ended.tokens)


class ReplyPublisher:
    """Passes on what the model says of one reply, as it says it."""

    def __init__(self, publisher: Publisher, buffer: ReplyBuffer, reply_metrics: ReplyMetrics) -> None:
        self._writer = publisher
        self._strand = buffer
        self._told = reply_metrics

    def text(self, text: str) -> bool:
        """More of the reply; False if too much of it is unsent. Raises LeaseLost."""
        self._told.text()
        return self._writer.write(self._strand, text)

    async def room(self) -> None:
        """Wait until all of it is sent. Raises LeaseLost."""
        await self._writer.drain(self._strand)

    def waiting(self, reason: str, retry_in: float) -> None:
        """The model lets us wait."""
        self._told.waits(reason)
        self._writer.pause(self._strand, reason, retry_in, time.time() + retry_in)


class AnsweringMiddleware(Middleware):
    """Starts and stops the answering part with Dramatiq's worker."""

    def after_process_boot(self, broker: Any) -> None:
        """A process that is told to stop a second time goes on stopping: platforms signal every process,
        and Dramatiq's own main process passes the signal on."""
        stop = signal.getsignal(signal.SIGTERM)

        def once(number: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if runtime.unsupported:
                sys.exit(EXIT_UNSUPPORTED)
            if callable(stop):
                stop(number, frame)

        signal.signal(signal.SIGTERM, once)
        freeze_gc()

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        runtime.start()

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        broker.close_consumers()
        runtime.stop()


set_up_logging()
runtime = WorkerRuntime(settings(), answer_conversation)
broker = WaitingBroker(settings().redis_url, runtime.places)
broker.add_middleware(AnsweringMiddleware())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE, actor_name=ACTOR)
def answer(conversation: str) -> None:
    """A conversation has something to answer; the process's event loop does it while this thread goes on."""
    runtime.begin(conversation)
