"""On a Redis Cluster everything works as on one server, and goes on while nodes die, change places and lag."""

import asyncio
import signal
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from api import messages
from api.access.rate_limits import RateLimits
from api.fanout.tail import Tail
from api.state import AppState
from tasks.broker import QUEUE
from tasks.errors import ResyncNeededError, StorageUnavailableError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import wait_until
from tasks.monitoring.background import cancel_and_wait
from tasks.settings import Settings
from tasks.storage import conversations, scripts
from tasks.storage.client import Part, RedisClient
from tasks.storage.keys import SHARDS, SLOTS, TAGS, ConversationKeys, conversation_id, slot_of_tag
from tasks.storage.topology import SyncClient
from tests.cluster.talks import Talks, both_clients_answer, silent_servers, slot_of
from tests.support.client import Chat, LegacyChat, history, new_token
from tests.support.cluster import Cluster
from tests.support.missing import missing
from tests.support.stack import Stack
from tests.support.steps import Steps


@pytest.mark.parametrize("nodes", [3, 6, 12])
def test_every_node_has_the_same_share_of_the_conversations(nodes: int) -> None:
    shares = [0] * nodes
    for tag in TAGS:
        shares[slot_of_tag(tag) * nodes // SLOTS] += 1
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == SHARDS == len(set(TAGS))


async def test_people_on_every_node_talk_retry_edit_stop_and_delete(on_cluster: Stack) -> None:
    on_cluster.pace(rate=400, stamped=20)
    async with Talks(on_cluster) as talks:
        await talks.begin()
        await talks.finish()
        for token, chat in talks.chats.items():
            last = next(m["id"] for m in reversed(await see(on_cluster, token)) if m["role"] == "human")
            await chat.retry(last)
            await chat.until("reply.finished")
            await chat.edit(last, "Count again", str(uuid.uuid4()))
            await chat.until("message.edited")
            await chat.until("reply.finished")
            assert [m["role"] for m in await see(on_cluster, token)] == ["human", "bot"]
        on_cluster.pace(rate=5, stamped=200)
        for chat in talks.chats.values():
            to = await chat.send("Count slowly")
            await chat.until("reply.delta")
            await chat.stop(to)
            assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stopped"


def test_a_client_that_is_closed_leaves_no_connection_behind(cluster: Cluster) -> None:
    with cluster:
        client = SyncClient(cluster.url, max_connections=2, timeout=5)
        for number in range(20):
            client.set(f"key-{number}", number)
        opened = sum(connections(node) for node in cluster.nodes)
        client.close()
        wait_until(lambda: sum(connections(node) for node in cluster.nodes) == opened - 3, "its three to be closed")


def connections(node: EmbeddedRedis) -> int:
    """Clients that a server has, the one that asks among them."""
    with redis.Redis.from_url(node.url) as client:
        return int(client.info("clients")["connected_clients"])


class OnBothAddresses(Cluster):
    """Its nodes listen on IPv6 too."""

    def start_node(self, number: int, folder: Path, port: int, options: Mapping[str, str]) -> EmbeddedRedis:
        """As usual."""
        return super().start_node(number, folder, port, {**options, "bind": "127.0.0.1 -::1"})


async def test_nodes_are_named_by_ipv6_too_and_limits_hold_there(tmp_path: Path) -> None:
    cluster: Any = OnBothAddresses(tmp_path)
    with Stack(cluster) as stack:
        address = f"redis://{','.join(f'[::1]:{node.port}' for node in cluster.nodes)}/0"
        try:
            socket.create_connection(("::1", cluster.nodes[0].port)).close()
        except OSError:
            missing("This machine has no ::1.")
        stack.start_web(REDIS_URL=address, LIMIT_MESSAGES_PER_MINUTE="1")
        stack.start_worker(REDIS_URL=address)
        stack.wait_ready()
        async with Chat(stack.url, await new_token(stack.url)) as chat:
            await chat.send("One")
            await chat.until("reply.finished")
            await chat.send("Two")
            assert (await chat.until("error"))["code"] == "rate_limited"


async def test_a_client_of_the_older_contract_talks_too(on_cluster: Stack) -> None:
    on_cluster.pace(rate=400, stamped=0)
    token = await new_token(on_cluster.url)
    async with LegacyChat(on_cluster.url, token) as chat:
        said = await chat.ask("hello")
    assert [message["msg"] for message in await history(on_cluster.url, token)] == ["Human: hello", said]


async def test_a_dead_primary_costs_no_word_and_the_other_nodes_do_not_wait(
    cluster: Cluster, on_cluster: Stack
) -> None:
    on_cluster.pace(rate=10, stamped=100)
    async with Talks(on_cluster) as talks:
        await talks.begin()
        dead = cluster.primary_of(0)
        dead.kill()
        # Their replies take ten seconds; the dead node's slots come back after some three.
        for third in (1, 2):
            await asyncio.gather(*(chat.until("reply.delta") for chat in talks.on(third)))
        await talks.finish()
        dead.start()


async def test_a_planned_failover_costs_no_word(cluster: Cluster, on_cluster: Stack) -> None:
    on_cluster.pace(rate=20, stamped=100)
    async with Talks(on_cluster) as talks:
        await talks.begin()
        for replica in cluster.nodes[cluster.primaries :]:
            await asyncio.to_thread(cluster.fail_over, replica)
        await talks.finish()


async def test_conversations_whose_slots_move_to_another_node_lose_no_word(cluster: Cluster, on_cluster: Stack) -> None:
    on_cluster.pace(rate=20, stamped=100)
    async with Talks(on_cluster) as talks:
        await talks.begin()
        moved = [slot_of(token) for token in talks.chats]
        for slot in (*moved, slot_of_tag("queue"), slot_of_tag("processes")):
            source = cluster.primary_of(slot)
            target = next(node for node in map(cluster.primary_of, (0, SLOTS // 2, SLOTS - 1)) if node is not source)
            await asyncio.to_thread(cluster.move, slot, source, target)
        await talks.finish()
        await talks.begin()
        await talks.finish()


async def test_what_no_second_node_has_is_not_accepted_and_sending_it_again_is_answered_once(
    cluster: Cluster, on_cluster: Stack
) -> None:
    on_cluster.pace(rate=400, stamped=10)
    async with Chat(on_cluster.url, token := await new_token(on_cluster.url)) as chat:
        await chat.until("snapshot")
        replica = cluster.replica_of(cluster.primary_of(slot_of(token)))
        replica.kill()
        id = await chat.send("hello")
        refused = await chat.until("error")
        assert (refused["code"], refused["id"]) == ("unavailable", id)
        replica.start()
        await asyncio.to_thread(cluster.wait_whole)
        await chat.send("hello", id)
        await chat.until("message.accepted")
        # It was on the queue all the time, so the reply may have come before the refusal.
        if not any(frame["type"] == "reply.finished" for frame in chat.frames):
            await chat.until("reply.finished")
        assert [m["role"] for m in await see(on_cluster, token)] == ["human", "bot"]


async def test_what_no_second_node_has_is_on_the_queue_all_the_same(cluster: Cluster) -> None:
    """The page was told that it is accepted, so it may not send it again for a while."""
    token = str(uuid.uuid4())
    with cluster:
        state = AppState(Settings(redis_url=cluster.url))
        await state.start()
        await conversations.create(state.redis, token, "Ada", 600)
        cluster.replica_of(cluster.primary_of(slot_of(token))).kill()
        with pytest.raises(StorageUnavailableError):
            await messages.send_message(state, conversation_id(token), "192.0.2.1", str(uuid.uuid4()), "hello")
        assert await asyncio.to_thread(state.broker.do_qsize, QUEUE) == 1
        await state.stop()


async def test_a_replica_that_takes_over_is_told_the_scripts_that_it_lacks(cluster: Cluster) -> None:
    redis = RedisClient(cluster.url, max_connections=2)
    every = [ConversationKeys(conversation_id(str(number))) for number in range(50)]
    parts = [
        Part(keys.shard, (keys.state, keys.events, keys.partial), ("nobody's", "nobody", 0, "", "", ""))
        for keys in every
    ]
    with cluster:
        assert await redis.script_on_parts(scripts.PUBLISH, parts) == [0] * len(parts)
        for replica in cluster.nodes[cluster.primaries :]:
            await asyncio.to_thread(cluster.fail_over, replica)
        cluster.forget_scripts()
        assert await redis.script_on_parts(scripts.PUBLISH, parts) == [0] * len(parts)
        await redis.aclose()


async def test_who_saw_an_event_that_the_primary_of_now_lacks_needs_a_snapshot(cluster: Cluster) -> None:
    """A primary that was away may tell of an event as it comes back, before it knows that it was replaced."""
    redis = RedisClient(cluster.url, max_connections=2)
    tail = Tail(cluster.url, redis)
    running = asyncio.create_task(tail.run())
    with cluster:
        async with Steps(redis) as steps:
            await steps.say("hello")
            last = (await steps.events())[-1]["cursor"].split("-")[0]
            reader = tail.join(steps.id)
            tail.begin(steps.id, reader, f"{last}-9", busy=False)
            await steps.answer("Hi")
            async with asyncio.timeout(60):
                with pytest.raises(ResyncNeededError):
                    async for _ in reader:
                        pass
        await cancel_and_wait([running])
        await tail.aclose()
        await redis.aclose()


async def test_nodes_that_say_nothing_delay_the_start_by_moments(cluster: Cluster) -> None:
    """They take connections, as a stopped process does, and a client that waited for each would begin a minute late."""
    with cluster, silent_servers(4) as first:
        await both_clients_answer(cluster.url.replace("redis://", f"redis://{first},"))


async def test_limits_are_counted_on_while_a_node_says_nothing(cluster: Cluster) -> None:
    """The clients have to learn that another node has its place; it takes connections all the time."""
    limits = RateLimits(Settings(redis_url=cluster.url))
    with cluster:
        await limits.message("first", "first", queued=0)
        silent = cluster.primaries_now()[0]
        with cluster.node_client(cluster.replica_of(silent)) as replica:
            silent.child.signal_group(signal.SIGSTOP)
            wait_until(lambda: replica.info("replication")["role"] == "master", "the failover")
        refused = 0
        for number in range(30):
            try:
                await limits.message(f"conversation {number}", f"address {number}", queued=0)
            except StorageUnavailableError:
                refused += 1
        assert refused <= 1
        silent.child.signal_group(signal.SIGCONT)
        await limits.aclose()


async def see(stack: Stack, token: str) -> list[dict[str, Any]]:
    """The document, as who opens the page sees it."""
    async with Chat(stack.url, token) as chat:
        messages: list[dict[str, Any]] = (await chat.until("snapshot"))["conversation"]["messages"]
        return messages
