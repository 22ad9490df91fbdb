"""The way to the model server: its connections, each used again for as long as the server will have it."""

import asyncio
import math
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import certifi
from aiohappyeyeballs import start_connection

from tasks.model.connection import Connection, Unreachable

#: Seconds to reach the server.
CONNECT_TIMEOUT = 10.0
#: Seconds after which the next of a server's addresses is tried beside one that does not answer (RFC 8305).
NEXT_ADDRESS = 0.25
#: Seconds for which the addresses that a name server told are used; many replies may begin at once.
KNOWN = 10.0
#: Seconds that an unused connection is kept; less than the 5 after which uvicorn, and so vLLM, closes it.
KEEP_ALIVE = 4.0
#: Seconds that a finished answer has for its last bytes, so that its connection can be used again.
DRAIN = 0.25


#: What an address may hold besides letters and digits; quoted or not, it goes out as it was set.
_SAFE = "/?%:@!$&'()*+,;=~"


class Upstream:
    """Connections to the server of `url`, as many as there are requests at once: those are limited elsewhere."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host = (parts.hostname or "").encode("idna").decode()
        self._tls = _trusted() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._head = _head(parts.path, parts.query, {"Host": _authority(self._host, parts.port), **headers})
        self._addresses: list[Any] = []
        self._known_until = -math.inf
        self._open: set[Connection] = set()
        #: Those that nobody uses; the last one used is used first.
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def post(self, body: bytes) -> AsyncIterator[Connection]:
        """Send a request; entered when the head of its answer has come. Who leaves with an error hangs up.

        Raises OSError or NotHttp.
        """
        connection = self._idle.pop() if self._idle else await self._connect()
        patience = 0.0
        try:
            await connection.ask(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body))
            yield connection
            patience = DRAIN
        finally:
            connection.leave(patience)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open:
            connection.close()

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connected()
        except OSError as error:
            raise Unreachable(f"{self._host}:{self._port}") from error

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        reached = await start_connection(await self._where(), happy_eyeballs_delay=NEXT_ADDRESS)
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._free, self._lost),
                sock=reached,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            reached.close()
            raise
        self._open.add(connection)
        return connection

    async def _where(self) -> list[Any]:
        """The server's addresses, as `getaddrinfo` gives them."""
        loop = asyncio.get_running_loop()
        if loop.time() > self._known_until:
            self._addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._known_until = loop.time() + KNOWN
        return self._addresses

    def _free(self, connection: Connection) -> None:
        self._idle.append(connection)
        connection.close_in(KEEP_ALIVE)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def _head(path: str, query: str, headers: dict[str, str]) -> bytes:
    """The beginning of every request."""
    target = quote(f"{path or '/'}?{query}" if query else path or "/", safe=_SAFE)
    lines = (f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "")
    return "\r\n".join(lines).encode("latin-1")


def _authority(host: str, port: int | None) -> str:
    """The server as a Host header names it."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def _trusted() -> ssl.SSLContext:
    """Mozilla's list of who may vouch for a server, unless OpenSSL's own variables name others."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
