"""A connection to Redis for one caller: commands out, answers in, Redis' errors translated into ours.

redis-py opens it. From then on the answers come straight from the socket: the layers that redis-py has in between cost
more than what a busy moment's commands do.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
import redis.asyncio as aioredis
from redis.asyncio.connection import DefaultParser
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import StorageError, StorageUnavailable
from tasks.storage.scripts import ALL, Script

#: Seconds after which a command that should be quick counts as lost.
COMMAND_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3.0

#: What every connection of ours has in common.
CONNECTING: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}

NO_CONNECTION = "Redis has no connection left: start fewer processes, or choose a plan with more connections."

Command = tuple[Any, ...]

#: What a server that does not know a script is told first.
_LESSONS: tuple[Command, ...] = tuple(("SCRIPT", "LOAD", script.text) for script in ALL)

#: What the parser says when it needs more bytes.
_UNFINISHED = object()


def command_of(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Command:
    """The command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


class _Translated:
    """Turns redis-py's errors into StorageError, each with the sentence an operator needs."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error and (ours := _translation(error)):
            raise ours from error


translated = _Translated()


def _translation(error: BaseException) -> StorageError | None:
    match error:
        case redis.AuthenticationError():
            return StorageError("Redis refuses the name or password in REDIS_URL.")
        case redis.ConnectionError() | redis.TimeoutError() | OSError():
            if "max number of clients" in str(error):
                return StorageUnavailable(NO_CONNECTION)
            return StorageUnavailable(f"Redis cannot be reached ({type(error).__name__}).")
        case RuntimeError():
            # uvloop's word for a connection that was closed a moment ago; redis-py does not know it.
            return StorageUnavailable(f"Redis cannot be reached ({error}).")
        case redis.exceptions.OutOfMemoryError():
            return StorageError("Redis is full: raise its maxmemory or let conversations expire sooner.")
        case redis.exceptions.ReadOnlyError():
            return StorageError("Redis is read-only: REDIS_URL must point to the primary.")
        case redis.RedisError():
            return StorageError(f"Redis refused a command: {error}")
    return None


class Line:
    """A connection whose caller sends commands one after the other, each once.

    After a failure the next command connects again.
    """

    def __init__(self, url: str, *, timeout: float = COMMAND_TIMEOUT) -> None:
        # It knows how to connect to what the address names; redis-py leaves `make_connection` untyped.
        pool: Any = aioredis.ConnectionPool.from_url(
            url, **CONNECTING, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._connection = pool.make_connection()
        self._socket: _Socket | None = None
        self._timeout = timeout

    async def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        return (await self.together(command))[0]

    async def together(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip. Raises StorageError, also if one of them was refused."""
        with translated:
            try:
                return _accepted(await self._ask(commands))
            except redis.exceptions.NoScriptError:
                # fakeredis hangs up after a refusal.
                await self.aclose()
                return _accepted(await self._ask((*_LESSONS, *commands)))[len(_LESSONS) :]

    async def send(self, *command: Any) -> None:
        """Send one command, whose answers `receive` takes. Raises StorageError."""
        with translated:
            await self._sent((command,))

    async def receive(self) -> Any:
        """Wait for the next answer, however long. Raises StorageError."""
        with translated:
            if self._socket is None:
                raise redis.ConnectionError("closed")
            return _accepted(await self._socket.answers(1))[0]

    async def aclose(self) -> None:
        """Close the connection; who waits for an answer gets a StorageError."""
        self._socket = None
        await self._connection.disconnect(nowait=True)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await (await self._sent(commands)).answers(len(commands), self._timeout)
        except BaseException:
            await self.aclose()
            raise

    async def _sent(self, commands: Sequence[Command]) -> "_Socket":
        """Send commands, over a new connection if there is none."""
        packed = b"".join(map(hiredis.pack_command, commands))
        if self._socket is None or self._socket.lost:
            async with asyncio.timeout(self._timeout):
                await self.aclose()
                await self._connection.connect()
            self._socket = _Socket(self._connection)
        self._socket.send(packed)
        return self._socket


class _Socket(asyncio.Protocol):
    """A connection's socket once redis-py has opened it, and said who we are."""

    def __init__(self, connection: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(redis.InvalidResponse, DefaultParser.parse_error, notEnoughData=_UNFINISHED)
        self._answers: list[Any] = []
        self._waiter: asyncio.Future[None] | None = None
        self._trouble: Exception | None = None
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)

    @property
    def lost(self) -> bool:
        """Whether nothing more can be sent or heard."""
        return self._trouble is not None or self._transport.is_closing()

    def send(self, packed: bytes) -> None:
        """Send what is packed already."""
        self._transport.write(packed)

    async def answers(self, count: int, timeout: float | None = None) -> list[Any]:
        """Wait for so many, refusals among them as exceptions; what follows a refusal may be missing.

        Raises redis-py's ConnectionError or InvalidResponse, or TimeoutError after `timeout` seconds.
        """
        timer = self._loop.call_later(timeout, self._fail, TimeoutError("no answer")) if timeout else None
        try:
            while len(self._answers) < count and not self._trouble:
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            if timer:
                timer.cancel()
        return self._take(count)

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets()) is not _UNFINISHED:
                self._answers.append(answer)
        except redis.InvalidResponse as error:
            self._fail(error)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(redis.ConnectionError(str(exc or "closed by Redis")))

    def _take(self, count: int) -> list[Any]:
        taken, self._answers = self._answers[:count], self._answers[count:]
        if self._trouble and len(taken) < count and not any(isinstance(answer, Exception) for answer in taken):
            raise self._trouble
        return taken

    def _fail(self, trouble: Exception) -> None:
        self._trouble = self._trouble or trouble
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class ThreadLine:
    """The same for one thread without an event loop; redis-py's own client takes as long again as such a command."""

    def __init__(self, url: str, *, timeout: float) -> None:
        pool = redis.ConnectionPool.from_url(url, **CONNECTING, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))
        self._connection: Any = pool.make_connection()

    def command(self, *command: Any) -> Any:
        """Run one command. Raises StorageError."""
        with translated:
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


def _accepted(answers: list[Any]) -> list[Any]:
    """Raise the first refusal among answers, those of a transaction included."""
    for answer in answers:
        for one in answer if isinstance(answer, list) else (answer,):
            if isinstance(one, redis.RedisError):
                raise one
    return answers
