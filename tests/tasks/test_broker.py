"""The queue: what we put there is what Dramatiq puts there, and a consumer waits for it without polling."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
import redis as redis_py
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.broker import ACTOR, QUEUE, WaitingBroker, WaitingConsumer, enqueue_commands
from tasks.storage.keys import QUEUE_NAMESPACE


class Room:
    """A process that has room while `free` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    def wait(self, timeout: float) -> bool:
        return self.free.wait(min(timeout, 0.2))


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    """An empty Redis of each kind."""
    # fakeredis hangs up after a refusal, and Dramatiq's scripts are refused at first.
    client = redis_py.Redis.from_url(redis_url, protocol=2, retry=Retry(NoBackoff(), 1))
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def room() -> Room:
    """Room for every message."""
    return Room()


@pytest.fixture
def broker(redis_url: str, client: redis_py.Redis, room: Room) -> Iterator[WaitingBroker]:
    """The broker of a worker process that does not run."""
    broker = WaitingBroker(redis_url, room)
    yield broker
    broker.close_consumers()
    broker.close()
    broker.line.close()


@pytest.fixture
def consumer(broker: WaitingBroker) -> WaitingConsumer:
    """Its consumer."""
    consumer = broker.consume(QUEUE)
    assert isinstance(consumer, WaitingConsumer)
    return consumer


def enqueue(client: redis_py.Redis, conversation: str) -> None:
    """Put a conversation on the queue as the web process does."""
    execute: Callable[..., Any] = client.execute_command
    for command in enqueue_commands(conversation):
        execute(*command)


def take(consumer: WaitingConsumer) -> MessageProxy:
    """The next message, which is there or about to come."""
    over = time.monotonic() + 20
    while (message := next(consumer)) is None:
        assert time.monotonic() < over, "nothing came"
    return message


def left(client: Any) -> dict[str, object]:
    """Everything that stands in Redis, ids and times taken out, and who was seen enqueueing."""
    found: dict[str, object] = {}
    for key in sorted(key.decode() for key in client.keys("*") if not key.endswith(b"heartbeats__")):
        if client.type(key) == b"hash":
            decoded = [dramatiq.Message.decode(value).asdict() for value in client.hgetall(key).values()]
            found[key] = [
                message | {"message_id": "", "message_timestamp": 0, "options": sorted(message["options"])}
                for message in decoded
            ]
        else:
            found[key] = client.llen(key)
    return found


def test_enqueue_commands_leave_exactly_what_dramatiqs_own_enqueue_leaves(
    redis_url: str, client: redis_py.Redis
) -> None:
    enqueue(client, "c1")
    ours = left(client)
    client.flushall()
    stock = RedisBroker(client=client, namespace=QUEUE_NAMESPACE, middleware=[])  # type: ignore[no-untyped-call]
    stock.declare_queue(QUEUE)
    stock.enqueue(dramatiq.Message(QUEUE, ACTOR, ("c1",), {}, {}))
    assert ours == left(client)


def test_a_consumer_that_waits_wakes_when_a_message_comes(client: redis_py.Redis, consumer: WaitingConsumer) -> None:
    later = threading.Timer(0.1, enqueue, (client, "c1"))
    later.start()
    message = take(consumer)
    later.join()
    assert (message.actor_name, message.args) == (ACTOR, ("c1",))
    consumer.ack(message)
    assert client.llen(f"{QUEUE_NAMESPACE}:{QUEUE}") == 0
    assert not client.hgetall(f"{QUEUE_NAMESPACE}:{QUEUE}.msgs")


def test_messages_come_in_their_order_each_once(client: redis_py.Redis, consumer: WaitingConsumer) -> None:
    for number in range(5):
        enqueue(client, f"c{number}")
    for number in range(5):
        message = take(consumer)
        assert message.args == (f"c{number}",)
        consumer.ack(message)


def test_a_message_that_was_enqueued_twice_by_a_resent_command_is_taken_once(
    client: redis_py.Redis, consumer: WaitingConsumer
) -> None:
    store, push = enqueue_commands("c1")
    execute: Callable[..., Any] = client.execute_command
    for command in (store, push, push):
        execute(*command)
    enqueue(client, "c2")
    assert [take(consumer).args for _ in range(2)] == [("c1",), ("c2",)]


def test_without_room_nothing_is_taken_from_others(
    client: redis_py.Redis, consumer: WaitingConsumer, room: Room
) -> None:
    room.free.clear()
    enqueue(client, "c1")
    assert next(consumer) is None
    assert client.llen(f"{QUEUE_NAMESPACE}:{QUEUE}") == 1
    room.free.set()
    assert take(consumer).args == ("c1",)


def test_what_is_put_back_can_be_taken_again(client: redis_py.Redis, consumer: WaitingConsumer) -> None:
    enqueue(client, "c1")
    consumer.requeue([take(consumer)])
    consumer.requeue([])
    assert take(consumer).args == ("c1",)


def test_at_shutdown_a_consumer_that_waits_wakes_and_takes_nothing_more(
    client: redis_py.Redis, broker: WaitingBroker, consumer: WaitingConsumer
) -> None:
    closing = threading.Timer(0.1, broker.close_consumers)
    closing.start()
    began = time.monotonic()
    assert next(consumer) is None
    closing.join()
    enqueue(client, "c1")
    assert next(consumer) is None
    # The block itself would have lasted 5 seconds.
    assert time.monotonic() - began < 4
    assert client.llen(f"{QUEUE_NAMESPACE}:{QUEUE}") == 1


def test_the_queue_of_delayed_messages_is_never_read(broker: WaitingBroker, client: redis_py.Redis) -> None:
    broker.closing.set()
    assert next(broker.consume(dq_name(QUEUE))) is None
