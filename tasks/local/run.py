"""`make run` after the set-up: Redis, the model's stand-in, web and worker as one program that ends as one.

What REDIS_URL and MODEL_URL name is used; what they leave out is started here. The Procfile says how web and
worker start.
"""

import asyncio
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from threading import Event, Lock
from types import FrameType
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from tasks.errors import ParleyError, SettingsError
from tasks.local.embedded_redis import LOOPBACK, free_port, start_redis
from tasks.local.models import LocalModel, fitting, gigabytes, local_model
from tasks.local.processes import (
    ROOT,
    Child,
    NotReadyError,
    ProcessError,
    Processes,
    last_words,
    stop_all,
    wait_until,
)
from tasks.local.settings import load_local_settings
from tasks.settings import load_settings
from tasks.storage.client import RedisClient, require_json

DATA = ROOT / ".data"

#: Whoever ends sooner than this many seconds after its start would do so again; later, it is started again.
STEADY = 10.0

#: Seconds that a process may take to become ready, and that a model of several gigabytes may take to load.
START_TIMEOUT, MODEL_TIMEOUT = 60.0, 300.0

#: Everything that the processes printed, when a start fails.
FAILURE_LOG = DATA / "last-start.log"


class StoppedError(Exception):
    """Asked to stop while starting."""


@dataclass(frozen=True)
class Part:
    """Something that must keep running."""

    child: Callable[[], Child]
    start: Callable[[], None]


class Output:
    """What the processes print, each line under its process's name; held back until all is ready."""

    def __init__(self) -> None:
        self._held: list[str] | None = []
        self._lock = Lock()

    def __call__(self, child: Child, line: str) -> None:
        with self._lock:
            named = f"{child.name:<9}| {line}"
            if self._held is None:
                print(named, flush=True)
            else:
                self._held.append(named)

    def show(self) -> None:
        """Print what was held back, and from now on everything at once."""
        with self._lock:
            for line in self._held or ():
                print(line, flush=True)
            self._held = None

    def save(self) -> None:
        """Put what was held back into a file, for whoever needs more than the sentence on the screen."""
        with self._lock:
            if self._held:
                FAILURE_LOG.parent.mkdir(exist_ok=True)
                FAILURE_LOG.write_text("\n".join(self._held) + "\n")
                print(f"All they printed is in {FAILURE_LOG.relative_to(ROOT)}.", file=sys.stderr)


class Health:
    """Asks /readyz; `said` is its last answer that was not yes."""

    def __init__(self, url: str) -> None:
        self._url = url
        #: No proxy of the environment stands between us and ourselves.
        self._direct = build_opener(ProxyHandler({}))
        self.said = "it did not answer"

    def __call__(self) -> bool:
        try:
            self._direct.open(self._url, timeout=5).close()
        except HTTPError as answer:
            self.said = f"it answered {answer.code}: {answer.read(300).decode()}"
            return False
        except (OSError, HTTPException):
            return False
        return True


