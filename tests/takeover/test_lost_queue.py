"""The queue lost a message's place, not the message itself: whoever looks finds it."""

from tasks.broker import QUEUE, WaitingBroker
from tasks.storage.keys import QUEUE_WAITING, ConversationKeys, conversation_id
from tests.support.client import Chat, new_token
from tests.support.servers import connect
from tests.support.stack import Stack
from tests.takeover.counting import assert_every_token_once


def lose_queue(stack: Stack, conversation: str) -> None:
    """The queue is empty, and more time goes by than a message ever waits before somebody looks."""
    broker = WaitingBroker(stack.redis.url, max_connections=1)
    broker.declare_queue(QUEUE)
    broker.flush_all()
    broker.close()
    with connect(stack.redis.url) as client:
        client.delete(QUEUE_WAITING)
        client.zadd(ConversationKeys(conversation).pending_index, {conversation: 1})


def queued(stack: Stack) -> int:
    """How many messages the queue holds, as Dramatiq counts them."""
    broker = WaitingBroker(stack.redis.url, max_connections=1)
    count: int = broker.do_qsize(QUEUE)
    broker.close()
    return count


async def test_what_the_queue_lost_is_enqueued_by_who_comes_back_and_by_a_worker_that_starts(running: Stack) -> None:
    token = await new_token(running.url)
    conversation = conversation_id(token)
    async with Chat(running.url, token) as chat:
        await chat.until("snapshot")
        running.kill(running.processes.children[-1])
        await chat.send("Count, please")
        await chat.until("message.accepted")
        lose_queue(running, conversation)
        counts = []
        for _ in range(2):
            async with Chat(running.url, token) as returning:
                await returning.until("snapshot")
                # The answer to this comes after all that the snapshot brought about.
                await returning.send("")
                await returning.until("error")
            counts.append(queued(running))
        assert counts[0] > 0
        assert counts[1] == counts[0]
        lose_queue(running, conversation)
        running.start_worker()
        assert_every_token_once(chat, await chat.until("reply.finished"))
