"""Redis for many callers at once: redis-py's client, its pool and its retries, with its errors turned into ours.

Every command may be sent twice, since the answer to the first sending can be lost: a script knows what it has done
already, and counts carry the number of their batch. What may not be sent twice takes a client without retries.
"""

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from tasks.errors import StorageError, StorageUnavailableError
from tasks.storage.scripts import Script

#: Seconds after which a command counts as lost. All of ours are quick.
COMMAND_TIMEOUT = 5.0
#: Seconds that opening a connection may take.
CONNECT_TIMEOUT = 3.0
#: How often a command is sent again, and the seconds between: 0.1, 0.2, 0.4.
RETRIES = 3
BACKOFF = ExponentialBackoff(base=0.05, cap=0.5)

#: Answers of a server that is the wrong one, or not yet ready. A new connection may lead to the right one, so these
#: drop the connection and are tried again.
WRONG_SERVER = [ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError]
#: First words of refusals that time or an operator can end, and for which redis-py has no class.
TEMPORARY = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")

NO_CONNECTION = "Redis has no connection left: start fewer processes, or choose a plan with more connections."

#: What all connections have in common. RESP2 has one shape for JSON.GET on every server.
CONNECTION_OPTIONS: dict[str, Any] = {"protocol": 2, "retry_on_error": WRONG_SERVER}
#: What those over TCP have besides.
TCP_OPTIONS: dict[str, Any] = {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}

Command = tuple[Any, ...]


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StorageUnavailableError or StorageError for what redis-py raises inside the block."""
    try:
        yield
    except (redis.RedisError, OSError, RuntimeError, AttributeError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> StorageError:
    match error:
        case AuthenticationError():
            return StorageUnavailableError("Redis refuses the name or password in REDIS_URL.")
        case redis.MaxConnectionsError():
            return StorageUnavailableError(NO_CONNECTION)
        case OutOfMemoryError():
            return StorageUnavailableError("Redis is full: raise its maxmemory or let conversations expire sooner.")
        case ReadOnlyError():
            return StorageUnavailableError("Redis is read-only: REDIS_URL must point to the primary.")
        case MasterDownError() | ClusterError():
            return StorageUnavailableError(f"Redis has no working primary ({type(error).__name__}).")
        case redis.ConnectionError() if "max number of clients" in str(error):
            return StorageUnavailableError(NO_CONNECTION)
        case redis.ConnectionError() if _is_untrusted(error):
            return StorageUnavailableError("Redis' certificate is not trusted: add ?ssl_ca_certs=<file> to REDIS_URL.")
        case redis.ConnectionError() | redis.TimeoutError() | OSError():
            return StorageUnavailableError(f"Redis cannot be reached ({type(error).__name__}).")
        case RuntimeError() | AttributeError():
            # uvloop and redis-py say this of a connection that was closed a moment ago.
            return StorageUnavailableError("Redis cannot be reached (the connection is closed).")
        case ResponseError() if str(error).startswith(TEMPORARY):
            return StorageUnavailableError(f"Redis refuses commands for now: {_without_arguments(error)}")
    return StorageError(f"Redis refused a command: {_without_arguments(error)}")


def _is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate is the reason; redis-py's own error does not tell by its type."""
    while error and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _without_arguments(error: Exception) -> str:
    """The beginning of Redis' words. Its longer messages quote arguments, which are what people wrote."""
    return str(error).partition(", with args")[0][:200]


def connection_options(url: str) -> dict[str, Any]:
    """redis-py's options for each connection to `url`, an address as in REDIS_URL."""
    return CONNECTION_OPTIONS if url.startswith("unix:") else {**CONNECTION_OPTIONS, **TCP_OPTIONS}


def new_pool(url: str, *, max_connections: int, timeout: float = COMMAND_TIMEOUT, retries: int = RETRIES) -> Any:
    """A pool whose callers wait for a free connection.

    Args:
        url: address of Redis, as in REDIS_URL.
        max_connections: connections that are open at most.
        timeout: seconds until a command, or the wait for a connection, counts as lost.
        retries: how often a command is sent again after its connection failed.
    """
    return aioredis.BlockingConnectionPool.from_url(
        url,
        **connection_options(url),
        max_connections=max_connections,
        timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(BACKOFF, retries),
    )


class RedisClient:
    """One pool of connections for many callers.

    Args:
        url: address of Redis, as in REDIS_URL.
        max_connections: connections that are open at most.
        timeout: seconds until a command counts as lost.
        retries: how often a command is sent again after its connection failed; 0 for what may not be sent twice.

    All methods raise StorageUnavailableError where waiting can help, and StorageError where it cannot.
    """

    def __init__(
        self, url: str, *, max_connections: int, timeout: float = COMMAND_TIMEOUT, retries: int = RETRIES
    ) -> None:
        # redis-py leaves some of its methods untyped.
        self._redis: Any = aioredis.Redis.from_pool(
            new_pool(url, max_connections=max_connections, timeout=timeout, retries=retries)
        )
        self._scripts: dict[Script, AsyncScript] = {}

    async def command(self, *command: Any) -> Any:
        """Run one command and return redis-py's answer."""
        with translate_errors():
            return await self._redis.execute_command(*command)

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Redis learns a script when it does not know its hash."""
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._redis.register_script(script.text)
        with translate_errors():
            return await registered(keys, args)

    async def transaction(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip, as one step for everybody else; returns their answers in order."""
        return await self._pipeline(commands, transaction=True)

    async def pipeline(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip, others possibly in between; returns their answers in order."""
        return await self._pipeline(commands, transaction=False)

    def pubsub(self) -> Any:
        """A connection of the pool that listens to channels; redis-py's PubSub, without translated errors."""
        return self._redis.pubsub()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._redis.aclose(close_connection_pool=True)

    async def _pipeline(self, commands: Sequence[Command], *, transaction: bool) -> list[Any]:
        with translate_errors():
            async with self._redis.pipeline(transaction=transaction) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    if isinstance(answer, tuple(WRONG_SERVER)):
                        await self._redis.connection_pool.disconnect(inuse_connections=False)
                    # redis-py would raise it with the command's arguments in its text.
                    raise answer
            return answers


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
