"""Redis for many callers at once: redis-py's clients, pools and retries, with their errors turned into ours.

One client works on one server, on a Redis Cluster and on a primary that Sentinel names; the server itself says whether
it is a node of a cluster. Every command may be sent twice, since the answer to the first sending can be lost: a script
knows what it has done already, and counts carry the number of their batch. What may not be sent twice takes a client
without retries.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio as aioredis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)

from tasks.errors import StorageError, StorageUnavailableError
from tasks.redis_url import addresses, parse_sentinel, url_of_node
from tasks.storage.keys import SHARDS, TAGS, key_in, slot_of_tag
from tasks.storage.scripts import Script
from tasks.storage.topology import (
    CONNECT_TIMEOUT,
    NODE_CONNECT_TIMEOUT,
    NODE_TIMEOUT,
    REDIS_ERRORS,
    WRONG_SERVER,
    async_cluster,
    async_pool,
    close_pool,
    in_any_order,
    is_cluster,
)

#: Seconds after which a command counts as lost. All of ours are quick.
COMMAND_TIMEOUT = 5.0
#: How often a command is sent again.
RETRIES = 3
#: Milliseconds that a second node may take until it has what was written.
REPLICATION_TIMEOUT_MS = 1000

#: First words of refusals that time or an operator can end, and for which redis-py has no class.
TEMPORARY = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")

NO_CONNECTION = "Redis has no connection left: start fewer processes, or choose a plan with more connections."
NO_NODE = "No Redis node has this part of the conversations now."
NOT_REPLICATED = "No second Redis node has what was written."

#: Answers that say, or may mean, that a slot of a cluster is elsewhere.
REDIRECTED = (AskError, ClusterError, TryAgainError, ReadOnlyError, StorageUnavailableError)

#: What is translated; uvloop and redis-py raise the last two for a connection that was closed a moment ago.
FOREIGN_ERRORS = (*REDIS_ERRORS, OSError, RuntimeError, AttributeError)

Command = tuple[Any, ...]


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StorageUnavailableError or StorageError for what redis-py raises inside the block."""
    try:
        yield
    except FOREIGN_ERRORS as error:
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
        case AskError():
            return StorageUnavailableError("Redis is moving conversations from one node to another.")
        case MasterDownError() | ClusterError() | RedisClusterException():
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


@dataclass(frozen=True)
class Part:
    """One of several things that a script does in one call: the shard whose slot its keys are in, keys, arguments."""

    shard: int
    keys: Sequence[str]
    args: Sequence[Any] = ()


