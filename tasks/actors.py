"""Dramatiq's entry point: the broker, the life of a worker process, and the actor.

Start it with `dramatiq tasks.actors`. Settings that are wrong end the process here, before a message is taken.
"""

import logging
import os
import signal
import sys
from typing import Any

import dramatiq
import uvloop
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.middleware import Middleware

from tasks.broker import ACTOR, QUEUE, WORKER_CONNECTIONS, WaitingBroker
from tasks.errors import SettingsError
from tasks.settings import settings
from tasks.startup import freeze_gc, set_up_logging
from tasks.storage.health import EXIT_UNSUPPORTED
from tasks.worker.reply import answer_conversation
from tasks.worker.runtime import WorkerRuntime

log = logging.getLogger("parley.actors")

#: Seconds after which a thread that waits for its reply looks whether Dramatiq has interrupted it. Nothing here does:
#: the runtime ends its replies itself. Each look of each thread costs.
INTERRUPT_CHECK_SECONDS = 5.0
#: Seconds in which the event loop has to start.
LOOP_START_SECONDS = 5.0


class ReplyLoop(EventLoopThread):
    """The event loop of all replies, on uvloop. A process whose loop has ended can do nothing, so it ends as well."""

    def __init__(self) -> None:
        super().__init__(log, interrupt_check_ival=INTERRUPT_CHECK_SECONDS)
        self.daemon = True
        self.loop.close()
        self.loop = uvloop.new_event_loop()
        self.stopping = False

    def run(self) -> None:
        """Run the event loop."""
        try:
            super().run()  # type: ignore[no-untyped-call]
        finally:
            if not self.stopping:
                log.critical("worker.loop_ended")
                os._exit(1)


class WorkerLifecycle(Middleware):
    """Starts the runtime before the first message is taken, and hands every reply over before the process ends.

    Dramatiq logs an exception in these methods and goes on, with half a process. So each of them ends the process.
    """

    def after_process_boot(self, broker: Any) -> None:
        """Let a second SIGTERM change nothing.

        Platforms signal every process, and Dramatiq's main process passes the signal on as well. Dramatiq would end at
        once with the second.
        """
        stop = signal.getsignal(signal.SIGTERM)

        def stop_once(number: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if runtime.unsupported:
                sys.exit(EXIT_UNSUPPORTED)
            if callable(stop):
                stop(number, frame)

        signal.signal(signal.SIGTERM, stop_once)
        freeze_gc()

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        """Start the event loop and the runtime."""
        try:
            loop.start(timeout=LOOP_START_SECONDS)
            set_event_loop_thread(loop)
            loop.run_coroutine(runtime.start())
        except Exception:
            log.critical("worker.start_failed", exc_info=True)
            os._exit(1)

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Take no more messages, and hand unfinished replies over. Their threads end with them."""
        try:
            broker.stop_consuming()
            loop.run_coroutine(runtime.stop())
        except Exception:
            log.critical("worker.stop_failed", exc_info=True)
            os._exit(1)

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """End the event loop."""
        loop.stopping = True
        loop.stop()  # type: ignore[no-untyped-call]
        set_event_loop_thread(None)


set_up_logging()
broker = WaitingBroker(settings().redis_url, max_connections=WORKER_CONNECTIONS)
try:
    runtime = WorkerRuntime(settings(), broker, answer_conversation)
except SettingsError as error:
    raise SystemExit(f"parley: {error}") from None
loop = ReplyLoop()
broker.add_middleware(WorkerLifecycle())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE, actor_name=ACTOR)
async def answer(conversation: str) -> None:
    """Answer a conversation that has something to answer."""
    await runtime.answer(conversation)
