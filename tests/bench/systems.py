"""What is measured: Parley from its Procfile on a real Redis, the direct relay, and the load on either."""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import orjson
import psutil

from tasks.local.embedded_redis import free_port, start_redis
from tasks.local.processes import Child, last_words, read_procfile, wait_until
from tasks.settings import Settings
from tests.bench.load import Plan, Result
from tests.support.cluster import Cluster
from tests.support.stack import Stack, answers

#: Tokens a second of a reply, and tokens of a reply, unless a case says otherwise.
RATE, TOKENS = 20.0, 100

PYTHON = (sys.executable, "-m")
#: Whatever limits there are, they are off.
UNLIMITED = {name.upper(): "0" for name in Settings.model_fields if name.startswith("limit_")}


class System:
    """Something that people can talk to; `processes` are its own, by kind, without the stand-in."""

    name: str
    url: str

    def processes(self) -> dict[str, list[int]]:
        """Process ids by kind."""
        raise NotImplementedError

    def load(self, plan: Plan) -> Result:
        """Carry a plan out to its end; the system's processes are measured meanwhile."""
        with Load(self, plan) as load:
            return load.result()

    def memory(self) -> dict[str, int]:
        """Resident bytes by kind."""
        return {
            kind: sum(psutil.Process(pid).memory_info().rss for pid in pids) for kind, pids in self.processes().items()
        }


class Relay(System):
    """The direct relay, with the same uvicorn options as the Procfile's `web`."""

    name = "relay"
    transport = "httpx"

    def __init__(self, stack: Stack) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = read_procfile()["web"].replace("api.app:app", "tests.bench.relay:app")
        self.child = Child(
            "relay", ["/bin/sh", "-c", command], {**stack.env, "PORT": str(port), "RELAY_TRANSPORT": self.transport}
        )

    def __enter__(self) -> Self:
        wait_until(lambda: answers(f"{self.url}/healthz"), "the relay", [self.child])
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    def processes(self) -> dict[str, list[int]]:
        return {"relay": family(self.child)}


class BestRelay(Relay):
    """The same over the transport that Parley uses."""

    name = "best relay"
    transport = "aiohttp"


class Ours(System):
    """Parley: one web and one worker process, if not told otherwise."""

    name = "ours"

    def __init__(self, stack: Stack, *, workers: int = 1, **settings: str) -> None:
        self._stack = stack
        self._settings = settings
        self.web: Child
        self.workers: list[Child] = []
        self._count = workers

    def __enter__(self) -> Self:
        self.web = self._stack.start_web(**self._settings)
        self.url = f"http://127.0.0.1:{self._stack.ports[-1]}"
        for _ in range(self._count):
            self.add_worker()
        if self.workers:
            wait_until(lambda: answers(f"{self.url}/readyz"), "Parley", [self.web, *self.workers])
        return self

    def __exit__(self, *_: object) -> None:
        for child in (self.web, *self.workers):
            child.terminate()
        for child in (self.web, *self.workers):
            child.stop()
            self._stack.processes.children.remove(child)

    def add_worker(self) -> Child:
        """Start one more worker process."""
        child = self._stack.start_worker(**self._settings)
        self.workers.append(child)
        return child

    def processes(self) -> dict[str, list[int]]:
        return {
            "web": family(self.web),
            "worker": [pid for worker in self.workers for pid in family(worker)],
            "redis": [node.pid for node in getattr(self._stack.redis, "nodes", [self._stack.redis])],
        }


class Load:
    """A plan that is being carried out in a process of its own. A context manager."""

    def __init__(self, system: System, plan: Plan) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._result = Path(self._folder.name) / "result.json"
        self._said: dict[str, threading.Event] = {"connected": threading.Event(), "done": threading.Event()}
        file = Path(self._folder.name) / "plan.json"
        file.write_bytes(orjson.dumps(asdict(plan) | {"url": system.url, "processes": system.processes()}))
        self._child = Child("load", [*PYTHON, "tests.bench.load", file, self._result], on_line=self._hear)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._folder.cleanup()

    def wait(self, what: str) -> None:
        """Wait until everybody is `connected`, or `done` with talking. Raises ProcessError."""
        wait_until(self._said[what].is_set, "the load", [self._child], 300, 0.005)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self._child.alive

    def result(self) -> Result:
        """What came of it, once it is over. Raises ProcessError."""
        self._child.wait()
        if self._child.returncode:
            raise RuntimeError(last_words(self._child) + "\n" + "\n".join(self._child.lines))
        return Result(**orjson.loads(self._result.read_bytes()))

    def _hear(self, child: Child, line: str) -> None:
        if line in self._said:
            self._said[line].set()


@contextmanager
def bench_stack(kind: str = "single", **settings: str) -> Iterator[Stack]:
    """A fresh Redis and stand-in, nothing else yet; `kind` of Redis: single, or cluster."""
    with tempfile.TemporaryDirectory() as folder:
        redis: Any = Cluster(Path(folder)) if kind == "cluster" else start_redis(Path(folder), kind="redis")
        options = ("--stamped", str(TOKENS), "--rate", str(RATE))
        with Stack(redis, stand_in=options, **UNLIMITED, **settings) as stack:
            yield stack


def family(child: Child) -> list[int]:
    """A child's process id and those of all its children."""
    return [child.pid, *(process.pid for process in psutil.Process(child.pid).children(recursive=True))]
