"""What strangers do below the contract: connections that never become requests, floods, bytes that are no protocol."""

import asyncio
import contextlib
import os
import random
import socket
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import websockets

from api.frames import SUBPROTOCOL
from tasks.storage.conversations import reply_id
from tests.fuzz.values import NASTY
from tests.support.client import Chat, new_token

Done = Counter[str]


class Target:
    """Where the attack goes, for how long, and what it has done so far."""

    def __init__(self, url: str, seconds: float, seed: int) -> None:
        self.url = url
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self.random = random.Random(seed)
        self.done: Done = Counter()
        self._end = time.monotonic() + seconds
        self.move()

    def move(self) -> None:
        """Come from another address from now on, as the platform's proxy tells."""
        self.address = f"100.{64 + self.random.randrange(64)}.{self.random.randrange(256)}.{self.random.randrange(256)}"

    @property
    def left(self) -> float:
        """Seconds until the attack is over."""
        return self._end - time.monotonic()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection without a word said."""
        self.done["connections"] += 1
        return await asyncio.open_connection(self.host, self.port)

    async def connect_deaf(self) -> asyncio.StreamWriter:
        """A connection on which nothing is read, and hardly anything by the kernel in our place."""
        self.done["connections"] += 1
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_connect(deaf, (self.host, self.port))
        _, writer = await asyncio.open_connection(sock=deaf)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        return writer

    async def say(self, *parts: bytes, patience: float = 5.0) -> bytes:
        """Send bytes on a connection of their own; what comes back until it is closed or quiet."""
        reader, writer = await self.connect()
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                answer = await reader.read(65536)
        writer.transport.abort()
        self.done[answer[:12].decode("latin-1") or "no answer"] += 1
        if answer.startswith(b"HTTP/1.1 5"):
            self.done["server errors"] += 1
        return answer

    def chat(self, token: str) -> Chat:
        """A socket of the attacker's."""
        self.done["sockets"] += 1
        return Chat(self.url, token, additional_headers={"X-Forwarded-For": self.address})

    async def token(self) -> str:
        """A session of the attacker's."""
        return await new_token(self.url, headers={"X-Forwarded-For": self.address})


def handshake(target: Target, token: str) -> bytes:
    """The request that opens a stream socket."""
    return (
        f"GET /chat?token={token} HTTP/1.1\r\nHost: {target.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nX-Forwarded-For: {target.address}\r\n\r\n"
    ).encode()


async def hang_up(chat: Chat, reading: asyncio.Task[int]) -> None:
    """Be gone without a word, leaving unread what was sent last."""
    chat.socket.transport.abort()
    await asyncio.gather(reading, return_exceptions=True)


async def come_again(target: Target, crowd: int, flood: Callable[[Chat], Awaitable[None]]) -> None:
    """So many at once, each of whom floods until it is closed, and then comes again, until the attack is over."""

    async def insist() -> None:
        token = await target.token()
        while target.left > 0:
            try:
                async with target.chat(token) as chat:
                    reading = asyncio.create_task(chat.closed_with())
                    with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
                        await flood(chat)
                    await hang_up(chat, reading)
                target.done.update(str(frame.get("code", frame["type"])) for frame in chat.frames)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                target.done[f"refused: {type(error).__name__}"] += 1

    await asyncio.gather(*(insist() for _ in range(crowd)))


async def slow_handshakes(target: Target) -> None:
    """Handshakes that come a letter at a time and never end."""

    async def drip() -> None:
        while target.left > 0:
            reader, writer = await target.connect()
            with contextlib.suppress(OSError):
                for letter in handshake(target, "x" * 43)[:-2] + b"X-Slow: " + b"z" * 100_000:
                    if target.left < 0 or reader.at_eof():
                        break
                    writer.write(bytes([letter]))
                    await writer.drain()
                    await asyncio.sleep(0.2)
            writer.close()

    await asyncio.gather(*(drip() for _ in range(300)), return_exceptions=True)


async def half_open_sockets(target: Target) -> None:
    """Sockets that are opened and then neither read nor closed, while their conversation is busy."""
    token = await target.token()
    open_ones = []
    for _ in range(90):
        writer = await target.connect_deaf()
        writer.write(handshake(target, token))
        open_ones.append(writer)
    async with target.chat(token) as chat:
        while target.left > 0:
            await chat.send("Speak to those who do not listen")
            target.done[(await chat.until("reply.finished", "reply.failed", "error"))["type"]] += 1
            await asyncio.sleep(0.05)
    for writer in open_ones:
        writer.close()


