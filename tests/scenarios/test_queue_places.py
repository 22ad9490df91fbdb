"""Who waits for a worker reads how many conversations come before theirs, from what the queue really knows."""

from tasks.storage.keys import QUEUE_WAITING
from tests.support.client import Chat, new_token
from tests.support.servers import connect
from tests.support.stack import Stack


async def test_who_waits_reads_the_place_in_the_queue_and_each_place_that_follows(own_stack: Stack) -> None:
    own_stack.start_web()
    own_stack.start_worker(WORKER_CONCURRENCY="1")
    own_stack.wait_ready()
    own_stack.pace(rate=4)
    chats = [Chat(own_stack.url, await new_token(own_stack.url)) for _ in range(3)]
    async with chats[0] as writing, chats[1] as second, chats[2] as third:
        first = await writing.send("Tell me a long story")
        await writing.until("reply.delta")
        waits = await second.send("I am next")
        await second.until("message.accepted")
        await third.send("And then I")
        assert (await second.until("queue"))["ahead"] == 0
        assert (await third.until("queue"))["ahead"] == 1
        await writing.stop(first)
        await second.until("reply.delta")
        assert (await third.until("queue"))["ahead"] == 0
        await second.stop(waits)
        await third.until("reply.delta")
    for chat in chats:
        places = [frame["ahead"] for frame in chat.frames if frame["type"] == "queue"]
        assert places == sorted(set(places), reverse=True), "each place comes once, and only forward"
    assert not any(frame["type"] == "queue" for frame in chats[0].frames)


async def test_what_is_said_while_a_reply_is_written_takes_no_place_in_the_queue(stack: Stack) -> None:
    """The worker that writes there comes to it by itself."""
    stack.pace(rate=10)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        first = await chat.send("Tell me something")
        await chat.until("reply.delta")
        await chat.send("And one thing more")
        await chat.until("message.accepted")
        with connect(stack.redis.url) as client:
            assert client.zcard(QUEUE_WAITING) == 0
        await chat.stop(first)
        await chat.until("reply.finished")
        stack.pace(rate=400)
        await chat.until("reply.finished")
