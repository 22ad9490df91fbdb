"""Redis for many callers at once, and whether it can hold conversations at all."""

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from tasks.errors import StorageError, StorageUnavailable
from tasks.storage.redis_line import COMMAND_TIMEOUT, CONNECTING, Command, Line, command_of, translated
from tasks.storage.scripts import Script

#: Seconds before a command is sent again; every command of ours may be: scripts know what they have done already.
PAUSES = (0.1, 0.2, 0.4)
BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)


def pool_for_library(url: str, *, max_connections: int) -> Any:
    """Connections for a library that brings its own commands."""
    return aioredis.BlockingConnectionPool.from_url(
        url,
        **CONNECTING,
        max_connections=max_connections,
        timeout=COMMAND_TIMEOUT,
        socket_timeout=COMMAND_TIMEOUT,
        retry=Retry(BACKOFF, len(PAUSES)),
    )


class RedisClient:
    """Lines for many callers at once, whose commands are sent again if their answer was lost."""

    def __init__(
        self, url: str, *, max_connections: int, timeout: float = COMMAND_TIMEOUT, retries: int = len(PAUSES)
    ) -> None:
        self._url = url
        self._pauses = PAUSES[:retries]
        self._places = asyncio.Semaphore(max_connections)
        #: The last used is used first, so that a quiet process keeps few connections.
        self._free = [Line(url, timeout=timeout) for _ in range(max_connections)]

    async def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        return (await self._run(command))[0]

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Raises StorageError."""
        return await self.command(*command_of(script, keys, args))

    async def together(self, *commands: Command, atomic: bool = True) -> list[Any]:
        """Run commands in one round trip; `atomic`, with nothing of anybody else's in between.

        Raises StorageError.
        """
        if not atomic:
            return await self._run(*commands)
        answers: list[Any] = (await self._run(("MULTI",), *commands, ("EXEC",)))[-1]
        return answers

    def line(self, timeout: float = COMMAND_TIMEOUT) -> Line:
        """A connection of its own to the same server."""
        return Line(self._url, timeout=timeout)

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._free:
            await line.aclose()

    async def _run(self, *commands: Command) -> list[Any]:
        with translated:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._places.acquire()
        line = self._free.pop()
        try:
            return await self._retry(line, commands)
        finally:
            self._free.append(line)
            self._places.release()

    async def _retry(self, line: Line, commands: Sequence[Command]) -> list[Any]:
        for pause in self._pauses:
            try:
                return await line.together(*commands)
            except StorageUnavailable:
                await asyncio.sleep(pause)
        return await line.together(*commands)


async def require_json(client: RedisClient) -> None:
    """Check that this Redis can hold conversations.

    Raises StorageError with the sentence to act on: unreachable, or without JSON.
    """
    try:
        await client.command("JSON.GET", "parley:{check}:json", "$")
    except StorageError as error:
        if "unknown command" in str(error).lower():
            raise StorageError(
                "This Redis has no JSON: use Redis 8, Redis Cloud (the add-on on Heroku) or Redis Stack."
            ) from error
        raise


async def wait_for_redis(client: RedisClient, seconds: float) -> None:
    """Wait until Redis answers and has JSON. Raises StorageError when the time is over or JSON is missing."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await require_json(client)
        except StorageError as error:
            if "no JSON" in str(error) or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.5)
