"""The queue: Dramatiq's own, but a consumer that waits for a message without polling."""

import asyncio
import threading
import time
from collections.abc import Iterator

import dramatiq
import pytest
import redis as redis_py
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from dramatiq.errors import BrokerConnectionError, ConnectionClosed

from tasks.broker import ACTOR, BLOCK_SECONDS, QUEUE, WORKER_CONNECTIONS, WaitingBroker, WaitingConsumer
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.storage.keys import QUEUE_NAMESPACE, QUEUE_WAITING
from tests.support.servers import connect

PREFETCH = 3


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    """An empty Redis of each kind."""
    with connect(redis_url, protocol=2) as client:
        client.flushall()
        yield client


@pytest.fixture
def broker(redis_url: str, client: redis_py.Redis) -> Iterator[WaitingBroker]:
    """The broker of a worker process whose threads do not run."""
    broker = WaitingBroker(redis_url, max_connections=WORKER_CONNECTIONS)
    yield broker
    broker.close()


@pytest.fixture
def consumer(broker: WaitingBroker) -> Consumer:
    """Its consumer."""
    return broker.consume(QUEUE, prefetch=PREFETCH)


def request_reply(broker: WaitingBroker, conversation: str) -> None:
    """Put a conversation on the queue as a web process does."""
    assert asyncio.run(broker.request_reply(conversation))


def take(consumer: Consumer) -> MessageProxy:
    """The next message, which is there or about to come."""
    over = time.monotonic() + 20
    while (message := next(consumer)) is None:
        assert time.monotonic() < over, "nothing came"
    return message


def test_a_stock_broker_takes_what_ours_enqueued_and_ours_what_a_stock_one_did(
    redis_url: str, broker: WaitingBroker, consumer: Consumer
) -> None:
    stock = RedisBroker(url=redis_url, namespace=QUEUE_NAMESPACE, middleware=[])  # type: ignore[no-untyped-call]
    request_reply(broker, "c1")
    taken = take(stock.consume(QUEUE))
    assert (taken.actor_name, taken.args) == (ACTOR, ("c1",))
    stock.enqueue(dramatiq.Message(QUEUE, ACTOR, ("c2",), {}, {}))
    assert take(consumer).args == ("c2",)
    stock.close()


def test_a_consumer_that_waits_wakes_when_a_message_comes(broker: WaitingBroker, consumer: Consumer) -> None:
    later = threading.Timer(0.1, request_reply, (broker, "c1"))
    later.start()
    began = time.monotonic()
    assert take(consumer).args == ("c1",)
    assert time.monotonic() - began < BLOCK_SECONDS, "it polls"
    later.join()


def test_an_acknowledged_message_is_gone_for_good(broker: WaitingBroker, consumer: Consumer) -> None:
    request_reply(broker, "c1")
    consumer.ack(take(consumer))
    broker.join(QUEUE, timeout=5000)


def test_messages_come_in_their_order_each_once(broker: WaitingBroker, consumer: Consumer) -> None:
    for number in range(5):
        request_reply(broker, f"c{number}")
    for number in range(5):
        message = take(consumer)
        assert message.args == (f"c{number}",)
        consumer.ack(message)


def test_a_process_takes_no_more_than_it_has_threads_and_leaves_the_rest_to_others(
    redis_url: str, broker: WaitingBroker, consumer: Consumer
) -> None:
    other = WaitingBroker(redis_url, max_connections=WORKER_CONNECTIONS)
    for number in range(PREFETCH + 1):
        request_reply(broker, f"c{number}")
    held = [take(consumer) for _ in range(PREFETCH)]
    assert next(consumer) is None
    assert take(other.consume(QUEUE, prefetch=PREFETCH)).args == (f"c{PREFETCH}",)
    consumer.nack(held[0])
    request_reply(broker, "one more")
    assert take(consumer).args == ("one more",)
    other.close()


