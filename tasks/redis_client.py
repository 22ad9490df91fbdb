"""How to talk to Redis: connections, time limits, scripts, and its errors translated into ours."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from tasks.errors import StorageError
from tasks.scripts import ALL, Script

#: Seconds after which a command that should be quick counts as lost.
COMMAND_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3.0
#: Every command we send may be sent again: scripts know what they have done already.
RETRIES = 3

NO_CONNECTION = "Redis has no connection left: start fewer processes, or choose a plan with more connections."

Command = tuple[Any, ...]


def sync_client(
    url: str, *, max_connections: int, timeout: float = COMMAND_TIMEOUT, retries: int = RETRIES
) -> redis.Redis:
    """A client for Dramatiq's threads; callers wait for a free connection instead of failing."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=COMMAND_TIMEOUT,
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_keepalive=True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
    )
    return redis.Redis(connection_pool=pool)


def command_of(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Command:
    """The command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


class RedisClient:
    """An asynchronous client whose errors are ours and whose scripts are always known to the server."""

    def __init__(
        self, url: str, *, max_connections: int, timeout: float = COMMAND_TIMEOUT, retries: int = RETRIES
    ) -> None:
        self._url = url
        #: For a library that brings its own commands.
        self.pool = aioredis.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=COMMAND_TIMEOUT,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_keepalive=True,
            retry=AsyncRetry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        )
        # redis-py leaves `execute_command` untyped.
        self._redis: Any = aioredis.Redis(connection_pool=self.pool)
        # Replies as Redis sends them: its shapes are the same for every command and every version of the library.
        self._redis.response_callbacks.clear()

    async def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        with translated():
            return await self._redis.execute_command(*command)

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Raises StorageError."""
        with translated():
            try:
                return await self._redis.execute_command(*command_of(script, keys, args))
            except redis.exceptions.NoScriptError:
                await self._teach()
                return await self._redis.execute_command(*command_of(script, keys, args))

    async def together(self, *commands: Command, atomic: bool = True) -> list[Any]:
        """Run commands in one round trip; `atomic`, with nothing of anybody else's in between.

        Raises StorageError.
        """
        with translated():
            try:
                return await self._pipeline(commands, atomic)
            except redis.exceptions.NoScriptError:
                await self._teach()
                return await self._pipeline(commands, atomic)

    def line(self, timeout: float = COMMAND_TIMEOUT) -> "Line":
        """A connection of its own to the same server."""
        return Line(self._url, timeout=timeout)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self.pool.disconnect()

    async def _pipeline(self, commands: Sequence[Command], atomic: bool) -> list[Any]:
        async with self._redis.pipeline(transaction=atomic) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute())

    async def _teach(self) -> None:
        for script in ALL:
            await self._redis.execute_command("SCRIPT LOAD", script.text)


class Line:
    """A connection for one caller, who sends many commands, one after the other, each once.

    A pool, its retries and its time limits cost more than such a command itself. After a failure the next
    command connects again.
    """

    def __init__(self, url: str, *, timeout: float = COMMAND_TIMEOUT) -> None:
        # It knows how to connect to what the address names; redis-py leaves `make_connection` untyped.
        pool: Any = aioredis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_keepalive=True,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        self._connection = pool.make_connection()
        self._timeout = timeout

    async def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        with translated():
            return await self._run(command)

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Raises StorageError."""
        command = command_of(script, keys, args)
        with translated():
            try:
                return await self._run(command)
            except redis.exceptions.NoScriptError:
                # fakeredis hangs up after an error; the whole text teaches and runs it in one command.
                await self._connection.disconnect()
                return await self._run(("EVAL", script.text, *command[2:]))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _run(self, command: Command) -> Any:
        connection = self._connection
        async with asyncio.timeout(self._timeout):
            await connection.send_packed_command(hiredis.pack_command(command), check_health=False)
            return await connection.read_response(timeout=math.inf)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into StorageError, each with the sentence an operator needs."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise StorageError("Redis refuses the name or password in REDIS_URL.") from error
    except (redis.ConnectionError, redis.TimeoutError, TimeoutError, OSError) as error:
        if "max number of clients" in str(error):
            raise StorageError(NO_CONNECTION) from error
        raise StorageError(f"Redis cannot be reached ({type(error).__name__}).") from error
    except RuntimeError as error:
        # uvloop's word for a connection that was closed a moment ago; redis-py does not know it.
        raise StorageError(f"Redis cannot be reached ({error}).") from error
    except redis.exceptions.OutOfMemoryError as error:
        raise StorageError("Redis is full: raise its maxmemory or let conversations expire sooner.") from error
    except redis.exceptions.ReadOnlyError as error:
        raise StorageError("Redis is read-only: REDIS_URL must point to the primary.") from error
    except redis.RedisError as error:
        raise StorageError(f"Redis refused a command: {error}") from error


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
