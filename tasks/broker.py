"""The Dramatiq broker: the queue of conversations that have something to answer, and a consumer that waits.

Stock Dramatiq polls Redis with pauses of up to a second; here a consumer blocks in Redis until there is a
message, and takes one only when its process has room for another reply.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name

from tasks.errors import StorageError
from tasks.storage import scripts
from tasks.storage.keys import QUEUE_NAMESPACE
from tasks.storage.redis_line import Command, ThreadLine, command_of

log = logging.getLogger("parley.broker")

QUEUE = "replies"
QUEUE_KEY = f"{QUEUE_NAMESPACE}:{QUEUE}"
MESSAGES_KEY = f"{QUEUE_KEY}.msgs"
ACTOR = "answer"
#: Seconds that a consumer blocks in Redis before it asks again; below every proxy's idle limit.
BLOCK = 8
#: Seconds between tries while Redis is away, and the least that an empty look may take.
PAUSE = 0.25
#: Redis connections of Dramatiq's threads.
BROKER_CONNECTIONS = 1


_FETCH = command_of(scripts.FETCH, (QUEUE_KEY, MESSAGES_KEY), ())


class Room(Protocol):
    """Says when a process may take another message."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for room, and take it; False if there was none."""


def enqueue_commands(conversation: str) -> tuple[Command, Command]:
    """The commands that put a conversation on the queue, as RedisBroker's own `enqueue` script does.

    They are for the pipeline that also accepts the message, so that either both happen or neither.
    """
    message: Message[None] = Message(
        queue_name=QUEUE,
        actor_name=ACTOR,
        args=(conversation,),
        kwargs={},
        options={"redis_message_id": str(uuid.uuid4())},
    )
    return _commands(message)


def _commands(message: Message[None] | MessageProxy) -> tuple[Command, Command]:
    entry = message.options["redis_message_id"]
    return ("HSET", MESSAGES_KEY, entry, message.encode()), ("RPUSH", QUEUE_KEY, entry)


class WaitingConsumer(Consumer):
    """Takes messages one at a time: first room for it, then a message, both waited for without polling."""

    def __init__(self, broker: "WaitingBroker") -> None:
        self._broker = broker
        self._has_room = False
        #: There were more behind the last one, so the next look need not wait for them first.
        self._more = False
        self._away = False

    def __next__(self) -> MessageProxy | None:
        """The next message, or None if there was none for a while."""
        if self._broker.closing.is_set():
            time.sleep(PAUSE / 5)
            return None
        self._has_room = self._has_room or self._broker.room.wait(1.0)
        return self._guarded(self._fetch) if self._has_room else None

    def ack(self, message: MessageProxy) -> None:
        """The message was handed on; it left the queue when it was taken."""

    def nack(self, message: MessageProxy) -> None:
        """The message makes no sense to us; nor would it to others."""

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was taken and not begun."""
        for message in messages:
            self._guarded(partial(self._broker.put_back, message))

    def _fetch(self) -> MessageProxy | None:
        fetched = self._broker.fetch() if self._more or self._wait() else None
        self._more = bool(fetched and fetched[1])
        if not fetched or fetched[0] is None:
            # A message that was enqueued twice, for the first answer was lost, is there once.
            return None
        self._has_room = False
        return MessageProxy(Message.decode(fetched[0]))

    def _wait(self) -> bool:
        """Block until the queue is not empty: moving its head onto itself changes nothing."""
        began = time.monotonic()
        head = self._broker.line.command("BLMOVE", QUEUE_KEY, QUEUE_KEY, "LEFT", "LEFT", BLOCK)
        if head is None and time.monotonic() - began < PAUSE:
            # A server that does not block (fakeredis over TCP) must not make us spin.
            time.sleep(PAUSE / 5)
        return head is not None

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Redis gone is no reason to end: say it once, and try again until it is back.

        A message that was taken and never arrived is no loss: the sweep finds its conversation.
        """
        try:
            result = step()
        except StorageError as error:
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
        super().__init__(url=url, middleware=[], namespace=QUEUE_NAMESPACE)  # type: ignore[no-untyped-call]
        self.room = room
        self.closing = threading.Event()
        #: The consumer's own; Dramatiq's client is never used here, and so never connects.
        self.line = ThreadLine(url, timeout=BLOCK * 2)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer for a queue of ours."""
        if queue_name == dq_name(QUEUE):
            return _IdleConsumer(self.closing)
        return WaitingConsumer(self)

    def fetch(self) -> tuple[bytes | None, int] | None:
        """Take the first message off the queue; with it, how many are left.

        Stock Dramatiq takes two steps and keeps a list of who has what. The loss that this guards against is made good
        sooner by what stands in the conversation's own state. Raises StorageError.
        """
        fetched: tuple[bytes | None, int] | None = self.line.command(*_FETCH)
        return fetched

    def put_back(self, message: MessageProxy) -> None:
        """Enqueue again what was taken. Raises StorageError."""
        for command in _commands(message):
            self.line.command(*command)

    def close_consumers(self) -> None:
        """Take nothing more, and wake the consumer that blocks in Redis."""
        self.closing.set()
        self.line.close()
