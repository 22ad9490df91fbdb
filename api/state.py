"""What all requests of a web process share, and its watch over whether messages are being answered at all."""

import asyncio
import contextlib
import logging
import os
import time
import uuid
from typing import Any
from weakref import WeakValueDictionary

from api import frames
from api.access.connection_limits import ALL, ConnectionLimits
from api.access.origins import Origins
from api.access.rate_limits import RateLimits
from api.access.visitors import Visitors
from api.fanout.open_sockets import OpenSockets
from api.fanout.queue_places import QueuePlaces
from api.fanout.tail import Backlog, Subscription, Tail
from tasks.broker import WaitingBroker
from tasks.errors import ResyncNeededError, StorageError
from tasks.monitoring import canary, metrics
from tasks.monitoring.background import Background, Run, cancel_and_wait
from tasks.monitoring.heartbeat import INTERVAL, WEB, Heartbeat
from tasks.monitoring.metrics import Metrics
from tasks.settings import Settings
from tasks.storage.client import RedisClient, require_json, translate_errors
from tasks.storage.health import check_or_exit
from tasks.storage.keys import QUEUE_WAITING, SOCKETS

log = logging.getLogger("parley.state")

#: Redis connections for commands; the tail and the limits have one more each.
CONNECTIONS = 2
#: Redis connections for enqueueing.
BROKER_CONNECTIONS = 1
#: Seconds between two rounds of the watch; each leaves a heartbeat.
WATCH_SECONDS = INTERVAL
#: Seconds after which a Redis that says nothing counts as away, for who asks and for the watch.
CHECK_TIMEOUT = 3.0
#: Seconds without a sign of a worker's work after which this process sends a canary, at its next round.
CANARY_SECONDS = 4.0
#: Seconds without a sign of a worker's work, canaries included, after which the way counts as closed.
SILENCE_TIMEOUT = 9.5

OK, NO_WORKER, STORAGE_AWAY = "ok", "no_worker", "storage_away"


