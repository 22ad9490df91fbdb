"""The Dramatiq broker: the queue of conversations that have something to answer, and a consumer that waits.

Stock Dramatiq polls Redis with pauses of up to a second; here a consumer blocks in Redis until there is a
message, and takes one only when its process has room for another reply.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import redis
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name

from tasks.keys import QUEUE_NAMESPACE
from tasks.redis_client import Command, sync_client

log = logging.getLogger("parley.broker")

QUEUE = "replies"
QUEUE_KEY = f"{QUEUE_NAMESPACE}:{QUEUE}"
ACTOR = "answer"
#: Seconds that a consumer blocks in Redis before it asks again; below every proxy's idle limit.
BLOCK = 8
#: Seconds between tries while Redis is away, and the least that an empty look may take.
PAUSE = 0.25
#: Redis connections of Dramatiq's threads: two for commands, one that blocks.
BROKER_CONNECTIONS = 3


class Room(Protocol):
    """Says when a process may take another message."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for room, and take it; False if there was none."""


def enqueue_commands(conversation: str) -> tuple[Command, Command]:
    """The commands that put a conversation on the queue, as RedisBroker's own `enqueue` script does.

    They are for the pipeline that also accepts the message, so that either both happen or neither.
    """
    entry = str(uuid.uuid4())
    message: Message[None] = Message(
        queue_name=QUEUE,
        actor_name=ACTOR,
        args=(conversation,),
        kwargs={},
        options={"redis_message_id": entry},
    )
    return ("HSET", f"{QUEUE_KEY}.msgs", entry, message.encode()), ("RPUSH", QUEUE_KEY, entry)


class WaitingConsumer(Consumer):
    """Takes messages one at a time: first room for it, then a message, both waited for without polling."""

    def __init__(self, broker: "WaitingBroker", queue_name: str) -> None:
        self._broker = broker
        self._queue = queue_name
        self._key = f"{broker.namespace}:{queue_name}"
        self._has_room = False
        #: The last look found something, so the next one need not wait first.
        self._busy = False
        self._away = False

    def __next__(self) -> MessageProxy | None:
        """The next message, or None if there was none for a while."""
        if self._broker.closing.is_set():
            time.sleep(PAUSE / 5)
            return None
        self._has_room = self._has_room or self._broker.room.wait(1.0)
        return self._guarded(self._fetch) if self._has_room else None

    def ack(self, message: MessageProxy) -> None:
        """The message was handed on; from here the conversation's own state says what is left to do."""
        self._guarded(lambda: self._broker.do_ack(self._queue, message.options["redis_message_id"]))

    def nack(self, message: MessageProxy) -> None:
        """The message makes no sense to us."""
        self._guarded(lambda: self._broker.do_nack(self._queue, message.options["redis_message_id"]))

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was fetched and not begun."""
        ids = [message.options["redis_message_id"] for message in messages]
        if ids:
            self._guarded(lambda: self._broker.do_requeue(self._queue, *ids))

    def _fetch(self) -> MessageProxy | None:
        fetched = self._broker.do_fetch(self._queue, 1) if self._busy or self._wait() else None
        self._busy = bool(fetched)
        if not fetched or fetched[0] is None:
            return None
        self._has_room = False
        return MessageProxy(Message.decode(fetched[0]))

    def _wait(self) -> bool:
        """Block until the queue is not empty: moving its head onto itself changes nothing."""
        began = time.monotonic()
        head = self._broker.waiting_client.blmove(self._key, self._key, BLOCK, "LEFT", "LEFT")
        if head is None and time.monotonic() - began < PAUSE:
            # A server that does not block (fakeredis over TCP) must not make us spin.
            time.sleep(PAUSE / 5)
        return head is not None

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Redis gone is no reason to end: say it once, and try again until it is back.

        A message that was fetched or not acknowledged meanwhile is no loss: the sweep finds its conversation.
        """
        try:
            result = step()
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            if not self._away and not self._broker.closing.is_set():
                log.warning("the queue waits for Redis: %s", error)
            self._away = True
            time.sleep(PAUSE)
            return None
        if self._away:
            log.warning("the queue goes on")
            self._away = False
        return result


class _IdleConsumer(Consumer):
    """Nothing is ever delayed here, so the queue of delayed messages costs Redis nothing."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing

    def __next__(self) -> MessageProxy | None:
        self._closing.wait(PAUSE * 4)
        return None


class WaitingBroker(RedisBroker):
    """RedisBroker with consumers that wait; `room` says when the process may take another message."""

    def __init__(self, url: str, room: Room) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            client=sync_client(url, max_connections=BROKER_CONNECTIONS - 1), middleware=[], namespace=QUEUE_NAMESPACE
        )
        self.room = room
        self.closing = threading.Event()
        self.waiting_client = sync_client(url, max_connections=1, timeout=BLOCK * 2, retries=0)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer for a queue of ours."""
        if queue_name == dq_name(QUEUE):
            return _IdleConsumer(self.closing)
        return WaitingConsumer(self, queue_name)

    def close_consumers(self) -> None:
        """Take nothing more, and wake the consumer that blocks in Redis."""
        self.closing.set()
        self.waiting_client.connection_pool.disconnect()
