"""The way to the model server: connections, addresses, proxies, certificates, compression; by public doors alone."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ModelError, SettingsError
from tasks.model import client as model_client
from tasks.model import retry
from tasks.model.client import Model
from tests.support.model_server import (
    STREAM_HEAD,
    hear,
    listening,
    model,
    raw_server,
    sends,
    settings,
    standin,
    tgi,
)

KEPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BEARER = "hf_secret"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)


def chunked(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


class Door:
    """Passes connections on to a server, and counts them."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Door":
        self.listening = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listening.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listening.close()
        self.close_connections()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def close_connections(self) -> None:
        """Close what is open, as a server does with what was unused for too long."""
        for writer in self.writers:
            writer.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, up_writer]
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self.copy(source, sink))
            self.tasks.add(task)

    async def copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                sink.write(data)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            sink.close()


@pytest.mark.uvloop
@pytest.mark.parametrize("protocol", ["text-generation", "completions"])
async def test_a_connection_is_used_again(protocol: str) -> None:
    async with standin() as (_, url), Door(url) as door, model(door.url, model_protocol=protocol) as client:
        for _ in range(6):
            await hear(client)
            await asyncio.sleep(0.01)
        assert door.connections == 1


async def test_a_connection_whose_last_bytes_come_late_is_used_again() -> None:
    finished = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(KEPT + chunked(tgi(" Hi.")))
        await finished.wait()
        writer.write(b"0\r\n\r\n")
        await asyncio.sleep(60)

    async with raw_server(late) as server, Door(server.url) as door, model(door.url) as client:
        assert (await hear(client)).end == "stop"
        finished.set()
        await asyncio.sleep(0.1)
        async with listening(client):
            await asyncio.sleep(0.1)
        assert door.connections == 1


async def test_a_connection_whose_last_bytes_do_not_come_is_closed() -> None:
    async with raw_server(sends(KEPT + chunked(tgi(" Hi.")), then="wait")) as server, model(server.url) as client:
        assert (await hear(client)).end == "stop"
        async with asyncio.timeout(5):
            await server.closed_by_client.wait()


@pytest.mark.parametrize("turns", range(3))
async def test_a_kept_connection_that_the_server_closed_is_replaced_without_a_word(turns: int) -> None:
    async with standin() as (_, url), Door(url) as door, model(door.url) as client:
        await hear(client)
        await asyncio.sleep(0.01)
        door.close_connections()
        for _ in range(turns):
            await asyncio.sleep(0)
        heard = await hear(client)
    assert (heard.waits, heard.end) == ([], "stop")


async def test_a_server_that_takes_requests_and_closes_is_asked_twice_and_then_waited_for() -> None:
    async with raw_server(sends(), sends(), sends(STREAM_HEAD + tgi(" Hi."))) as server, model(server.url) as client:
        assert (await hear(client)).waits == ["retrying"]
    assert len(server.requests) == 3


@pytest.mark.uvloop
async def test_three_hundred_replies_stream_at_once() -> None:
    # The first has to go on until a busy machine has begun the last.
    async with standin(stamped=10, rate=2) as (server, url), model(url) as client:
        replies = await asyncio.gather(*(hear(client) for _ in range(300)))
    assert {reply.text.count("|") for reply in replies} == {10}
    assert {(*reply.waits,) for reply in replies} == {()}
    assert server.stats.most_open == 300


@pytest.mark.uvloop
async def test_closing_the_client_closes_every_connection() -> None:
    async with raw_server(sends(KEPT + chunked(tgi(" Hi", end=None)), then="wait")) as server:
        client = Model(settings(server.url))
        async with listening(client) as ear:
            await ear.next()
            await client.aclose()
            async with asyncio.timeout(5):
                await server.closed_by_client.wait()


@pytest.mark.parametrize("first", ["silent", "refusing", "unreachable"])
async def test_the_next_address_is_tried_where_one_does_not_answer(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(sends(STREAM_HEAD + tgi(" Hi."))) as server:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, socket.socket() as waiting:
            waiting.connect(silent.getsockname())
            with socket.socket() as refusing:
                refusing.bind(("127.0.0.1", 0))
                bad = {
                    "silent": silent.getsockname(),
                    "refusing": refusing.getsockname(),
                    "unreachable": ("255.255.255.255", 9),
                }[first]
                good = ("127.0.0.1", int(server.url.rpartition(":")[2]))
                both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (bad, good)]

                def resolve(*_: object, **__: object) -> list[Any]:
                    return both

                monkeypatch.setattr(socket, "getaddrinfo", resolve)
                async with model(f"http://model.example:{good[1]}") as client:
                    assert (await hear(client)).text == "Hi."