class AppState:
    """One per web process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis = RedisClient(settings.redis_url, max_connections=CONNECTIONS)
        self.tail = Tail(settings.redis_url, self.redis)
        self.heartbeat = Heartbeat(self.redis, f"{WEB}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
        self.connection_limits = ConnectionLimits(settings, self.redis, self.heartbeat.process)
        self.rate_limits = RateLimits(settings)
        self.origins = Origins(settings)
        self.visitors = Visitors(settings)
        #: Histories are read one piece after the other, so that they leave a connection to Redis for everybody else.
        self.history_turn = asyncio.Semaphore(1)
        #: How many wait for their first piece.
        self.histories_waiting = 0
        #: What waits to be read, by address; each is gone with the address's last socket.
        self.backlogs: WeakValueDictionary[str, Backlog] = WeakValueDictionary()
        self.broker = WaitingBroker(settings.redis_url, max_connections=BROKER_CONNECTIONS)
        self.metrics = Metrics(self.heartbeat.process)
        self.status = OK
        self._trouble = ""
        #: Until then a silent worker is not reported: while Redis was away, no worker could be heard.
        self._excused_until = 0.0
        self.queued = 0
        self.readers: set[Subscription] = set()
        self.open_sockets = OpenSockets(self.redis)
        self.queue_places = QueuePlaces(self.redis, self.tail, self.readers, lambda: self.queued)
        self._background = Background()

    @property
    def model(self) -> dict[str, Any]:
        """The model as the snapshot names it."""
        return {"name": self.settings.model_name, "stand_in": self.settings.stand_in}

    @property
    def text_limits(self) -> dict[str, Any]:
        """The limits as the snapshot names them."""
        return {"text": self.settings.limit_text}

    async def start(self) -> None:
        """Start the background tasks."""
        reader = self.tail.join(canary.CANARY)
        self._check = asyncio.create_task(check_or_exit(self.settings.redis_url, CONNECTIONS + BROKER_CONNECTIONS + 2))
        self._keep("tail", self.tail.run)
        self._keep("watch", self._watch)
        self._keep("connection limits", self.connection_limits.run)
        self._keep("open sockets", self.open_sockets.run)
        self._keep("memory", self.open_sockets.watch_memory)
        self._keep("queue places", self.queue_places.run)
        self._keep("canary", lambda: self._follow_canaries(reader))

    async def stop(self) -> None:
        """End everything."""
        # Waited for, since it closes its own connections.
        await cancel_and_wait([self._check])
        await self._background.stop()
        with contextlib.suppress(StorageError):
            await self.metrics.send(self.redis)
            await self.heartbeat.leave()
            await self.connection_limits.leave()
        await self.tail.aclose()
        await self.rate_limits.aclose()
        self.broker.close()
        await self.redis.aclose()

    async def missing(self) -> list[str]:
        """What a new message would lack, in sentences; empty if it would be answered."""
        try:
            with translate_errors():
                async with asyncio.timeout(CHECK_TIMEOUT):
                    await require_json(self.redis)
        except StorageError as error:
            return [str(error)]
        if self.status == STORAGE_AWAY:
            return [self._trouble]
        if not self.heartbeat.workers():
            return ["No worker is alive: start one."]
        if not self._heard_lately() or not self.tail.heard:
            return ["Workers are alive, but nothing came through queue, worker and stream lately."]
        return []

    async def gauges(self) -> dict[str, float]:
        """What is true at this moment, for `/metrics`. Raises StorageError."""
        began = time.perf_counter()
        webs = [name for name in self.heartbeat.alive() if name.startswith(WEB)]
        held = (("HGET", SOCKETS + name, ALL) for name in webs)
        waiting, *sockets = await self.redis.pipeline(("ZCARD", QUEUE_WAITING), *held)
        return {
            "redis_latency_seconds": time.perf_counter() - began,
            "queue_depth": waiting,
            "workers": self.heartbeat.workers(),
            "open_websockets": sum(int(number or 0) for number in sockets),
        }

    async def totals(self) -> dict[str, float]:
        """Everybody's counts, with what this process has not sent yet. Raises StorageError."""
        await self.metrics.send(self.redis)
        return await metrics.totals(self.redis)

    def _keep(self, name: str, run: Run) -> None:
        """Run a task for ever. It starts after the check of Redis, or after CHECK_TIMEOUT if Redis does not answer.

        An unsupported Redis gives answers that the task does not expect.
        """

        async def once_checked() -> None:
            await asyncio.wait([self._check], timeout=CHECK_TIMEOUT)
            await run()

        self._background.run_forever(name, once_checked)

    async def _watch(self) -> None:
        while True:
            await self.watch_once()
            await asyncio.sleep(WATCH_SECONDS)

    async def watch_once(self) -> None:
        """Leave a heartbeat, and see whether messages are being answered."""
        try:
            with translate_errors():
                async with asyncio.timeout(CHECK_TIMEOUT):
                    await self._inspect()
        except StorageError as error:
            self._excused_until = time.monotonic() + SILENCE_TIMEOUT
            self._set_status(STORAGE_AWAY, str(error))
        else:
            excused = time.monotonic() < self._excused_until
            self._set_status(OK if excused or (self.heartbeat.workers() and self._heard_lately()) else NO_WORKER)

    async def _inspect(self) -> None:
        for process in await self.heartbeat.beat():
            # What a dead web process held open counts until it is off the list, also when no worker is alive.
            await self.heartbeat.remove_dead(process)
        self.queued = await self.redis.command("ZCARD", QUEUE_WAITING)
        # Without workers one is enough: nobody takes it, and it stays in the queue.
        if time.monotonic() - self.tail.heard_at > CANARY_SECONDS and (self.heartbeat.workers() or not self.queued):
            await canary.send(self.redis, self.broker)
        await self.metrics.send(self.redis)

    def _heard_lately(self) -> bool:
        return time.monotonic() - self.tail.heard_at < SILENCE_TIMEOUT

    async def _follow_canaries(self, reader: Subscription) -> None:
        """The tail notes when work was heard; the first after a silence is news."""
        while True:
            try:
                reader.restart()
                self.tail.begin(canary.CANARY, reader, await canary.prepare(self.redis), busy=True)
                async for _ in reader:
                    if self.status == NO_WORKER or not self.heartbeat.workers():
                        await self.heartbeat.beat()
                        self._set_status(OK)
            except (StorageError, ResyncNeededError):
                # The watch says that Redis is away, the tail that it is back.
                await asyncio.sleep(WATCH_SECONDS)

    def _set_status(self, state: str, why: str = "") -> None:
        # The trouble may be another one by now.
        self._trouble = why
        if state == self.status:
            return
        log.warning("service.status status=%s error=%s", state, why)
        self.status = state
        for reader in self.readers:
            reader.push(frames.service(state))
