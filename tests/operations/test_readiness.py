"""/readyz tells whether a message would be answered: red within 15 seconds of any break, green again after."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import redis

from tasks.errors import StorageError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import wait_until
from tasks.storage.keys import ConversationKeys, conversation_id
from tests.operations.proxy import DeafProxy
from tests.support.client import Chat, new_token
from tests.support.cluster import Cluster, Watched
from tests.support.missing import missing
from tests.support.servers import connect, connect_to_each, start_server
from tests.support.stack import Stack

#: Seconds in which a break must show; promised to operators.
SHOWS = 15
#: Seconds in which all must be well again, with room for a slow machine; nobody was promised these.
HEALS = 60


#: How it says that no server answers. The client of a cluster cannot always tell that from a failover.
AWAY = ("cannot be reached", "no working primary")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web process, whose Redis is behind proxies, and one worker."""
    try:
        started = start_server(tmp_path_factory.mktemp("watched"))
    except StorageError as error:
        missing(str(error))
    with Stack(started) as stack, ExitStack() as proxies:
        stack.proxies = {node.port: proxies.enter_context(DeafProxy(node.port)) for node in nodes_of(stack)}  # type: ignore[attr-defined]
        ports = {port: proxy.port for port, proxy in stack.proxies.items()}  # type: ignore[attr-defined]
        if isinstance(started, (Cluster, Watched)):
            started.announce(ports)
        through = f"redis://{','.join(f'127.0.0.1:{port}' for port in ports.values())}/0"
        stack.start_web(REDIS_URL=started.url if isinstance(started, Watched) else through)
        stack.start_worker()
        stack.wait_ready(60)
        yield stack


def nodes_of(stack: Stack) -> list[EmbeddedRedis]:
    """The servers that its Redis is made of."""
    return getattr(stack.redis, "nodes", [stack.redis])


def why(stack: Stack) -> str:
    """What /readyz says is missing."""
    answer = httpx.get(f"{stack.url}/readyz", timeout=HEALS)
    said: list[str] = answer.json()["missing"]
    assert (answer.status_code == 503) == bool(said)
    assert answer.json()["ready"] is not bool(said)
    return " ".join(said)


def wait_red(stack: Stack, *reasons: str) -> None:
    """Wait until it is red, in time, and says so; that nothing comes through may be known before the reason is.

    Args:
        reasons: what it may say, any one of them.
    """
    stack.wait_not_ready(SHOWS)
    wait_until(lambda: any(reason in why(stack) for reason in reasons), f"`{reasons}`", timeout=HEALS)


async def test_without_workers_it_is_red_and_the_page_is_told_from_the_same_truth(watched: Stack) -> None:
    worker = watched.processes.children[1]
    async with Chat(watched.url, await new_token(watched.url)) as chat:
        assert (await chat.next())["type"] == "snapshot"
        worker.stop()
        wait_red(watched, "No worker is alive")
        assert (await chat.until("service"))["state"] == "no_worker"
        async with Chat(watched.url, await new_token(watched.url)) as newcomer:
            assert (await newcomer.until("service"))["state"] == "no_worker"
        worker.start()
        watched.wait_ready(HEALS)
        assert (await chat.until("service"))["state"] == "ok"


def test_a_frozen_worker_makes_it_red(watched: Stack) -> None:
    worker = watched.processes.children[1]
    worker.signal_group(signal.SIGSTOP)
    wait_red(watched, "No worker is alive")
    worker.signal_group(signal.SIGCONT)
    watched.wait_ready(HEALS)


def test_a_tail_that_hears_nothing_makes_it_red(watched: Stack) -> None:
    proxies: dict[int, DeafProxy] = watched.proxies  # type: ignore[attr-defined]
    for proxy in proxies.values():
        proxy.deafen()
    wait_red(watched, "nothing came through")
    for proxy in proxies.values():
        proxy.heal()
    watched.wait_ready(HEALS)


def test_a_full_redis_makes_it_red_and_names_it(watched: Stack) -> None:
    with connect_to_each(watched.redis) as clients:
        for client in clients:
            client.config_set("maxmemory", 1)
        wait_red(watched, "full")
        answer = httpx.post(f"{watched.url}/token", params={"name": "Ada"}, timeout=HEALS)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        for client in clients:
            client.config_set("maxmemory", 0)
    watched.wait_ready(HEALS)


def test_it_names_the_trouble_of_now_when_another_one_has_taken_the_place_of_the_first(single_stack: Stack) -> None:
    """On a single server whatever REDIS says: a cluster refuses to be told, and sentinels would undo it."""
    single_stack.start_web()
    single_stack.start_worker()
    single_stack.wait_ready(HEALS)
    with redis.Redis.from_url(single_stack.redis.url) as client:
        client.config_set("maxmemory", 1)
        wait_red(single_stack, "full")
        client.replicaof("127.0.0.1", "9")
        wait_red(single_stack, "read-only")
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", 0)
    single_stack.wait_ready(HEALS)


def test_a_redis_that_is_gone_makes_it_red_while_the_process_stays_healthy(watched: Stack) -> None:
    watched.redis.kill()
    wait_red(watched, *AWAY)
    assert httpx.get(f"{watched.url}/healthz", timeout=HEALS).status_code == 200
    assert httpx.get(f"{watched.url}/metrics", timeout=HEALS).status_code == 503
    watched.redis.start()
    watched.wait_ready(HEALS)


def test_a_redis_that_does_not_answer_makes_it_red_and_keeps_nobody_waiting(watched: Stack) -> None:
    for node in nodes_of(watched):
        node.child.signal_group(signal.SIGSTOP)
    wait_red(watched, *AWAY)
    for node in nodes_of(watched):
        node.child.signal_group(signal.SIGCONT)
    if isinstance(watched.redis, (Cluster, Watched)):
        # Its nodes have taken each other for dead.
        watched.redis.wait_whole()
    watched.wait_ready(HEALS)


def test_however_often_it_is_asked_canaries_are_few(watched: Stack) -> None:
    stream = ConversationKeys(conversation_id("canary")).events
    with connect(watched.redis.url) as client, httpx.Client(base_url=watched.url, timeout=HEALS) as http:
        before, began = client.xlen(stream), time.monotonic()
        for _ in range(300):
            assert http.get("/readyz").status_code == 200
        sent = client.xlen(stream) - before
        assert sent <= 2 + (time.monotonic() - began) / 4.9