async def test_an_address_of_version_6_is_reached() -> None:
    try:
        listening_socket = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(STREAM_HEAD + tgi(" Hi."))
        writer.close()

    async with await asyncio.start_server(serve, sock=listening_socket) as server:
        port = server.sockets[0].getsockname()[1]
        async with model(f"http://[::1]:{port}") as client:
            assert (await hear(client)).text == "Hi."
    assert f"host: [::1]:{port}".encode() in asked[0].lower()


# compression


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_a_compressed_response_is_understood(kind: str, step: int) -> None:
    body = tgi(" One", " two.")
    packed = gzip.compress(body) if kind == "gzip" else zlib.compress(body)
    head = STREAM_HEAD.replace(b"Connection", f"Content-Encoding: {kind}\r\nConnection".encode())
    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
    async with raw_server(sends(head, *pieces)) as server, model(server.url) as client:
        heard = await hear(client)
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


async def test_a_compressed_stream_is_shown_word_by_word() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(tgi(" One", end=None)) + packer.flush(zlib.Z_SYNC_FLUSH)
    head = STREAM_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    async with (
        raw_server(sends(head + packed, then="wait")) as server,
        model(server.url) as client,
        listening(client) as ear,
    ):
        await ear.next()
        assert ear.heard.text == "One"


async def test_a_body_that_is_not_compressed_as_it_says_is_a_mismatch() -> None:
    head = STREAM_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    async with raw_server(sends(head + tgi(" One."))) as server, model(server.url) as client:
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert (error.value.code, error.value.retryable) == ("model_misfit", False)
    assert "Content-Encoding" in error.value.operator


# proxies and certificates


# httpx's adapter hands a proxy's password over in a way that aiohttp gives up with its version 4.
@pytest.mark.filterwarnings("ignore:(BasicAuth|The 'proxy_auth' parameter) is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(sends(STREAM_HEAD + tgi(" Hi."))) as proxy:
        monkeypatch.setenv(name, proxy.url.replace("http://", "http://me:secret@"))
        async with model("http://model.example:8080/generate") as client:
            assert (await hear(client)).text == "Hi."
    assert proxy.requests[0].startswith(b"POST http://model.example:8080/generate_stream HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in proxy.requests[0]


async def test_a_server_that_needs_no_proxy_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(sends(STREAM_HEAD + tgi(" Hi."))) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        async with model(server.url) as client:
            assert (await hear(client)).text == "Hi."


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """What a server needs that a private authority vouches for, and that authority's file."""
    folder: Path = tmp_path_factory.mktemp("authority")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, str(folder / "cert.pem")


@pytest.mark.uvloop
async def test_a_private_authority_is_trusted(tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])
    async with raw_server(sends(STREAM_HEAD + tgi(" Hi.")), tls=tls[0]) as server, model(server.url) as client:
        assert (await hear(client)).text == "Hi."


async def test_a_secure_server_is_reached_through_a_proxy(
    tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async with raw_server(sends(STREAM_HEAD + tgi(" Hi.")), tls=tls[0]) as server, Door(server.url) as door:

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await door.connected(reader, writer)

        async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            monkeypatch.setenv("SSL_CERT_FILE", tls[1])
            async with model(server.url, hf_token=BEARER) as client:
                assert (await hear(client)).text == "Hi."
    assert asked[0].startswith(f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1\r\n".encode())
    assert b"hf_secret" not in asked[0]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", None])
async def test_a_proxy_that_does_not_serve_is_named(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(sends(answer or b"")) as proxy:
        address = proxy.url if answer else "http://127.0.0.1:9"
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("HTTPS_PROXY", address)
        for url in ("http://model.example", "https://model.example"):
            async with model(url, model_retry_timeout=0.02) as client:
                with pytest.raises(ModelError) as error:
                    await hear(client)
            assert error.value.code == "model_proxy"
            assert "HTTPS_PROXY or HTTP_PROXY" in error.value.operator


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:1"),
        ("HTTP_PROXY", "ftp://me:secret@127.0.0.1:1"),
        ("ALL_PROXY", "http://me:secret@127.0.0.1:port"),
    ],
)
def test_an_environment_that_cannot_be_right_is_refused_at_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as error:
        Model(settings("https://model.example"))
    assert "secret" not in str(error.value)


def test_an_unused_connection_is_kept_for_a_shorter_time_than_uvicorn_keeps_it() -> None:
    assert model_client.KEEP_ALIVE < 5


async def test_the_token_goes_nowhere_else_when_a_server_redirects() -> None:
    async with raw_server(sends(STREAM_HEAD + tgi(" Hi."))) as elsewhere:
        redirect = b"HTTP/1.1 307 Moved\r\nLocation: %b/\r\nContent-Length: 0\r\n\r\n" % elsewhere.url.encode()
        async with raw_server(sends(redirect)) as server, model(server.url, hf_token=BEARER) as client:
            with pytest.raises(ModelError):
                await hear(client)
    assert elsewhere.requests == []
