"""Parley as it runs, under a test's control: Redis, the stand-in, and any number of the Procfile's processes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx

from tasks.local.embedded_redis import EmbeddedRedis
from tasks.local.processes import Child, Processes, wait_until
from tasks.settings import Settings
from tasks.storage.keys import ALIVE
from tests.support.ports import own_port
from tests.support.servers import connect

#: Limits off: a test that is about a limit sets it.
UNLIMITED = {name.upper(): "0" for name in Settings.model_fields if name.startswith("limit_") and name != "limit_text"}

#: Seconds that the stand-in has to answer; a busy machine may need some.
PATIENCE = 30.0


class Stack:
    """Everything ends with the block; `redis` is stopped with it."""

    def __init__(
        self,
        redis: EmbeddedRedis,
        *,
        stand_in: tuple[str, ...] = (),
        model_host: str = "127.0.0.1",
        **settings: str,
    ) -> None:
        self.redis = redis
        self.model_port = own_port()
        self.model_url = f"http://{model_host}:{self.model_port}"
        self._stand_in_options = ("--host", model_host, *stand_in)
        self.env = {
            "REDIS_URL": redis.url,
            "MODEL_URL": self.model_url,
            "STAND_IN_URL": self.model_url,
            "HOST": "127.0.0.1",
            # Numbered and timed tokens are long: a whole reply of them has to fit beside its conversation.
            "MODEL_CONTEXT": "8192",
            **UNLIMITED,
            **settings,
        }
        self.ports: list[int] = []

    def __enter__(self) -> "Stack":
        self.redis.__enter__()
        self.processes = Processes(env=self.env).__enter__()
        command = (sys.executable, "-m", "tasks.local.standin", "--port", str(self.model_port))
        self.stand_in = Child("stand-in", [*command, *self._stand_in_options]).__enter__()
        wait_until(lambda: self.stand_in_answers(), "the stand-in", [self.stand_in])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nobody looks any more: how well they stop is shown by tests that stop them.
        for child in self.processes.children:
            child.kill()
        self.stand_in.__exit__(kind, error, trace)
        self.redis.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """The first web process."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def start_web(self, **settings: str) -> Child:
        """Start another web process; once it answers, its port is the last of `ports`."""
        port = own_port()
        child = self.processes.start("web", {"PORT": str(port), **settings})
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the web process", [child])
        self.ports.append(port)
        return child

    @contextmanager
    def another_web(self, **settings: str) -> Iterator[str]:
        """The address of one more web process, with settings of its own, while the block lasts."""
        child = self.start_web(**settings)
        port = self.ports.pop()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.stop()

    def start_worker(self, **settings: str) -> Child:
        """Start another worker process."""
        return self.processes.start("worker", settings)

    def kill(self, child: Child) -> None:
        """SIGKILL; that it is gone surprises nobody who waits for something later."""
        child.kill()
        self.processes.children.remove(child)

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until a message would be answered."""
        wait_until(lambda: answers(f"{self.url}/readyz"), "Parley", self.processes.children, seconds)

    def wait_workers(self, number: int, seconds: float = 60) -> None:
        """Wait until so many workers leave a beat, and so take messages."""
        with connect(self.redis.url) as client:
            wait_until(
                lambda: sum(name.startswith(b"worker:") for name in client.zrange(ALIVE, 0, -1)) >= number,
                f"{number} workers",
                self.processes.children,
                seconds,
            )

    def wait_not_ready(self, seconds: float = 60) -> None:
        """Wait until the web process knows that nothing would be answered."""
        wait_until(lambda: not answers(f"{self.url}/readyz"), "Parley", [], seconds)

    def stand_in_answers(self) -> bool:
        """Whether the stand-in is up."""
        return answers(f"{self.model_url}/health")

    def fault(self, **fault: Any) -> None:
        """Have the stand-in do something wrong."""
        httpx.post(f"{self.model_url}/faults", json=fault, timeout=PATIENCE).raise_for_status()

    def pace(self, **options: float) -> None:
        """Change how the stand-in answers: `rate` in tokens a second, `first_delay` in seconds, `stamped`."""
        httpx.post(f"{self.model_url}/options", json=options, timeout=PATIENCE).raise_for_status()

    def clear_faults(self) -> None:
        """Have the stand-in do nothing wrong any more."""
        httpx.delete(f"{self.model_url}/faults", timeout=PATIENCE).raise_for_status()

    def calm(self) -> None:
        """Have the stand-in answer well and quickly, and count anew."""
        self.clear_faults()
        self.pace(rate=400, first_delay=0, stamped=0)
        httpx.delete(f"{self.model_url}/stats", timeout=PATIENCE).raise_for_status()

    def model_stats(self) -> dict[str, Any]:
        """What the stand-in has seen."""
        stats: dict[str, Any] = httpx.get(f"{self.model_url}/stats", timeout=PATIENCE).json()
        return stats


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
