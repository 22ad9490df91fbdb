"""Which Redis will do: at start the others are refused, or warned of, in one sentence that says what to do."""

import contextlib
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from tasks.errors import StorageError, StorageUnavailableError
from tasks.local.embedded_redis import EmbeddedRedis, start_redis
from tasks.local.processes import Child, Processes, wait_until
from tasks.storage.client import RedisClient
from tests.support.client import Chat, new_token
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.stack import Stack, answers


def real(folder: Path, **options: str) -> EmbeddedRedis:
    """A real Redis with these lines in its configuration."""
    try:
        return start_redis(folder, port=own_port(), kind="redis", options=options)
    except StorageError as error:
        missing(str(error))
        raise


def started(kind: str, url: str) -> Child:
    """A web or worker process on this Redis, which the caller has to stop."""
    env = {"REDIS_URL": url, "MODEL_URL": "http://127.0.0.1:9", "HOST": "127.0.0.1", "PORT": str(own_port())}
    return Processes(env).start(kind)


def says(child: Child, sentence: str) -> bool:
    """Whether it has printed this."""
    return any(sentence in line for line in child.lines)


def check_refused(url: str, sentence: str) -> None:
    """Web and worker end by themselves, not as if all were well, after one line that says why and no traceback."""
    with started("web", url) as web, started("worker", url) as worker:
        for child in (web, worker):
            assert child.wait(60)
            child.kill()
            assert child.returncode not in (0, None)
            assert sum(f"process.unsupported_redis {sentence}" in line for line in child.lines) == 1
            assert not says(child, "Traceback"), "\n".join(child.lines)


class Old(socketserver.StreamRequestHandler):
    """Answers as a Redis of long ago would, as far as it is asked."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(length + 2)[:-2].upper())
                self.wfile.write(self.answer(words[0]))

    def answer(self, word: bytes) -> bytes:
        if word != b"INFO":
            return b"+OK\r\n"
        info = b"# Server\r\nredis_version:6.0.16\r\n"
        return b"$%d\r\n%s\r\n" % (len(info), info)


@pytest.fixture
def old_redis() -> Iterator[str]:
    """The address of a Redis that is too old."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Old) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


@pytest.fixture
def plain_redis(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis without JSON."""
    program = shutil.which("redis-server")
    if program is None:
        missing("There is no redis-server here.")
        raise AssertionError
    port = own_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with Child("plain redis", argv):
        with redis.Redis(port=port) as client:
            wait_until(lambda: reached(client), "redis")
            if "json" in str(client.module_list()).lower():
                pytest.skip("This machine's redis-server brings JSON.")
        yield f"redis://127.0.0.1:{port}/0"


def reached(client: redis.Redis) -> bool:
    """Whether the server answers yet."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_redis_without_json_is_refused_with_what_to_use_instead(plain_redis: str) -> None:
    check_refused(plain_redis, "This Redis has no JSON: use Redis 8")


def test_a_redis_that_is_too_old_is_refused(old_redis: str) -> None:
    check_refused(old_redis, "This Redis is too old (6.0.16): use Redis 8")


def test_a_read_only_replica_is_refused(tmp_path: Path) -> None:
    with (
        real(tmp_path / "primary") as primary,
        real(tmp_path / "replica") as replica,
        redis.Redis.from_url(replica.url) as client,
    ):
        client.replicaof("127.0.0.1", primary.port)
        check_refused(replica.url, "Redis is read-only: REDIS_URL must point to the primary.")


async def test_a_redis_that_evicts_is_warned_of_and_used(tmp_path: Path) -> None:
    options = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with Stack(real(tmp_path, **options)) as stack:
        web, worker = stack.start_web(), stack.start_worker()
        stack.wait_ready(60)
        for child in (web, worker):
            wait_until(lambda child=child: says(child, "set maxmemory-policy to noeviction"), child.name)  # type: ignore[misc]
        await hold_a_conversation(stack)


def test_a_redis_whose_connections_run_short_is_warned_of(tmp_path: Path) -> None:
    with (
        real(tmp_path, maxclients="5") as narrow,
        started("worker", narrow.url) as worker,
    ):
        wait_until(lambda: says(worker, "start fewer processes, or choose a plan"), "the warning")
        assert worker.alive


async def test_a_redis_without_a_free_connection_is_named_and_waited_for(tmp_path: Path) -> None:
    with Stack(real(tmp_path, maxclients="14")) as stack, contextlib.ExitStack() as taken:
        for _ in range(14):
            taken.enter_context(socket.create_connection(("127.0.0.1", stack.redis.port)))
        web, worker = stack.start_web(), stack.start_worker()
        for child in (web, worker):
            wait_until(lambda child=child: says(child, "Redis has no connection left"), child.name)  # type: ignore[misc]
        assert not answers(f"{stack.url}/readyz")
        taken.close()
        stack.wait_ready(60)
        await hold_a_conversation(stack)


async def test_a_redis_that_comes_after_the_processes_is_waited_for(own_stack: Stack) -> None:
    own_stack.redis.stop()
    web, worker = own_stack.start_web(), own_stack.start_worker()
    for child in (web, worker):
        wait_until(lambda child=child: says(child, "Redis cannot be reached"), child.name)  # type: ignore[misc]
    own_stack.redis.start()
    own_stack.wait_ready(60)
    assert web.alive
    assert worker.alive
    await hold_a_conversation(own_stack)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate that nobody but itself has signed, and its key."""
    program = shutil.which("openssl")
    if program is None:
        missing("There is no openssl here.")
        raise AssertionError
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    argv = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


async def test_redis_over_tls_with_a_self_signed_certificate_works(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    options = {"tls-cert-file": certificate[0], "tls-key-file": certificate[1]}
    with Stack(real(tmp_path, **options)) as stack:
        assert stack.redis.url.startswith("rediss://")
        stack.start_web()
        stack.start_worker()
        stack.wait_ready(60)
        await hold_a_conversation(stack)


async def test_a_certificate_that_nobody_has_signed_is_named_with_what_to_do(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    options = {"tls-cert-file": certificate[0], "tls-key-file": certificate[1]}
    with real(tmp_path, **options) as server:
        client = RedisClient(server.url.partition("?")[0], max_connections=1)
        with pytest.raises(StorageUnavailableError, match=r"not trusted: add \?ssl_ca_certs=<file> to REDIS_URL"):
            await client.command("PING")
        await client.aclose()


async def test_redis_behind_a_unix_socket_and_a_password_with_special_characters_works(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with Stack(real(tmp_path / "redis", unixsocket=str(path))) as stack:
        with redis.Redis.from_url(stack.redis.url) as client:
            client.config_set("requirepass", "pa#s/s@1?")
        stack.env["REDIS_URL"] = f"unix://:{quote('pa#s/s@1?', safe='')}@{path}"
        stack.processes = Processes(env=stack.env)
        stack.start_web()
        stack.start_worker()
        stack.wait_ready(60)
        await hold_a_conversation(stack)


def test_a_redis_url_that_is_no_address_ends_both_processes_with_one_sentence() -> None:
    url = "redis://:hun#ter@127.0.0.1:6379/0"
    with started("web", url) as web, started("worker", url) as worker:
        for child in (web, worker):
            assert child.wait(60)
            child.kill()
            assert child.returncode not in (0, None)
            assert says(child, "Wrong settings: REDIS_URL")
            assert not says(child, "Traceback")
            assert not says(child, "hun")


async def hold_a_conversation(stack: Stack) -> None:
    """Say something and be answered."""
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        await chat.send("Good morning")
        assert "Good morning" in (await chat.until("reply.finished"))["message"]["text"]