def test_a_message_that_was_put_back_can_be_taken_again(broker: WaitingBroker, consumer: Consumer) -> None:
    request_reply(broker, "c1")
    message = take(consumer)
    consumer.requeue([message])
    consumer.requeue([])
    assert take(consumer).args == ("c1",)


def test_an_acknowledgement_that_redis_refuses_is_one_that_dramatiq_tries_again(real_redis: EmbeddedRedis) -> None:
    with connect(real_redis.url) as client:
        client.flushall()
    broker = WaitingBroker(real_redis.url, max_connections=WORKER_CONNECTIONS)
    consumer = broker.consume(QUEUE, prefetch=PREFETCH)
    request_reply(broker, "c1")
    message = take(consumer)
    with connect(real_redis.url) as client:
        client.config_set("maxmemory", "1")
        try:
            for done in (consumer.ack, consumer.nack):
                with pytest.raises(BrokerConnectionError):
                    done(message)
        finally:
            client.config_set("maxmemory", "0")
    consumer.ack(message)
    broker.join(QUEUE, timeout=5000)
    broker.close()


def test_a_message_of_nobody_we_know_is_kept_among_the_dead_letters_and_holds_no_place(
    broker: WaitingBroker, consumer: Consumer
) -> None:
    for number in range(PREFETCH + 2):
        broker.enqueue(dramatiq.Message(QUEUE, "unknown", (f"c{number}",), {}, {}))
        consumer.nack(take(consumer))
    broker.join(QUEUE, timeout=5000)


def test_conversations_that_wait_are_known_each_once(broker: WaitingBroker, client: redis_py.Redis) -> None:
    for conversation in ("c1", "c2", "c1"):
        request_reply(broker, conversation)
    assert client.zrange(QUEUE_WAITING, 0, -1) == [b"c1", b"c2"]


def test_at_shutdown_a_consumer_that_waits_wakes_and_takes_nothing_more(
    broker: WaitingBroker, consumer: Consumer, redis_url: str
) -> None:
    stopping = threading.Timer(0.1, broker.stop_consuming)
    assert next(consumer) is None, "there is nothing from before"
    stopping.start()
    began = time.monotonic()
    assert next(consumer) is None
    stopping.join()
    request_reply(broker, "c1")
    assert next(consumer) is None
    assert time.monotonic() - began < BLOCK_SECONDS, "it waited to the end"
    other = WaitingBroker(redis_url, max_connections=WORKER_CONNECTIONS)
    assert take(other.consume(QUEUE)).args == ("c1",)
    other.close()


def test_the_queue_of_delayed_messages_is_never_read(broker: WaitingBroker) -> None:
    assert next(broker.consume(dq_name(QUEUE))) is None


def test_without_redis_a_request_for_a_reply_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    broker = WaitingBroker("redis://127.0.0.1:1/0", max_connections=1)
    assert not asyncio.run(broker.request_reply("c1"))
    assert "queue.enqueue_failed conversation=c1" in caplog.text
    broker.close()


def test_without_redis_a_consumer_tries_again_and_goes_on_when_it_is_back(
    broker: WaitingBroker, caplog: pytest.LogCaptureFixture, redis_url: str
) -> None:
    class Stock(Consumer):
        """Fails once, as the stock consumer does when its connection breaks."""

        failed = False

        def __next__(self) -> MessageProxy | None:
            if not self.failed:
                self.failed = True
                raise ConnectionClosed("gone")  # type: ignore[no-untyped-call]
            return next(stock)

    stock = RedisBroker(url=redis_url, namespace=QUEUE_NAMESPACE, middleware=[]).consume(QUEUE)  # type: ignore[no-untyped-call]
    request_reply(broker, "c1")
    assert take(WaitingConsumer(broker, Stock(), PREFETCH)).args == ("c1",)
    assert "queue.unavailable" in caplog.text
    assert "queue.available" in caplog.text
