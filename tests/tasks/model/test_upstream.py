"""The connections to the model server: what is asked over them, what counts as an answer, and how long they last."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tasks.model import upstream
from tasks.model.connection import Connection, NotHttp, Take, Unreachable
from tasks.model.upstream import Upstream
from tests.support.model_server import Behaviour, RawServer, eventually, raw_server, sends

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def connected(*answers: Behaviour) -> AsyncIterator[tuple[Upstream, RawServer]]:
    """A server and the way to it."""
    async with raw_server(*answers) as server:
        way = Upstream(server.url, {})
        yield way, server
        way.close()


def keeping(pieces: list[bytes]) -> Take:
    """Takes everything."""

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    return take


async def body_of(response: Connection) -> bytes:
    """All of an answer's body."""
    pieces: list[bytes] = []
    await response.read(keeping(pieces))
    return b"".join(pieces)


async def ask_and_break(way: Upstream, rest: bytes, take: Take, *, reading: bool) -> None:
    """After the head of an answer its rest comes, and then the server hangs up; before it is read, or meanwhile."""

    def break_off() -> None:
        response.data_received(rest)
        response._transport.close()

    async with way.post(b"{}") as response:
        if reading:
            asyncio.get_running_loop().call_soon(break_off)
        else:
            break_off()
        await response.read(take)


async def ask(way: Upstream) -> bytes:
    """A whole request and answer."""
    async with way.post(b"{}") as response:
        return await body_of(response)


@pytest.mark.parametrize(
    ("address", "line", "host"),
    [
        ("", "/", "127.0.0.1:{port}"),
        ("/v1/completions", "/v1/completions", "127.0.0.1:{port}"),
        ("/a%20b/ü?key=a b&c=%2F", "/a%20b/%C3%BC?key=a%20b&c=%2F", "127.0.0.1:{port}"),
    ],
)
async def test_a_request_is_whole(address: str, line: str, host: str) -> None:
    async with raw_server(sends(HELLO)) as server:
        way = Upstream(server.url + address, {"Content-Type": "application/json"})
        async with way.post(b'{"a":1}') as response:
            assert await body_of(response) == b"Hello"
        named = host.format(port=server.url.rpartition(":")[2])
        head = f"POST {line} HTTP/1.1\r\nHost: {named}\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
        assert server.requests == [head.encode() + b'{"a":1}']
        way.close()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:8080", b"[::1]:8080"),
        ("http://Model.example", b"model.example"),
        ("https://bücher.example:444/x", b"xn--bcher-kva.example:444"),
    ],
)
def test_the_server_is_named_as_the_standard_wants_it(url: str, host: bytes) -> None:
    assert b"\r\nHost: %b\r\n" % host in Upstream(url, {})._head


@pytest.mark.uvloop
@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        CHUNKED + b"5\r\nHello\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nHe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + HELLO,
        b"HTTP/1.0 200 OK\r\n\r\nHello",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nHello",
    ],
)
async def test_every_form_of_a_body_is_understood_however_it_comes(answer: bytes) -> None:
    for pieces in ([answer], [answer[at : at + 1] for at in range(len(answer))]):
        async with connected(sends(*pieces)) as (way, _):
            assert await ask(way) == b"Hello"


@pytest.mark.uvloop
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello", ConnectionError),
        (CHUNKED + b"5\r\nHello\r\n", ConnectionError),
        (CHUNKED + b"5\r\nHello\r\nrubbish\r\n", NotHttp),
    ],
)
@pytest.mark.parametrize("reading", [True, False])
async def test_what_came_before_a_break_is_read_first(answer: bytes, error: type[Exception], reading: bool) -> None:
    head, pieces = answer.index(b"\r\n\r\n") + 4, list[bytes]()
    async with connected(sends(answer[:head], then="wait")) as (way, _):
        with pytest.raises(error):
            await ask_and_break(way, answer[head:], keeping(pieces), reading=reading)
        assert b"".join(pieces) == b"Hello"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-", ConnectionError),
        (b"SSH-2.0\r\n", NotHttp),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", NotHttp),
    ],
)
async def test_what_is_no_answer_is_told_as_such(answer: bytes, error: type[Exception]) -> None:
    async with connected(sends(answer)) as (way, _):
        with pytest.raises(error):
            await ask(way)


