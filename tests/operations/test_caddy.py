"""Caddy in front of web answers for what only a server's insides can do against strangers."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets

from tests.fuzz.attacks import Target, handshake
from tests.support.caddy import caddy
from tests.support.client import Chat, new_token
from tests.support.stack import Stack, answers

#: Seconds that the Caddyfile gives a request to come whole, and an answer to be taken, with room for a slow machine.
ARRIVAL, TAKEN = 25.0, 60.0


@pytest.fixture(scope="module")
def front(running_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Plain HTTP through Caddy to the stack's first web process."""
    with caddy(running_stack.ports[0], tmp_path_factory.mktemp("caddy"), tls=False) as url:
        yield url


def connect(url: str, *, window: int = 0) -> socket.socket:
    """A connection; with a window, the kernel takes no more than so many bytes for us."""
    address = urlsplit(url)
    connection = socket.socket()
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect((address.hostname or "", address.port or 80))
    return connection


async def ends(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side ends a connection within the time; what it sends meanwhile is read."""
    reader, writer = await asyncio.open_connection(sock=connection)
    with contextlib.suppress(ConnectionError):
        try:
            async with asyncio.timeout(seconds):
                while await reader.read(65536):
                    pass
        except TimeoutError:
            return False
    writer.close()
    return True


async def test_over_https_a_conversation_is_held_and_sockets_are_wss(stack: Stack, tmp_path: Path) -> None:
    with caddy(stack.ports[0], tmp_path) as url:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        async with Chat(url, await new_token(stack.url), ssl=trusting) as chat:
            await chat.send("Who carries this?")
            await chat.until("reply.finished")


@pytest.mark.parametrize(
    "start",
    [b"", b"GET /hea", b"POST /token?name=A HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"],
    ids=["nothing", "half a line", "half a body"],
)
async def test_half_a_request_is_hung_up_on(front: str, start: bytes) -> None:
    connection = connect(front)
    connection.sendall(start)
    assert await ends(connection, ARRIVAL)


async def test_headers_without_an_end_and_tokens_without_an_end_are_refused(front: str) -> None:
    target = Target(front, 5, 0)
    endless = await target.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n", *[b"X: %s\r\n" % (b"y" * 1000)] * 500)
    assert endless.startswith(b"HTTP/1.1 431 ") or not endless
    answer = await target.say(handshake(target, "x" * 13_000))
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_body_for_a_call_that_takes_none_is_not_passed_on(front: str) -> None:
    async with httpx.AsyncClient(base_url=front) as http:
        refused = await http.post("/token?name=Ada", content=b"x" * 100_000)
        # Caddy 2.6 calls it a gateway's fault that the body is too large. The application reads no body, so on a busy
        # machine its answer can come before Caddy has seen too much of it.
        assert refused.status_code in (413, 502, 200)
        assert (await http.post("/token?name=Ada")).status_code == 200


async def test_who_asks_and_does_not_read_is_hung_up_on(front: str) -> None:
    async with httpx.AsyncClient(base_url=front) as http:
        path = next(word for word in (await http.get("/")).text.split('"') if word.endswith(".js"))
    connection = connect(front, window=4096)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 30)
    connection.setblocking(False)
    async with asyncio.timeout(TAKEN):
        while writable(connection):
            await asyncio.sleep(0.5)
    connection.close()


def writable(connection: socket.socket) -> bool:
    """Whether the other side has not hung up yet."""
    try:
        connection.send(b"\r")
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return True


async def test_a_web_process_that_is_started_anew_is_waited_for(own_stack: Stack, tmp_path: Path) -> None:
    web = own_stack.start_web()
    with caddy(own_stack.ports[0], tmp_path, tls=False) as url:
        web.stop()
        asking = asyncio.create_task(new_token(url))
        await asyncio.to_thread(web.start)
        assert await asking
        assert answers(f"{url}/healthz")


async def test_each_visitor_has_limits_of_their_own_and_what_they_claim_moves_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    with (
        stack.another_web(TRUSTED_PROXIES="1", LIMIT_SESSIONS_PER_HOUR="2") as web,
        caddy(urlsplit(web).port or 0, tmp_path, tls=False) as url,
    ):
        claims = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(4)]
        # An address of its own on the loopback network, since counts stay in Redis.
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.77")
        async with httpx.AsyncClient(base_url=url, transport=transport) as http:
            statuses = [(await http.post("/token?name=Ada", headers=claim)).status_code for claim in claims]
    assert statuses == [200, 200, 429, 429]


async def test_a_quiet_socket_stays_open_past_every_time_out_of_the_proxy(front: str) -> None:
    async with Chat(front, await new_token(front)) as chat:
        await chat.until("snapshot")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(40):
                while True:
                    await chat.next()
        assert chat.socket.state is websockets.State.OPEN
        await chat.send("Still here")
        await chat.until("reply.finished")
