"""Under Sentinel everything works as on one server, and goes on when another server becomes the primary."""

from tests.cluster.talks import Talks
from tests.support.client import Chat, new_token
from tests.support.cluster import Watched
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
