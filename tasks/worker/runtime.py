"""What all replies of a worker process share: one event loop, its clients, and its background tasks.

Dramatiq starts one thread for each reply; the thread waits while its reply is a task of the event loop.
"""

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tasks.broker import WORKER_CONNECTIONS, WaitingBroker
from tasks.errors import LeaseLostError, StorageError, StorageUnavailableError
from tasks.model.client import Model
from tasks.monitoring import canary, heartbeat
from tasks.monitoring.background import Background, cancel_and_wait
from tasks.monitoring.heartbeat import WORKER, Heartbeat
from tasks.monitoring.metrics import Metrics
from tasks.settings import Settings
from tasks.startup import OncePerWhile
from tasks.storage.client import RedisClient
from tasks.storage.health import check_or_exit
from tasks.storage.keys import QUEUE_WAITING
from tasks.worker.lease import RENEW_SECONDS, Lease, renew
from tasks.worker.publisher import ControlEvent, Publisher, ReplyBuffer
from tasks.worker.recovery import requeue_pending

log = logging.getLogger("parley.runtime")
# Redis in trouble breaks off every reply of the process for the same reason.
log.addFilter(OncePerWhile())

#: Redis connections for replies that begin and end and for background tasks; the publisher has one of its own.
CONNECTIONS = 3
#: Seconds between two searches for conversations that nobody answers.
RECOVERY_SECONDS = 10.0
#: Seconds of searching every RECOVERY_URGENT_SECONDS after a start, a death or trouble with Redis: longer than two
#: leases.
URGENT_FOR_SECONDS = 12.0
RECOVERY_URGENT_SECONDS = 2.0
#: Seconds that the check of Redis may take at the start before the background tasks begin without its result.
CHECK_SECONDS = 3.0
#: Unexpected errors of a conversation before its reply fails, and the pause after the first one; it doubles.
MAX_CRASHES = 5
CRASH_PAUSE_MS = 1000

Handler = Callable[["WorkerRuntime", Lease], Coroutine[Any, Any, None]]