async def sockets(target: Target, most: int = 5000) -> None:
    """Thousands of sockets from one address; the allowed ones stay open, the others are told why not."""
    token = await target.token()
    gate = asyncio.Semaphore(50)

    async def open_one() -> None:
        async with gate:
            if target.left < 0:
                return
            chat = target.chat(token)
            try:
                await chat.__aenter__()
                await chat.next()
                target.done["open"] += 1
                held.append(chat)
            except websockets.ConnectionClosed as closed:
                target.done[f"closed {closed.rcvd.code if closed.rcvd else 'without a code'}"] += 1
            except (OSError, TimeoutError, websockets.InvalidHandshake) as error:
                target.done[type(error).__name__] += 1

    held: list[Chat] = []
    await asyncio.gather(*(open_one() for _ in range(most)))
    await asyncio.gather(*(chat.__aexit__(None, None, None) for chat in held), return_exceptions=True)


async def sends(target: Target) -> None:
    """Messages as fast as the wire takes them, on several sockets."""

    async def flood(chat: Chat) -> None:
        while target.left > 0:
            await asyncio.wait_for(chat.send("More"), target.left)
            target.done["sent"] += 1

    await come_again(target, 20, flood)


async def nonsense(target: Target) -> None:
    """Frames that are refused, as fast as the wire takes them."""

    async def flood(chat: Chat) -> None:
        while target.left > 0:
            await asyncio.wait_for(chat.socket.send(target.random.choice(NASTY)), target.left)
            target.done["sent"] += 1

    await come_again(target, 20, flood)


async def questions(target: Target) -> None:
    """Frames that cost something and are no messages: stops, retries, and the same message again."""

    async def flood(chat: Chat) -> None:
        id = await chat.send("Once")
        while target.left > 0:
            frame = target.random.choice(["reply.stop", "reply.retry", "message.send"])
            again = {"type": frame, "to": id, "id": id, "text": "Once"}
            await asyncio.wait_for(chat.send_frame(again), target.left)
            target.done[frame] += 1

    await come_again(target, 10, flood)


async def pings(target: Target) -> None:
    """Pings by the thousand."""

    async def flood(chat: Chat) -> None:
        while target.left > 0:
            await asyncio.wait_for(chat.socket.ping(os.urandom(8)), target.left)
            target.done["pings"] += 1

    await come_again(target, 5, flood)


async def bodies(target: Target, megabytes: int = 100) -> None:
    """Bodies of 100 MB for calls that take none: announced, in chunks, and announced but never sent."""
    piece = b"x" * 1_000_000
    head = f"POST /token?name=Body HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {target.address}\r\n".encode()
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    while target.left > 0:
        announced = head + b"Content-Length: %d\r\n\r\n" % (len(piece) * megabytes)
        await target.say(announced, *[piece] * megabytes, patience=30)
        await target.say(head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * megabytes, patience=30)
        await target.say(announced, b"x", patience=2)
        target.done["megabytes"] += 2 * megabytes