@pytest.mark.parametrize("reading", [True, False])
async def test_what_the_reader_raises_reaches_whoever_reads_and_hangs_up(reading: bool) -> None:
    def refuse(piece: bytes) -> NoReturn:
        raise ValueError("not this")

    async with connected(sends(CHUNKED, then="wait")) as (way, server):
        with pytest.raises(ValueError, match="not this"):
            await ask_and_break(way, b"5\r\nHello\r\n", refuse, reading=reading)
        await server.closed_by_client.wait()


@pytest.mark.uvloop
async def test_an_unused_connection_is_used_again_and_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "KEEP_ALIVE", 0.05)
    async with connected(sends(HELLO, then="wait")) as (way, server):
        await ask(way)
        (connection,) = way._idle
        # The second answer takes longer than an unused connection is kept.
        asyncio.get_running_loop().call_later(0.2, connection.data_received, HELLO)
        assert await ask(way) == b"Hello"
        assert way._open == {connection}
        await server.closed_by_client.wait()
        await eventually(lambda: not (way._open or way._idle))


async def test_a_connection_over_which_something_comes_unasked_is_not_used_again() -> None:
    async with connected(sends(HELLO + HELLO, then="wait")) as (way, server):
        assert await ask(way) == b"Hello"
        await server.closed_by_client.wait()
        await eventually(lambda: not way._idle)


async def test_a_server_that_wants_no_second_request_gets_none() -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nHello"
    async with connected(sends(last, then="wait")) as (way, server):
        assert await ask(way) == b"Hello"
        assert not way._idle
        await server.closed_by_client.wait()


async def test_the_next_address_is_tried_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(sends(HELLO)) as (way, server):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, socket.socket() as waiting:
            waiting.connect(silent.getsockname())
            ports = (silent.getsockname()[1], int(server.url.rpartition(":")[2]))
            both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

            def resolve(*_: object, **__: object) -> list[Any]:
                return both

            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            assert await ask(way) == b"Hello"


async def test_a_name_is_looked_up_once_for_many_replies_and_anew_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    lookup = socket.getaddrinfo

    def count(*args: Any, **options: Any) -> Any:
        asked.append(args)
        return lookup(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", count)
    async with connected(sends(HELLO.replace(b"OK", b"OK\r\nConnection: close"))) as (way, _):
        await asyncio.gather(ask(way), ask(way))
        asked.clear()
        await ask(way)
        assert not asked
        way._known_until = 0
        await ask(way)
        assert len(asked) == 1


async def test_a_name_that_nobody_knows_is_why_a_server_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # What a resolver says, without the time that some networks' take to say it.
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable) as error:
        await ask(Upstream("http://no-such-host.invalid", {}))
    assert isinstance(error.value.__cause__, socket.gaierror)


@pytest.mark.uvloop
async def test_a_server_that_speaks_tls_is_read_piece_by_piece_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []

    def half(piece: bytes) -> bool:
        pieces.append(piece)
        return False

    words = CHUNKED + b"2\r\nHe\r\n" + b"3\r\nllo\r\n"
    async with raw_server(sends(words, then="wait"), tls=certificate(tmp_path)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        way = Upstream(server.url, {})
        async with way.post(b"{}") as response:
            await response.read(half)
            await response.read(half)
            asyncio.get_running_loop().call_soon(response.data_received, b"0\r\n\r\n")
            await response.read(half)
            assert (pieces, response.ended) == ([b"He", b"llo"], True)
        assert way._idle == [response]
        way.close()
        await server.closed_by_client.wait()


def certificate(folder: Path) -> ssl.SSLContext:
    """What a server needs whose certificate is in `folder`/cert.pem."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
