"""The queue of conversations that have something to answer: Dramatiq's RedisBroker, and a consumer that waits.

A queue message is only a hint, so any process may enqueue an unanswered conversation again. Dramatiq's own scripts
enqueue, fetch, acknowledge and requeue. Stock consumers poll Redis with pauses of up to a second; ours block on a list
of our own, to which each enqueueing adds a token.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from dramatiq.errors import BrokerConnectionError, ConnectionClosed

from tasks.errors import StorageError
from tasks.storage.client import COMMAND_TIMEOUT, translate_errors
from tasks.storage.keys import QUEUE_NAMESPACE, QUEUE_STOP, QUEUE_TOKENS, QUEUE_WAITING
from tasks.storage.topology import REDIS_ERRORS, SyncClient

log = logging.getLogger("parley.broker")

QUEUE = "replies"
ACTOR = "answer"
#: Seconds that a consumer blocks in Redis before it looks into the queue again; below every proxy's idle limit.
BLOCK_SECONDS = 5
#: Seconds between tries while Redis is away.
RETRY_SECONDS = 0.25
#: Tokens that are kept, one for each message. A token without a message costs one fetch; a message without a token
#: waits until a consumer looks by itself.
MAX_TOKENS = 10_000
#: Redis connections of a worker's Dramatiq threads: one that blocks, and some for fetching and acknowledging.
WORKER_CONNECTIONS = 3


class WaitingConsumer(Consumer):
    """The stock consumer, which is asked only when this process has a free thread and a message may be there.

    Args:
        broker: the broker that both belong to.
        stock: Dramatiq's consumer of the same queue.
        prefetch: messages that this process may hold at once.
    """

    def __init__(self, broker: "WaitingBroker", stock: Consumer, prefetch: int) -> None:
        self._broker = broker
        self._stock = stock
        self._prefetch = prefetch
        self._unavailable = False
        #: Messages may be there that no token stands for: from before this start, or while tokens were lost.
        self._draining = True

    def __next__(self) -> MessageProxy | None:
        """The next message, or None if there was none for a while."""
        if not self._broker.wait_for_capacity(self._prefetch, timeout=1.0):
            return None
        try:
            if not self._draining:
                self._draining = not self._broker.wait_for_token()
            message: MessageProxy | None = None if self._broker.stopping else next(self._stock)
        except (BrokerConnectionError, *REDIS_ERRORS, OSError) as error:
            # A consumer that raises is made anew by Dramatiq, after three seconds and with a traceback.
            if not self._unavailable:
                log.warning("queue.unavailable error=%s", type(error).__name__)
            self._unavailable = True
            time.sleep(RETRY_SECONDS)
            return None
        if self._unavailable:
            log.warning("queue.available")
            self._unavailable = False
        if message is None:
            self._draining = False
        else:
            self._broker.hold(message)
        return message

    def ack(self, message: MessageProxy) -> None:
        """The message was worked on."""
        with self._broker.released(message), _retried_by_dramatiq():
            self._stock.ack(message)

    def nack(self, message: MessageProxy) -> None:
        """The message makes no sense; Dramatiq keeps it among its dead letters."""
        with self._broker.released(message), _retried_by_dramatiq():
            self._stock.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was fetched and not begun."""
        self._stock.requeue(messages)

    def close(self) -> None:
        """Close the stock consumer."""
        self._stock.close()


class _IdleConsumer(Consumer):
    """Consumer of the queue of delayed messages. Nothing is ever delayed here, so it costs Redis nothing."""

    def __next__(self) -> MessageProxy | None:
        time.sleep(RETRY_SECONDS)
        return None


