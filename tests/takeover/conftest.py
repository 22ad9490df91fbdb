"""A stack whose workers come and go with each test, and readers of a reply that is interrupted."""

from collections.abc import Iterator

import pytest

from tasks.errors import StorageError
from tasks.storage.keys import ALIVE
from tests.support.missing import missing
from tests.support.servers import connect, start_server
from tests.support.stack import Stack
from tests.takeover.counting import RATE, TOKENS


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web process, Redis, and a model that counts; what a whole module shares."""
    try:
        server = start_server(tmp_path_factory.mktemp("takeover"))
    except StorageError as error:
        missing(str(error))
    with Stack(server) as stack:
        stack.start_web()
        yield stack


@pytest.fixture
def running(ground: Stack) -> Iterator[Stack]:
    """The ground with one worker that is ready; all workers of the test are gone after it."""
    ground.calm()
    ground.pace(rate=RATE, stamped=TOKENS)
    ground.start_worker()
    ground.wait_workers(1)
    yield ground
    for child in [child for child in ground.processes.children if child.name.startswith("worker")]:
        ground.kill(child)
    # Nor does the next test take the dead for living.
    with connect(ground.redis.url) as client:
        client.delete(ALIVE)


@pytest.fixture
def own_stack(own_stack: Stack) -> Stack:
    """A stack of a test's own, whose model counts."""
    own_stack.pace(rate=RATE, stamped=TOKENS)
    return own_stack


@pytest.fixture
def single_stack(single_stack: Stack) -> Stack:
    """The same on a single Redis."""
    single_stack.pace(rate=RATE, stamped=TOKENS)
    return single_stack