class Run:
    """One run, from the first line printed to the last process stopped."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._stop = Event()
        self._output = Output()
        self._env = {"HOST": os.environ.get("HOST") or LOOPBACK}

    def __call__(self) -> int:
        """Run until Ctrl-C; the exit code."""
        try:
            with self._signals(), ExitStack() as stack:
                stack.callback(self._stop_all)
                self._start()
                self._watch()
        except StoppedError:
            return 0
        except ParleyError as error:
            print(f"parley: {error}", file=sys.stderr)
            self._output.save()
            return 1
        return 0

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal stop everything; the second time at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop.is_set():
                for part in self._parts:
                    part.child().signal_group(signal.SIGKILL)
            self._stop.set()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, stop) for number in numbers]
        yield
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    def _start(self) -> None:
        settings = load_settings()
        check_port(self._env["HOST"], settings.port)
        self._env["PORT"] = str(settings.port)
        self._start_redis()
        self._start_model()
        self._start_processes(f"http://{reachable(self._env['HOST'])}:{settings.port}")

    def _start_redis(self) -> None:
        if url := os.environ.get("REDIS_URL"):
            asyncio.run(check_redis(url))
            return
        with timed() as say:
            redis = start_redis(DATA / "redis")
            self._parts.append(Part(lambda: redis.child, redis.start))
            self._env["REDIS_URL"] = redis.url
            say(f"Redis: {redis.notice}")

    def _start_model(self) -> None:
        key, given = os.environ.get("MODEL"), os.environ.get("MODEL_URL")
        if key and given:
            raise SettingsError("MODEL starts a model here and MODEL_URL names one elsewhere: leave one of them out.")
        if key:
            self._start_local_model(local_model(key))
        elif not given:
            self._start_stand_in()

    def _start_stand_in(self) -> None:
        with timed() as say:
            port = free_port()
            model = self._add(self._model_server("tasks.local.standin", "--port", str(port)))
            self._wait(lambda: accepts(port), "The stand-in model", [model])
            # Both names, so that the page can say that this is not GPT-J.
            self._env["MODEL_URL"] = self._env["STAND_IN_URL"] = f"http://{LOOPBACK}:{port}"
            say(f"Model: the stand-in, since neither MODEL nor MODEL_URL is set.{suggestion()}")

    def _start_local_model(self, model: LocalModel) -> None:
        with timed() as say:
            port = free_port()
            server = self._model_server("tasks.local.model_server", "--model", model.key, "--port", str(port))
            self._wait(Health(f"http://{LOOPBACK}:{port}/health"), model.title, [self._add(server)], MODEL_TIMEOUT)
            self._env |= {name: os.environ.get(name) or value for name, value in model.settings.items()}
            self._env["MODEL_URL"] = f"http://{LOOPBACK}:{port}"
            self._env["MODEL_PROTOCOL"] = "completions"
            self._env["MODEL_NAME"] = model.name
            say(f"Model: {model.title} on this computer")

    def _model_server(self, module: str, *arguments: str) -> Child:
        return Child("model", [sys.executable, "-m", module, *arguments], on_line=self._output)

    def _start_processes(self, address: str) -> None:
        with timed() as say:
            processes = Processes(self._env, on_line=self._output)
            children = [self._add(processes.start(kind)) for kind in ("web", "worker")]
            health = Health(f"{address}/readyz")
            try:
                self._wait(health, "Parley", children)
            except NotReadyError as error:
                raise NotReadyError(f"{error} Asked for /readyz, {health.said}") from None
            say("Processes: web and worker")
        print(f"\nParley is ready at {address} (Ctrl-C stops it)\n", flush=True)
        self._output.show()

    def _add(self, child: Child) -> Child:
        self._parts.append(Part(lambda: child, child.start))
        return child

    def _wait(
        self, ready: Callable[[], bool], what: str, children: list[Child], timeout: float = START_TIMEOUT
    ) -> None:
        def ready_or_stopped() -> bool:
            if self._stop.is_set():
                raise StoppedError
            return ready()

        wait_until(ready_or_stopped, what, children, timeout)

    def _watch(self) -> None:
        """Until Ctrl-C, start again whoever ends. Raises ProcessError if that happens right after a start."""
        while not self._stop.wait(0.2):
            for part in self._parts:
                if not part.child().alive and not self._stop.is_set():
                    revive(part)

    def _stop_all(self) -> None:
        """Those who write stop before Redis does."""
        children = [part.child() for part in self._parts]
        if not children:
            return
        started = time.monotonic()
        print("\nStopping (Ctrl-C again: at once)", flush=True)
        stop_all(child for child in children if child.name != "redis")
        stop_all(children)
        print(f"Stopped ({time.monotonic() - started:.1f} s)", flush=True)


def revive(part: Part) -> None:
    """Start it again, as any platform would. Raises ProcessError if it cannot stay up."""
    child = part.child()
    if child.age < STEADY:
        raise ProcessError(f"{last_words(child)} (right after its start, so Parley stops)")
    print(f"{child.name} ended ({child.ended}); starting it again", flush=True)
    child.kill()
    part.start()


@contextmanager
def timed() -> Iterator[Callable[[str], None]]:
    """Gives a `print` that adds the seconds since the beginning."""
    started = time.monotonic()
    yield lambda what: print(f"{what} ({time.monotonic() - started:.1f} s)", flush=True)


def suggestion() -> str:
    """How this computer gets a real model, if it can."""
    model = fitting(load_local_settings().local_model_folder)
    if not model:
        return " README says how to connect a real one."
    return (
        f" This computer can run {model.title}, {gigabytes(model.disk)} GB to download once: make run MODEL={model.key}"
    )


def check_port(host: str, port: int) -> None:
    """Raises SettingsError if nothing can be served on this TCP `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"Port {port} is used by another program: stop that one, or choose another port, "
                f"for example PORT={port + 1} make run."
            ) from None
        raise SettingsError(f"Nothing can be served on HOST {host}, PORT {port}: {error.strerror}.") from None


async def check_redis(url: str) -> None:
    """Raises StorageError if the Redis that was named cannot hold conversations."""
    client = RedisClient(url, max_connections=1)
    try:
        await require_json(client)
    finally:
        await client.aclose()


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def reachable(host: str) -> str:
    """The address to open in a browser for the address that was bound."""
    if host == "0.0.0.0":
        return LOOPBACK
    # A server on all of IPv6 does not listen on IPv4.
    address = "::1" if host == "::" else host
    return f"[{address}]" if ":" in address else address


if __name__ == "__main__":
    sys.exit(Run()())