class WaitingBroker(RedisBroker):
    """RedisBroker whose enqueueing wakes a consumer, and which knows how many conversations wait.

    Args:
        url: address of Redis, as in REDIS_URL.
        max_connections: connections that are open at most; a worker needs WORKER_CONNECTIONS, a web process one.

    Middleware of Dramatiq's is left out on purpose. Retries and its queue of delayed messages: what is left to do is
    in the conversation's own state, and recovery finds it there. TimeLimit and ShutdownNotifications: they raise in
    threads, but the replies are tasks of one event loop, which ends them itself. AgeLimit, Callbacks, Pipelines,
    Prometheus: nothing here uses them; the counts of all processes are in /metrics.
    """

    def __init__(self, url: str, *, max_connections: int) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            client=SyncClient(url, max_connections=max_connections, timeout=COMMAND_TIMEOUT),
            middleware=[],
            namespace=QUEUE_NAMESPACE,
        )
        self._blocking = SyncClient(url, max_connections=1, timeout=COMMAND_TIMEOUT, blocks=BLOCK_SECONDS)
        self._stop_key = QUEUE_STOP + self.broker_id
        self._held: set[str] = set()
        self._held_changed = threading.Condition()
        self._stopping = threading.Event()
        #: Cleared while nothing may be taken yet.
        self.may_consume = threading.Event()
        self.may_consume.set()

    # ---- producers ----

    async def request_reply(self, conversation: str) -> bool:
        """Put a conversation on the queue.

        Returns False, and logs why, if that is not possible now. Recovery then does it a few seconds later, since
        whoever calls this has written what is to be answered into the conversation's state.
        """
        enqueueing = asyncio.create_task(self._request_reply(conversation))
        try:
            return await asyncio.shield(enqueueing)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and nobody should close the broker while it enqueues.
            while not enqueueing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([enqueueing])
            raise

    async def _request_reply(self, conversation: str) -> bool:
        message: Message[None] = Message(
            queue_name=QUEUE, actor_name=ACTOR, args=(conversation,), kwargs={}, options={}
        )
        try:
            with translate_errors():
                await asyncio.to_thread(self.enqueue, message)
        except StorageError as error:
            log.warning("queue.enqueue_failed conversation=%s error=%s", conversation, error)
            return False
        return True

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """As Dramatiq's, `delay` in milliseconds; one waiting consumer of any process wakes up."""
        # First: a worker that takes the message at once has to find this entry, to remove it.
        self.client.zadd(QUEUE_WAITING, {message.args[0]: time.time()}, nx=True)
        try:
            enqueued: Message[Any] = super().enqueue(message, delay=delay)
        except Exception:
            with suppress(*REDIS_ERRORS):
                self.client.zrem(QUEUE_WAITING, message.args[0])
            raise
        pipe = self.client.pipeline(transaction=False)
        pipe.rpush(QUEUE_TOKENS, 1)
        pipe.ltrim(QUEUE_TOKENS, -MAX_TOKENS, -1)
        pipe.execute()
        return enqueued

    # ---- a worker process ----

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer for the queue of conversations, or for Dramatiq's queue of delayed messages beside it.

        It takes up to `prefetch` messages that are not yet acknowledged. `timeout` (ms) has no effect: the stock
        consumer sleeps for so long when it finds nothing, and ours waits in Redis.
        """
        if queue_name == dq_name(QUEUE):
            return _IdleConsumer()
        return WaitingConsumer(self, super().consume(queue_name, prefetch=prefetch, timeout=1), prefetch)

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be taken."""
        return self._stopping.is_set()

    def wait_for_capacity(self, prefetch: int, timeout: float) -> bool:
        """Wait up to `timeout` seconds until fewer than `prefetch` messages are held; False if that did not come."""
        if not self.may_consume.wait(timeout):
            return False
        with self._held_changed:
            free = self._held_changed.wait_for(lambda: len(self._held) < prefetch, timeout)
        if self._stopping.is_set():
            time.sleep(RETRY_SECONDS / 5)
            return False
        return free

    def wait_for_token(self) -> bool:
        """Block in Redis until a token is there for this consumer; False if none came within BLOCK_SECONDS."""
        began = time.monotonic()
        token = self._blocking.blpop([self._stop_key, QUEUE_TOKENS], timeout=BLOCK_SECONDS)
        if token is None and time.monotonic() - began < RETRY_SECONDS:
            # A server that does not block must not make us spin.
            time.sleep(RETRY_SECONDS)
        return token is not None and not self._stopping.is_set()

    def hold(self, message: MessageProxy) -> None:
        """Count a message until it is released."""
        with self._held_changed:
            self._held.add(message.message_id)

    @contextmanager
    def released(self, message: MessageProxy) -> Iterator[None]:
        """Stop counting a message after the block; not yet if Dramatiq will try the block again in the same thread."""
        try:
            yield
        except BrokerConnectionError:
            raise
        except BaseException:
            self._release(message)
            raise
        self._release(message)

    def _release(self, message: MessageProxy) -> None:
        with self._held_changed:
            self._held.discard(message.message_id)
            self._held_changed.notify_all()

    def stop_consuming(self) -> None:
        """Take nothing more, and wake the consumer that blocks in Redis."""
        self._stopping.set()
        with self._held_changed:
            self._held_changed.notify_all()
        try:
            pipe = self.client.pipeline(transaction=False)
            pipe.rpush(self._stop_key, 1)
            pipe.expire(self._stop_key, BLOCK_SECONDS)
            pipe.execute()
        except REDIS_ERRORS as error:
            # Then it cannot block either.
            log.warning("queue.unavailable error=%s", type(error).__name__)

    def close(self) -> None:
        """Close every connection."""
        super().close()
        self.client.close()
        self._blocking.close()


@contextmanager
def _retried_by_dramatiq() -> Iterator[None]:
    """Raise errors of Redis as those that Dramatiq tries again; of redis-py's, it knows ConnectionError alone."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
