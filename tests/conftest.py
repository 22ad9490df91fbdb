"""What tests share: Redis in both its forms, the processes of the Procfile, and clients for both contracts."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tasks.errors import StorageError
from tasks.local.embedded_redis import EmbeddedRedis, start_redis
from tasks.storage.client import RedisClient
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.servers import start_server
from tests.support.stack import Stack

# A machine that is busy with other tests is slow, and that is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


#: What redis-py leaves to the garbage collector on a cluster, now and then, when it is cancelled while a connection
#: opens or closes. The collection fails whatever test runs at that moment.
LEFT_OPEN = (
    "Exception ignored in. "
    "<(socket|function (StreamWriter|_SelectorTransport|AbstractConnection|ClusterNode|RedisCluster))"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every warning is an error, but for those on a cluster that are not ours."""
    if os.environ.get("REDIS") == "cluster":
        for item in items:
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{LEFT_OPEN}:pytest.PytestUnraisableExceptionWarning"))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transports of the two loops differ, so what works with them is tested on the one that it will meet."""
    return {"loop": uvloop.new_event_loop if item.get_closest_marker("uvloop") else asyncio.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def _no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody is called over HTTPS here, and httpx would read all the world's certificates for each of its clients,
    which takes it ten times as long as the call."""
    with pytest.MonkeyPatch.context() as env:
        env.delenv("SSL_CERT_FILE", raising=False)
        env.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis with JSON, of the kind that REDIS names, for all tests that do not harm it."""
    try:
        started = start_server(tmp_path_factory.mktemp("redis"))
    except StorageError as error:
        missing(str(error))
    with started as redis:
        yield redis


@pytest.fixture(scope="session")
def fake_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The embedded default's last resort."""
    with start_redis(tmp_path_factory.mktemp("fakeredis"), port=own_port(), kind="fakeredis") as redis:
        yield redis


@pytest.fixture(params=["real_redis", "fake_redis"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """An address of each kind of Redis in turn: what passes on one must pass on the other."""
    url: str = request.getfixturevalue(request.param).url
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    """An empty Redis of each kind in turn."""
    client = RedisClient(redis_url, max_connections=4)
    await client.command("FLUSHALL")
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the whole run; tests take it as `stack`."""
    try:
        redis = start_server(tmp_path_factory.mktemp("stack"))
    except StorageError as error:
        missing(str(error))
    with Stack(redis) as stack:
        stack.start_web()
        stack.start_web()
        stack.start_worker()
        stack.wait_ready()
        yield stack


@pytest.fixture
def stack(running_stack: Stack) -> Stack:
    """Parley as it runs: two of the Procfile's web, a worker, a real Redis, a stand-in that is quick and does nothing
    wrong; for tests that do not harm it."""
    running_stack.calm()
    return running_stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of a test's own, to be killed and cut at will; nothing but Redis and the stand-in is started."""
    try:
        redis = start_server(tmp_path / "redis")
    except StorageError as error:
        missing(str(error))
    with Stack(redis) as stack:
        yield stack


@pytest.fixture
def single_stack(tmp_path: Path) -> Iterator[Stack]:
    """The same on a single Redis, whatever REDIS says, for tests that stand between it and us."""
    try:
        redis = start_redis(tmp_path / "single", port=own_port(), kind="redis")
    except StorageError as error:
        missing(str(error))
    with Stack(redis) as stack:
        yield stack