async def headers(target: Target) -> None:
    """Requests with too many headers, too long ones, and none that end."""
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    while target.left > 0:
        await target.say(start, *[b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(5000)])
        await target.say(start + b"X-Long: ", *[b"z" * 65536] * 50)
        await target.say(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await target.say(start + b"\r\n" * 1000)


async def requests(target: Target) -> None:
    """Bytes that are nearly HTTP."""
    lines = [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%00/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /assets/%2e%2e/%2e%2e/%2e%2e/README.md HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /assets/%00.js HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"%2f" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,1-1,2-2\r\n\r\n",
        b"GET /icon.svg HTTP/1.1\r\nHost: a\r\nRange: bytes=999999999-\r\n\r\n",
        b"GET /index.html HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: \x80 yesterday\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: \xff\xff\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: http://[::1\r\n\r\n",
        b"POST /token?name=%ff%fe%ed%a0%80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /token?name=a&name=b&name[]=c&&&=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"GET /\xe9?token=\xff HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        handshake(target, "x").replace(b"Version: 13", b"Version: 99"),
        handshake(target, "x").replace(b"chat.stream.v1", b"chat.stream.v1, " * 500),
        handshake(target, "x").replace(b"/chat?", b"/nowhere?"),
        handshake(target, "x").replace(b"Host:", b"Origin: http://[::1\r\nHost:"),
    ]
    while target.left > 0:
        line = target.random.choice(lines)
        if target.random.random() < 0.5:
            cut = bytearray(line)
            for _ in range(3):
                cut[target.random.randrange(len(cut))] = target.random.randrange(256)
            line = bytes(cut)
        await target.say(line, patience=0.5)


async def bits(target: Target) -> None:
    """After a good handshake, bytes that are nearly frames."""
    token = await target.token()
    frames = [
        b"\x81\x05hello",  # not masked
        b"\xf1\x80\0\0\0\0",  # reserved bits
        b"\x83\x80\0\0\0\0",  # no such opcode
        b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0",  # as long as numbers go
        b"\x81\xff\0\0\0\x10\0\0\0\0" + b"\0\0\0\0" + b"x" * 1000,  # 64 GB announced
        b"\x89\xfe\xff\xff\0\0\0\0",  # a ping with a long body
        b"\x80\x80\0\0\0\0",  # a continuation of nothing
        b"\x01\x81\0\0\0\0x" + b"\x00\x81\0\0\0\0x" * 30_000,  # a message in pieces without an end
        b"\x81\x82\0\0\0\0\xff\xff",  # not UTF-8
        b"\x81\x83\0\0\0\0\xed\xa0\x80",  # a lone surrogate
        b"\x88\x82\0\0\0\0\x03\xe7",  # a close code that is none
        b"\x88\x81\0\0\0\0\x03",  # half a close code
        b"\x82\xfe\xff\xff\0\0\0\0" + b"\0" * 65535,  # as big as allowed, and binary
    ]
    while target.left > 0:
        frame = target.random.choice([*frames, os.urandom(200)])
        await target.say(handshake(target, token), frame, patience=0.5)


async def tokens(target: Target) -> None:
    """Tokens that were never given out, as fast as answers come."""
    while target.left > 0:
        token = target.random.choice([*NASTY, uuid.uuid4().hex * 2, "x" * 5000, "A" * 43])
        escaped = quote(token.encode("utf-8", "replace"))
        await target.say(f"GET /refresh_token?token={escaped} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), patience=2)
        await target.say(handshake(target, escaped), patience=2)


async def deaf_pings(target: Target) -> None:
    """Pings as fast as they go, from sockets that read none of the answers."""
    token = await target.token()
    ping = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 100

    async def flood() -> None:
        while target.left > 0:
            reader, writer = await target.connect()
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                writer.write(handshake(target, token))
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                while target.left > 0:
                    writer.write(ping)
                    # Nobody takes them any more: come again.
                    await asyncio.wait_for(writer.drain(), 2)
                    target.done["pings"] += 100
            writer.transport.abort()

    await asyncio.gather(*(flood() for _ in range(3)))


async def deaf_downloads(target: Target) -> None:
    """The page's script, asked for thirty times on each of many connections that read nothing."""

    async def ask(path: str) -> None:
        writer = await target.connect_deaf()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {target.host}\r\n\r\n".encode() * 30)
        await asyncio.sleep(max(target.left, 0))
        writer.transport.abort()
        target.done["downloads"] += 30

    page = await target.say(f"GET / HTTP/1.1\r\nHost: {target.host}\r\n\r\n".encode())
    scripts = [word for word in page.decode("latin-1").split('"') if word.endswith(".js")]
    await asyncio.gather(*(ask((scripts or ["/"])[0]) for _ in range(300)), return_exceptions=True)


async def histories(target: Target) -> None:
    """A long conversation of control characters, asked for again and again by clients that hang up."""
    token = await target.token()
    async with target.chat(token) as chat:
        for _ in range(20):
            await chat.send("\x01" * 600)
            target.done[(await chat.until("message.accepted", "error"))["type"]] += 1
    from_us = f"Host: {target.host}\r\nX-Forwarded-For: {target.address}\r\n\r\n"
    ask = f"GET /refresh_token?token={token} HTTP/1.1\r\n{from_us}"

    async def hurry() -> None:
        while target.left > 0:
            _, writer = await target.connect()
            writer.write(ask.encode() * 5 if target.random.random() < 0.5 else handshake(target, token))
            with contextlib.suppress(OSError):
                await writer.drain()
            await asyncio.sleep(0.01)
            writer.transport.abort()
            target.done["asked and gone"] += 1

    await asyncio.gather(*(hurry() for _ in range(12)), return_exceptions=True)


async def networks(target: Target) -> None:
    """Sessions from ever new addresses of one /64."""
    while target.left > 0:
        address = f"2001:db8:66::{target.random.randrange(1 << 16):x}:{target.random.randrange(1 << 16):x}"
        start = f"POST /token?name=Many HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n"
        await target.say(f"{start}X-Forwarded-For: {address}\r\n\r\n".encode())


async def forged_ids(target: Target) -> None:
    """Retries and messages whose ids are those that replies will have."""
    while target.left > 0:
        # One address may not begin so many conversations.
        target.move()
        async with target.chat(await target.token()) as chat:
            first, second = str(uuid.uuid4()), str(uuid.uuid4())
            with contextlib.suppress(websockets.ConnectionClosed):
                await chat.send("One", first)
                await chat.until("reply.finished", "error")
                await chat.retry(first, reply_id(second))
                target.done[(await chat.until("reply.finished", "error"))["type"]] += 1
                await chat.send("Two", second)
                target.done[(await chat.until("reply.finished", "error"))["type"]] += 1
                await chat.send("Three", reply_id(first))
                target.done[(await chat.until("reply.finished", "error"))["type"]] += 1


Attack = Callable[[Target], Awaitable[None]]
#: What the application answers for, behind whatever proxy.
APPLICATION: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(half_open_sockets, sockets, sends, nonsense, questions, pings, deaf_pings, requests, bits, tokens),
        *(histories, networks, forged_ids),
    )
}
#: What only a server's insides can do against, and so the proxy in front: they go through Caddy.
PROXY: dict[str, Attack] = {attack.__name__: attack for attack in (slow_handshakes, bodies, headers, deaf_downloads)}
ATTACKS = APPLICATION | PROXY