class RedisClient:
    """One client for many callers.

    Args:
        url: address of Redis, as in REDIS_URL.
        max_connections: connections that are open at most; in a cluster, to each node.
        timeout: seconds until a command counts as lost.
        retries: how often a command is sent again after its connection failed; 0 for what may not be sent twice.
        alone: `url` is that of one node of a cluster, which alone is meant.

    All methods raise StorageUnavailableError where waiting can help, and StorageError where it cannot.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int,
        timeout: float = COMMAND_TIMEOUT,
        retries: int = RETRIES,
        alone: bool = False,
    ) -> None:
        self._url = url
        self._alone = alone
        self._timeout = timeout
        self._retries = retries
        # redis-py leaves some of its methods untyped.
        self._redis: Any = None
        #: Whether it is a Redis Cluster; unknown before the first command.
        self._clustered = False
        #: Whether what is accepted here has to be on a second node too; in a cluster, known after the first command.
        self.replicated = parse_sentinel(url) is not None
        self._max_connections = max_connections
        #: Connections to each node that are free: redis-py would raise an error rather than wait for one.
        self._free: dict[str, asyncio.Semaphore] = {}
        self._connecting = asyncio.Lock()
        #: Clients of the single nodes of a cluster, by their address.
        self._nodes: dict[str, RedisClient] = {}

    async def command(self, *command: Any) -> Any:
        """Run one command and return redis-py's answer. Its first argument is its key, if it has one."""
        with translate_errors():
            client = await self._client()
            async with self._connection(command[1] if len(command) > 1 else ""):
                return await client.execute_command(*command)

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Redis learns a script when it does not know its hash."""
        with translate_errors():
            client = await self._client()
            async with self._connection(keys[0]):
                try:
                    return await client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
                except NoScriptError:
                    return await client.execute_command("EVAL", script.text, len(keys), *keys, *args)

    async def script_on_parts(self, script: Script, parts: Sequence[Part], args: Sequence[Any] = ()) -> list[Any]:
        """Run a script that answers once for each of its parts, in one trip to each node.

        Args:
            script: takes `args`, then the keys and arguments of one part after the other.
            parts: a single server takes all of them in one call, a cluster those of one shard.
            args: what all calls have in common.

        Returns the parts' answers, in their order. What a call has done stays done if another one fails.
        """
        with translate_errors():
            await self._client()
        groups: dict[int, list[int]] = {}
        for number, part in enumerate(parts):
            groups.setdefault(part.shard if self._clustered else 0, []).append(number)
        calls = [_joined([parts[number] for number in numbers], args) for numbers in groups.values()]
        if len(calls) == 1:
            answers = [await self.script(script, *calls[0])]
        else:
            commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
            answers = await self._by_node(commands, key_at=3)
            for number, answer in enumerate(answers):
                if isinstance(answer, NoScriptError):
                    answers[number] = await self.script(script, *calls[number])
            _raise_first(answers)
        result: list[Any] = [None] * len(parts)
        for numbers, answer in zip(groups.values(), answers, strict=True):
            for number, one in zip(numbers, answer, strict=True):
                result[number] = one
        return result

    async def pipeline(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip to each node, others possibly in between; returns their answers in order.

        A command's first argument is its key.
        """
        with translate_errors():
            await self._client()
            answers = await (self._by_node(commands, key_at=1) if self._clustered else self._pipelined(commands))
        _raise_first(answers)
        return answers

    async def wait_for_replica(self, shard: int) -> None:
        """Return once a second node has all that this client wrote to a shard before; at once on a single server.

        Raises StorageUnavailableError if none has it within REPLICATION_TIMEOUT_MS.
        """
        if not self.replicated:
            return
        name = self.node_of(shard)
        if self._clustered and not name:
            raise StorageUnavailableError(NO_NODE)
        # WAIT counts what its own connection has written, and what was written earlier by others with it.
        _, copies = await self.node(name).pipeline(
            ("SET", key_in(shard) + "replicated", "", "PX", 60_000), ("WAIT", 1, REPLICATION_TIMEOUT_MS)
        )
        if not copies:
            raise StorageUnavailableError(NOT_REPLICATED)

    async def is_cluster(self) -> bool:
        """Whether the address leads to a Redis Cluster."""
        with translate_errors():
            await self._client()
        return self._clustered

    def node_of(self, shard: int) -> str:
        """The name of the node that has a shard; '' on a single server, and before the first command."""
        if not self._clustered:
            return ""
        return self._node_of_key(key_in(shard))

    async def shards_by_node(self) -> dict[str, frozenset[int]]:
        """The shards of each node that takes writes, by its name, as the server sees it now.

        A single server is called ''. A shard that no node has now is missing.
        """
        if not await self.is_cluster():
            return {"": frozenset(range(SHARDS))}
        ranges = await self.command("CLUSTER SLOTS")
        shards: dict[str, set[int]] = {}
        for (first, last), nodes in ranges.items():
            host, port = nodes["primary"][:2]
            here = {shard for shard, tag in enumerate(TAGS) if first <= slot_of_tag(tag) <= last}
            if here:
                shards.setdefault(f"{host}:{port}", set()).update(here)
        return {name: frozenset(here) for name, here in shards.items()}

    def node(self, name: str) -> "RedisClient":
        """A client for one node, as `node_of` and `shards_by_node` call it; it is closed with this one."""
        if not name:
            return self
        if name not in self._nodes:
            host, _, port = name.rpartition(":")
            self._nodes[name] = RedisClient(
                url_of_node(self._url, host, int(port)),
                max_connections=self._max_connections,
                timeout=min(self._timeout, NODE_TIMEOUT),
                # What a node does not answer is asked through the cluster's client, which knows where the slot is now.
                retries=0,
                alone=True,
            )
        return self._nodes[name]

    async def pubsub(self) -> Any:
        """A connection to one server that listens to channels; redis-py's PubSub, without translated errors."""
        with translate_errors():
            return (await self._client()).pubsub()

    async def aclose(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            await node.aclose()
        if self._redis is not None:
            await _close(self._redis)

    async def _client(self) -> Any:
        """redis-py's client, of the kind that the server says it is."""
        if self._redis is None:
            async with self._connecting:
                self._redis = self._redis or await self._connect()
        return self._redis

    @contextlib.asynccontextmanager
    async def _connection(self, key: str | bytes = "") -> AsyncIterator[None]:
        """The right to use one of the connections to a key's node."""
        name = self._node_of_key(key) if self._clustered and key else ""
        free = self._free.setdefault(name, asyncio.Semaphore(self._max_connections))
        async with asyncio.timeout(self._timeout if free.locked() else None):
            await free.acquire()
        try:
            yield
        finally:
            free.release()

    async def _connect(self) -> Any:
        *others, last = in_any_order(addresses(self._url))
        for url in others:
            with contextlib.suppress(*REDIS_ERRORS, OSError):
                return await self._connect_to(url, several=True)
        return await self._connect_to(last, several=bool(others))

    async def _connect_to(self, url: str, *, several: bool) -> Any:
        connect_timeout = NODE_CONNECT_TIMEOUT if self._alone or several else CONNECT_TIMEOUT
        # One of several that says nothing must not delay the start: the next one is asked soon.
        timeout, retries = (NODE_TIMEOUT, 0) if several else (self._timeout, self._retries)
        pool = async_pool(url, self._max_connections, timeout, retries, connect_timeout)
        client = aioredis.Redis.from_pool(pool)
        if self._alone or self.replicated:
            return client
        clustered = False
        try:
            clustered = is_cluster(await client.info("cluster"))
        except ResponseError:
            pass  # The server does not know the command (fakeredis), or this user may not use it.
        except BaseException:
            await _close(client)
            raise
        if not clustered and not several:
            return client
        await _close(client)
        if not clustered:
            raise StorageError("REDIS_URL names several servers, and they are no Redis Cluster: name one.")
        cluster = async_cluster(url, self._timeout, self._retries)
        try:
            await cluster.initialize()
        except BaseException:
            await _close(cluster)
            raise
        self._url, self._redis, self._clustered, self.replicated = url, cluster, True, True
        return cluster

    async def _pipelined(self, commands: Sequence[Command]) -> list[Any]:
        """One answer or error of a single server for each command."""
        client = await self._client()
        async with self._connection(), client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        if any(isinstance(answer, tuple(WRONG_SERVER)) for answer in answers):
            # A new connection may lead to the right server.
            await client.connection_pool.disconnect(inuse_connections=False)
        return answers

    async def _by_node(self, commands: Sequence[Command], key_at: int) -> list[Any]:
        """One answer or error for each command, whose key is its item `key_at`, in one trip to each node of a cluster.

        redis-py's own pipeline would close all connections to every node if one node is away.
        """
        numbers_by_node: dict[str, list[int]] = {}
        for number, command in enumerate(commands):
            numbers_by_node.setdefault(self._node_of_key(command[key_at]), []).append(number)
        answers: list[Any] = [StorageUnavailableError(NO_NODE)] * len(commands)

        async def ask(name: str, numbers: list[int]) -> None:
            if name:
                with contextlib.suppress(StorageUnavailableError), translate_errors():
                    found = await self.node(name)._pipelined([commands[number] for number in numbers])
                    for number, answer in zip(numbers, found, strict=True):
                        answers[number] = answer
            for number in numbers:
                if isinstance(answers[number], REDIRECTED):
                    # The slot may be elsewhere by now. The cluster's client finds it.
                    try:
                        answers[number] = await self._redis.execute_command(*commands[number])
                    except FOREIGN_ERRORS as error:
                        # As it is: it may say that this node does not know the script.
                        answers[number] = error

        await asyncio.gather(*(ask(name, numbers) for name, numbers in numbers_by_node.items()))
        return answers

    def _node_of_key(self, key: str | bytes) -> str:
        try:
            node = self._redis.get_node_from_key(key)
        except RedisClusterException:
            node = None
        return f"{node.host}:{node.port}" if node else ""


def _raise_first(answers: Sequence[Any]) -> None:
    """Raise the first error among answers, translated: redis-py would name the command's arguments in its text."""
    for answer in answers:
        if isinstance(answer, Exception):
            with translate_errors():
                raise answer


async def _close(client: Any) -> None:
    if isinstance(client, aioredis.RedisCluster):
        await client.aclose()
    else:
        await client.aclose(close_connection_pool=False)
        await close_pool(client.connection_pool)


def _joined(parts: Sequence[Part], args: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Keys and arguments of one call for several parts."""
    return [key for part in parts for key in part.keys], [*args, *(arg for part in parts for arg in part.args)]


async def require_json(client: RedisClient, shard: int = 0) -> None:
    """Check that this Redis, or the node that has a shard, can hold conversations.

    Raises StorageError with the sentence to act on: unreachable, or without JSON.
    """
    try:
        await client.command("JSON.GET", key_in(shard) + "none", "$")
    except StorageError as error:
        if "unknown command" in str(error).lower():
            raise StorageError(
                "This Redis has no JSON: use Redis 8, Redis Cloud (the add-on on Heroku) or Redis Stack."
            ) from error
        raise