class WorkerRuntime:
    """One per worker process; everything but the constructor runs in its event loop.

    Args:
        settings: the process's settings.
        broker: puts conversations back on the queue.
        handler: answers the conversation of a lease.

    Raises SettingsError if the settings of the model do not fit together.
    """

    def __init__(self, settings: Settings, broker: WaitingBroker, handler: Handler) -> None:
        self.settings = settings
        self.broker = broker
        self.model = Model(settings)
        self._handler = handler
        self._answering: set[asyncio.Task[None]] = set()
        self._leases: dict[asyncio.Task[None], Lease] = {}
        self._urgent_until = 0.0
        self._next_recovery = 0.0
        #: Nothing is begun any more.
        self._stopping = False
        #: This process can do nothing here, and no restart would change that.
        self.unsupported = False
        # A server that is unsupported answers as nobody expects, so no message is taken before the check.
        broker.may_consume.clear()

    async def start(self) -> None:
        """Start the background tasks."""
        process = f"{WORKER}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.redis = RedisClient(self.settings.redis_url, max_connections=CONNECTIONS)
        self._publisher_redis = RedisClient(self.settings.redis_url, max_connections=1)
        self.publisher = Publisher(self._publisher_redis)
        self.metrics = Metrics(process)
        self.heartbeat = Heartbeat(self.redis, process)
        self._search_often()
        self._check = asyncio.create_task(
            check_or_exit(self.settings.redis_url, CONNECTIONS + 1 + 1 + WORKER_CONNECTIONS, self._give_up)
        )
        self._check.add_done_callback(self._checked)
        self._background = Background()
        self._background.run_forever("publisher", self.publisher.run)
        # Each for itself: a slow search must not make this process look dead, nor let its leases run out.
        for name, seconds, step in (
            ("heartbeat", heartbeat.INTERVAL, self._send_heartbeat),
            ("leases", RENEW_SECONDS, self._renew_leases),
            ("recovery", RECOVERY_URGENT_SECONDS, self._recover),
            ("metrics", heartbeat.INTERVAL, self._send_metrics),
        ):
            self._background.run_every(name, seconds, self._once_checked(step))

    async def answer(self, conversation: str) -> None:
        """Answer a conversation, until nothing is unanswered there or another worker has to go on.

        Nothing is raised: what is left to do stands in the conversation's state.
        """
        lease = Lease(self.redis, self.heartbeat.process, conversation, self.settings.session_ttl_seconds)
        if conversation == canary.CANARY:
            await self._leave_queue(conversation)
            self._answer_canary(lease)
            return
        if self._stopping:
            # Dramatiq's threads go on with what they have.
            await self.broker.request_reply(conversation)
            return
        answering = asyncio.create_task(self._answer(lease))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        await answering

    async def stop(self) -> None:
        """Hand every unfinished reply over at its last word, and end the background tasks."""
        self._stopping = True
        while self._answering:
            answering = set(self._answering)
            # One that was about to begin has a lease then.
            await asyncio.sleep(0)
            for lease in self._leases.values():
                lease.lose()
            await cancel_and_wait(self._leases)
            await asyncio.wait(answering)
        # Waited for, since it closes its own connections.
        await cancel_and_wait([self._check])
        await self._background.stop()
        with contextlib.suppress(StorageError):
            await self.metrics.send(self.redis)
            await self.heartbeat.leave()
        await self.model.aclose()
        await self._publisher_redis.aclose()
        await self.redis.aclose()

    async def _answer(self, lease: Lease) -> None:
        # The handler has a task of its own: it may be cancelled again and again, and what follows it may not.
        work = asyncio.create_task(self._handler(self, lease))
        lease.held_by(work)
        self._leases[work] = lease
        await self._leave_queue(lease.conversation)
        await asyncio.wait([work])
        del self._leases[work]
        outcome = lease.error or (asyncio.CancelledError() if work.cancelled() else work.exception())
        match outcome:
            case None:
                pass
            case LeaseLostError() | asyncio.CancelledError():
                log.info("reply.handed_over conversation=%s reason=%s", lease.conversation, type(outcome).__name__)
                await self._hand_over(lease)
            case StorageUnavailableError():
                log.warning("replies.handed_over error=%s", outcome)
                log.info("reply.handed_over conversation=%s error=%s", lease.conversation, outcome)
                await self._hand_over(lease)
                self._search_often()
            case _:
                await self._crashed(lease, outcome)

    async def _leave_queue(self, conversation: str) -> None:
        """Count a conversation no longer among those that wait for a worker."""
        try:
            await self.redis.command("ZREM", QUEUE_WAITING, conversation)
        except StorageError as error:
            log.warning("queue.remove_failed conversation=%s error=%s", conversation, error)

    def _answer_canary(self, lease: Lease) -> None:
        lease.owner = canary.OWNER
        self.publisher.send_event(ReplyBuffer(lease, canary.CANARY), ControlEvent(canary.EVENT))

    async def _hand_over(self, lease: Lease) -> None:
        """What is unfinished and still ours goes to the next worker at once."""
        with contextlib.suppress(StorageError):
            # Without a lease its queue message was taken all the same.
            if await lease.release() or not lease.taken:
                await self.broker.request_reply(lease.conversation)

    async def _crashed(self, lease: Lease, error: BaseException) -> None:
        """Let recovery try again after a pause, and fail the reply after too many tries."""
        self.metrics.count("crashes")
        log.error("reply.crashed conversation=%s", lease.conversation, exc_info=error)
        try:
            crashes = await lease.crash(CRASH_PAUSE_MS)
            if crashes >= MAX_CRASHES:
                await self._give_up_reply(lease)
            self._search_often()
        except (StorageError, LeaseLostError) as second:
            log.warning("reply.crash_unrecorded conversation=%s error=%s", lease.conversation, second)

    async def _give_up_reply(self, lease: Lease) -> None:
        """Fail the reply; where even that is impossible, nobody tries again until a person does something there."""
        try:
            turn = await lease.next_turn()
            if turn:
                await lease.fail(turn, "internal", "Something went wrong on our side. Please try again.", True)
                await self._hand_over(lease)
        except (StorageError, LeaseLostError):
            raise
        except Exception as error:
            log.error("conversation.abandoned conversation=%s error=%s", lease.conversation, type(error).__name__)
            await lease.abandon()

    def _give_up(self) -> None:
        """Have the main thread end the process: Dramatiq's own main process waits for it to get there."""
        self.unsupported = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _checked(self, check: asyncio.Task[None]) -> None:
        if check.cancelled() or self.unsupported:
            return
        if error := check.exception():
            log.error("redis.check_failed", exc_info=error)
        self.broker.may_consume.set()

    def _once_checked(self, step: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """A step that waits for the check of Redis, since a server that is unsupported answers as nobody expects."""

        async def checked() -> None:
            if not self._check.done():
                await asyncio.wait([self._check], timeout=CHECK_SECONDS)
            if not self.unsupported:
                await step()

        return checked

    async def _send_heartbeat(self) -> None:
        try:
            dead = await self.heartbeat.beat()
        except StorageError:
            self._search_often()
            raise
        for process in dead:
            # Every process that sees it searches. A single winner could lose Redis' answer, and nobody would search.
            self._search_often()
            log.warning("process.dead process=%s", process)
            await self.heartbeat.remove_dead(process)

    async def _renew_leases(self) -> None:
        await renew(self.redis, self._leases.values())

    async def _send_metrics(self) -> None:
        await self.metrics.send(self.redis)

    async def _recover(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._next_recovery < now or now < self._urgent_until:
            self._next_recovery = now + RECOVERY_SECONDS
            requeued = await requeue_pending(self.redis, self.broker)
            if requeued:
                self.metrics.count("requeued", by=requeued)
                log.warning("queue.requeued conversations=%d", requeued)

    def _search_often(self) -> None:
        """Something went wrong somewhere: search often until every lease of that time is over."""
        self._urgent_until = asyncio.get_running_loop().time() + URGENT_FOR_SECONDS
