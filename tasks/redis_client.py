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

from tasks.errors import StorageAway, StorageError
from tasks.scripts import ALL, Script

#: Seconds after which a command that should be quick counts as lost.
COMMAND_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3.0
#: Seconds before a command is sent again; every command of ours may be: scripts know what they have done already.
PAUSES = (0.1, 0.2, 0.4)

#: What every connection of ours has in common.
CONNECTING: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}
BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)

NO_CONNECTION = "Redis has no connection left: start fewer processes, or choose a plan with more connections."

Command = tuple[Any, ...]


def pool_for_library(url: str, *, max_connections: int) -> Any:
    """Connections for a library that brings its own commands."""
    return aioredis.BlockingConnectionPool.from_url(
        url,
        **CONNECTING,
        max_connections=max_connections,
        timeout=COMMAND_TIMEOUT,
        socket_timeout=COMMAND_TIMEOUT,
        retry=AsyncRetry(BACKOFF, len(PAUSES)),
    )


def command_of(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Command:
    """The command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


class Line:
    """A connection for one caller, who sends commands one after the other, each once.

    A pool, its retries and its time limits cost more than such a command itself. After a failure the next
    command connects again.
    """

    def __init__(self, url: str, *, timeout: float = COMMAND_TIMEOUT) -> None:
        # It knows how to connect to what the address names; redis-py leaves `make_connection` untyped.
        pool: Any = aioredis.ConnectionPool.from_url(
            url, **CONNECTING, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._timeout = timeout

    async def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        return (await self.together(command))[0]

    async def together(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip. Raises StorageError, also if one of them was refused."""
        with translated():
            try:
                return _accepted(await self._ask(commands))
            except redis.exceptions.NoScriptError:
                # fakeredis hangs up after a refusal.
                await self.aclose()
                return _accepted(await self._ask((*_LESSONS, *commands)))[len(_LESSONS) :]

    async def send(self, *command: Any) -> None:
        """Send one command, whose answers `receive` takes. Raises StorageError."""
        with translated():
            async with asyncio.timeout(self._timeout):
                await self._connection.send_packed_command(hiredis.pack_command(command), check_health=False)

    async def receive(self) -> Any:
        """Wait for the next answer, however long. Raises StorageError."""
        with translated():
            return await self._connection.read_response(timeout=math.inf)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Redis' answer to each, a refusal as an exception; what follows a refusal may be missing."""
        answers: list[Any] = []
        async with asyncio.timeout(self._timeout):
            packed = b"".join(map(hiredis.pack_command, commands))
            await self._connection.send_packed_command(packed, check_health=False)
            for _ in commands:
                try:
                    answers.append(await self._connection.read_response(timeout=math.inf))
                except redis.ResponseError as refusal:
                    answers.append(refusal)
                except redis.ConnectionError:
                    if not any(isinstance(answer, redis.ResponseError) for answer in answers):
                        raise
                    break
        return answers


class ThreadLine:
    """The same for one thread without an event loop; redis-py's own client takes as long again as such a command."""

    def __init__(self, url: str, *, timeout: float) -> None:
        pool = redis.ConnectionPool.from_url(url, **CONNECTING, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))
        self._connection: Any = pool.make_connection()

    def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        with translated():
            try:
                return self._ask(command)
            except redis.exceptions.NoScriptError:
                # fakeredis hangs up after a refusal.
                self.close()
                return [self._ask(each) for each in (*_LESSONS, command)][-1]

    def close(self) -> None:
        """Close the connection, from any thread; who waits there gets a StorageError."""
        self._connection.disconnect()

    def _ask(self, command: Command) -> Any:
        self._connection.send_packed_command([hiredis.pack_command(command)], check_health=False)
        return self._connection.read_response()


#: What a server that does not know a script is told first.
_LESSONS: tuple[Command, ...] = tuple(("SCRIPT", "LOAD", script.text) for script in ALL)


def _accepted(answers: list[Any]) -> list[Any]:
    """Raise the first refusal among answers, those of a transaction included."""
    for answer in answers:
        for one in answer if isinstance(answer, list) else (answer,):
            if isinstance(one, redis.ResponseError):
                raise one
    return answers


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
        with translated():
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._places.acquire()
        line = self._free.pop()
        try:
            return await self._insist(line, commands)
        finally:
            self._free.append(line)
            self._places.release()

    async def _insist(self, line: Line, commands: Sequence[Command]) -> list[Any]:
        for pause in self._pauses:
            try:
                return await line.together(*commands)
            except StorageAway:
                await asyncio.sleep(pause)
        return await line.together(*commands)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into StorageError, each with the sentence an operator needs."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise StorageError("Redis refuses the name or password in REDIS_URL.") from error
    except (redis.ConnectionError, redis.TimeoutError, TimeoutError, OSError) as error:
        if "max number of clients" in str(error):
            raise StorageAway(NO_CONNECTION) from error
        raise StorageAway(f"Redis cannot be reached ({type(error).__name__}).") from error
    except RuntimeError as error:
        # uvloop's word for a connection that was closed a moment ago; redis-py does not know it.
        raise StorageAway(f"Redis cannot be reached ({error}).") from error
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
