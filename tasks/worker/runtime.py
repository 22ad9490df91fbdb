"""The part of a worker process that answers: its event loop, and all that its replies share there."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from tasks.broker import BROKER_CONNECTIONS, enqueue_commands
from tasks.errors import LeaseLost, StorageError
from tasks.model.client import Model
from tasks.monitoring import canary
from tasks.monitoring.background import Background
from tasks.monitoring.heartbeat import INTERVAL, WORKER, Heartbeat
from tasks.monitoring.metrics import Metrics
from tasks.settings import Settings
from tasks.storage.client import RedisClient
from tasks.storage.health import check_or_exit
from tasks.worker.lease import Lease, renew
from tasks.worker.publisher import ControlEvent, Publisher, ReplyBuffer
from tasks.worker.recovery import sweep
from tasks.worker.room import Places

log = logging.getLogger("parley.answering")

#: Redis connections of a process's event loop for turns that begin and end, and for the beat; the writer has one more.
CONNECTIONS = 3
#: Seconds between two looks at everything, for what was lost without a sign: a message that its fetcher died with,
#: an answer of Redis that a broken connection swallowed.
SWEEP = 10.0
#: Seconds of looking at every beat after a start, a death or trouble with Redis; longer than two leases.
WATCH = 12.0
#: Seconds that the look at Redis at the start may take before the beat begins without it.
LOOK = 3.0
#: Seconds that handing over may take on shutdown.
HAND_OVER = 5.0

T = TypeVar("T")
Handler = Callable[["WorkerRuntime", Lease], Awaitable[None]]


class WorkerRuntime:
    """One per worker process; `begin` may be called from any thread, everything else runs in its loop."""

    def __init__(self, settings: Settings, story: Handler) -> None:
        self.settings = settings
        self._handler = story
        self.loop = uvloop.new_event_loop()
        self.places = Places(self.loop, settings.replies_per_worker)
        self._tasks: dict[asyncio.Task[None], Lease] = {}
        self._watch_until = 0.0
        self._next_sweep = 0.0
        #: This process can do nothing here, and no restart would change that.
        self.unsupported = False
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Start the loop and its background tasks."""
        self._thread.start()
        self._call(self._open())

    def begin(self, conversation: str) -> None:
        """Answer a conversation; the place for it was taken already."""
        self.loop.call_soon_threadsafe(self._begin, conversation)

    def stop(self) -> None:
        """Hand every unfinished reply over at its last word, and end."""
        self._stopping = True
        try:
            self._call(self._close())
        except TimeoutError:
            log.warning("handing over took too long; the leases that are left end by themselves")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        """The thread. A process whose loop has ended could do nothing any more, so it ends as well."""
        try:
            self.loop.run_forever()
        finally:
            if not self._stopping:
                log.critical("the event loop has ended, and so does this process")
                os._exit(1)

    def _give_up(self) -> None:
        """Have the main thread end the process: Dramatiq's own main process waits for it to get there."""
        self.unsupported = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(HAND_OVER)

    async def _open(self) -> None:
        process = f"{WORKER}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.redis = RedisClient(self.settings.redis_url, max_connections=CONNECTIONS)
        self.model = Model(self.settings)
        self.publisher = Publisher(self.redis)
        self.metrics = Metrics()
        self.heartbeat = Heartbeat(self.redis, process)
        self._watch()
        self._check = asyncio.create_task(
            check_or_exit(self.settings.redis_url, CONNECTIONS + 1 + BROKER_CONNECTIONS, self._give_up)
        )
        self._background = Background()
        self._background.keep("the writer", self.publisher.run)
        self._background.keep("the beat", self._beat)

    def _begin(self, conversation: str) -> None:
        lease = Lease(self.redis, self.heartbeat.process, conversation, self.settings.session_ttl_seconds)
        if conversation == canary.CANARY:
            lease.owner = canary.OWNER
            self.publisher.note(ReplyBuffer(lease, conversation), ControlEvent(canary.EVENT))
            self.places.give_back()
            return
        task = self.loop.create_task(self._answer(lease))
        lease.held_by(task)
        self._tasks[task] = lease

    async def _answer(self, lease: Lease) -> None:
        try:
            async with self._handed_back(lease):
                await self._handler(self, lease)
        except StorageError as error:
            log.warning("left to the next who looks conversation=%s: %s", lease.conversation, error)
            self._watch()
        except (LeaseLost, asyncio.CancelledError):
            log.info("stopped, or goes on elsewhere conversation=%s", lease.conversation)
        finally:
            self._tasks.pop(asyncio.current_task(), None)  # type: ignore[arg-type]
            self.places.give_back()

    @asynccontextmanager
    async def _handed_back(self, lease: Lease) -> AsyncIterator[None]:
        """However the story ends: what is unfinished and still ours goes to the next worker at once."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(StorageError):
                # Its message is off the queue already, also if the lease was never taken.
                if await lease.release() or not lease.taken:
                    await self.redis.together(*enqueue_commands(lease.conversation))
            raise

    async def _beat(self) -> None:
        # A Redis that will not do answers as nobody expects; one that is away is not waited for.
        await asyncio.wait([self._check], timeout=LOOK)
        if self.unsupported:
            await asyncio.Event().wait()
        away = False
        while True:
            try:
                await self._beat_once()
                if away:
                    log.warning("the beat goes on")
                    away = False
            except StorageError as error:
                if not away:
                    log.warning("the beat waits for Redis: %s", error)
                away = True
                self._watch()
            await asyncio.sleep(INTERVAL)

    async def _beat_once(self) -> None:
        await renew(self.redis, self._tasks.values())
        for died in await self.heartbeat.beat():
            if await self.heartbeat.remove_dead(died):
                log.warning("no beat any more process=%s", died)
                self._watch()
        await self.metrics.send(self.redis)
        now = self.loop.time()
        if now < self._watch_until or now > self._next_sweep:
            requeued = await sweep(self.redis)
            self._next_sweep = now + SWEEP
            if requeued:
                self.metrics.count("revived", by=requeued)
                log.warning("enqueued conversations again that nobody was answering number=%d", requeued)

    def _watch(self) -> None:
        """Something went wrong somewhere: look at each beat until every lease of that time is over."""
        self._watch_until = self.loop.time() + WATCH

    async def _close(self) -> None:
        while self._tasks:
            # One that was begun just now, or is while others hand over, has to have its first step behind it: what is
            # cancelled before hands nothing over.
            await asyncio.sleep(0)
            tasks = dict(self._tasks)
            for lease in tasks.values():
                lease.lose()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._check.cancel()
        await self._background.stop()
        with contextlib.suppress(StorageError):
            await self.metrics.send(self.redis)
            await self.heartbeat.leave()
        self.model.close()
        await self.redis.aclose()
