"""Under Sentinel everything works as on one server, and goes on when another server becomes the primary."""

from concurrent.futures import ThreadPoolExecutor

from tasks.storage.topology import SyncClient
from tests.cluster.talks import Talks, both_clients_answer, silent_servers
from tests.support.client import Chat, new_token
from tests.support.cluster import Watched
from tests.support.servers import connect
from tests.support.stack import Stack


async def test_a_dead_primary_costs_no_word(watched: Watched, on_watched: Stack) -> None:
    on_watched.pace(rate=10, stamped=100)
    async with Talks(on_watched) as talks:
        await talks.begin()
        dead = watched.primary
        dead.kill()
        await talks.finish()
        assert watched.primary is not dead


async def test_what_no_second_server_has_is_not_accepted(watched: Watched, on_watched: Stack) -> None:
    async with Chat(on_watched.url, await new_token(on_watched.url)) as chat:
        await chat.until("snapshot")
        next(node for node in watched.nodes if node is not watched.primary).kill()
        id = await chat.send("hello")
        refused = await chat.until("error")
        assert (refused["code"], refused["id"]) == ("unavailable", id)


def test_many_threads_share_few_connections(watched: Watched) -> None:
    with watched, connect(watched.url) as control, ThreadPoolExecutor(20) as threads:
        client = SyncClient(watched.url, max_connections=2, timeout=5)
        ping = client.register_script("return redis.call('PING')")
        before = control.info("clients")["connected_clients"]
        assert set(threads.map(lambda _: ping(), range(400))) == {b"PONG"}
        assert control.info("clients")["connected_clients"] - before <= 2
        client.close()


async def test_sentinels_that_say_nothing_delay_the_start_by_moments(watched: Watched) -> None:
    with watched, silent_servers(4) as first:
        await both_clients_answer(watched.url.replace("redis+sentinel://", f"redis+sentinel://{first},"))
