"""Proxies between Parley and every node of its Redis, so that a test can cut, stall or slow the way to any kind."""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from tasks.storage.client import RedisClient
from tests.support.cluster import Cluster, Watched
from tests.support.proxy import Proxy


class Between:
    """For one event loop, while its block lasts; all who come to the server then are led through it.

    Args:
        server: as `start_server` starts it. Its replicas' own connections lead through here too.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._proxies = {node.port: Proxy(node.port) for node in getattr(server, "nodes", [server])}
        self._closing = AsyncExitStack()
        #: A client that is not led through here.
        self.direct = RedisClient(
            server.primary.url if isinstance(server, Watched) else server.url, max_connections=2, retries=0
        )
        #: The address that leads through here, as REDIS_URL has it.
        self.url = server.url

    async def __aenter__(self) -> Self:
        # It knows a cluster's nodes from now on, and nobody tells it of other ports unless a slot moves.
        await self.direct.is_cluster()
        for proxy in self._proxies.values():
            await self._closing.enter_async_context(proxy)
        ports = {port: proxy.port for port, proxy in self._proxies.items()}
        if isinstance(self._server, (Cluster, Watched)):
            await asyncio.to_thread(self._server.announce, ports)
        if not isinstance(self._server, Watched):
            self.url = f"redis://{','.join(f'127.0.0.1:{port}' for port in ports.values())}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.direct.aclose()
        if isinstance(self._server, (Cluster, Watched)):
            await asyncio.to_thread(self._server.announce, {})
        await self._closing.aclose()

    def cut(self) -> None:
        """Break every connection, without a goodbye."""
        for proxy in self._proxies.values():
            proxy.cut()

    async def stall(self, seconds: float) -> None:
        """Pass nothing on for a while; connections stay open."""
        await asyncio.gather(*(proxy.stall(seconds) for proxy in self._proxies.values()))

    def hold_back(self, seconds: float) -> None:
        """Hold every piece of data back for so long, each way, from now on."""
        for proxy in self._proxies.values():
            proxy.delay = seconds

    def refuse(self) -> None:
        """Break every connection and let nobody in until `admit`."""
        for proxy in self._proxies.values():
            proxy.refusing = True
        self.cut()

    async def admit(self) -> None:
        """Let everybody in again; returns once the nodes have each other again."""
        for proxy in self._proxies.values():
            proxy.refusing = False
        if isinstance(self._server, Cluster):
            await asyncio.to_thread(self._server.wait_whole)
