"""Several Redis servers that are one to Parley: a cluster of primaries and replicas, or servers under Sentinel."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
import yaml

from tasks.local.embedded_redis import LOOPBACK, EmbeddedRedis, candidates, start_redis
from tasks.local.processes import ROOT, Child, NotReadyError, wait_until
from tasks.storage.keys import SLOTS
from tests.support.ports import own_port


def _node_options() -> dict[str, str]:
    """The options that docker-compose.yml gives the nodes of its cluster, those of a cluster alone."""
    command = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-node"]["command"]
    found = re.findall(r"--((?:cluster|repl)\S+) (\S+)", command)
    assert found
    return dict(found)


#: As deployed: a dead primary is replaced after some three seconds, and the rest works on.
NODE_OPTIONS = _node_options()
#: Milliseconds after which a sentinel believes a silent primary dead.
DOWN_AFTER_MS = 1500
#: Seconds after which a node has given up a planned failover that did not come to be, and how often it is asked for.
FAIL_OVER_SECONDS, FAIL_OVER_TRIES = 6.0, 10
#: A replica copies its primary at once.
REPLICA_OPTIONS = {"repl-diskless-sync-delay": "0"}


class _Servers:
    """Servers that are started and stopped together; a context manager, leaving it stops all of them."""

    nodes: list[EmbeddedRedis]
    _started: contextlib.ExitStack

    def kill(self) -> None:
        """SIGKILL to every node, as a power cut of all of them would."""
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        """SIGTERM to every node."""
        for node in self.nodes:
            node.stop()

    def start(self) -> None:
        """Start every node again after `kill` or `stop`, with what it had. Raises StorageError."""
        for node in self.nodes:
            node.start()
        self.wait_whole()

    def restart(self) -> None:
        """Stop every node and start it again."""
        self.stop()
        self.start()

    def wait_whole(self) -> None:
        """Wait until all of it is at work."""
        raise NotImplementedError

    def node_client(self, node: EmbeddedRedis, **options: Any) -> Any:
        """A client of one server alone."""
        return redis.Redis(host=node.host, port=node.port, protocol=2, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.__exit__(kind, error, trace)


class Cluster(_Servers):
    """A Redis Cluster on local ports.

    Args:
        folder: where the nodes keep their files, a folder each.
        primaries: nodes that share the slots, in equal parts and in order; each gets a replica.
    """

    def __init__(self, folder: Path, primaries: int = 3) -> None:
        #: Where each node listens for its neighbours, by its own port.
        self._bus = {own_port(): own_port() for _ in range(2 * primaries)}
        with contextlib.ExitStack() as started:
            self.nodes = [
                started.enter_context(
                    self.start_node(number, folder / str(port), port, {**NODE_OPTIONS, "cluster-port": str(bus)})
                )
                for number, (port, bus) in enumerate(self._bus.items())
            ]
            self.primaries = primaries
            self._join()
            self._started = started.pop_all()

    def start_node(self, number: int, folder: Path, port: int, options: Mapping[str, str]) -> EmbeddedRedis:
        """Start one node, a server of a port of its own, also where each has an address of its own.

        Args:
            number: which node, from 0. The primaries come first, then their replicas in the same order.
            folder: where it keeps its files.
            port: the TCP port that it listens on.
            options: its configuration, by redis.conf's names.
        """
        return start_redis(folder, port=port, kind="redis", options=options)

    @property
    def url(self) -> str:
        """The address of the nodes, as REDIS_URL has it."""
        return f"redis://{','.join(f'{node.host}:{node.port}' for node in self.nodes)}/0"

    def primary_of(self, slot: int) -> EmbeddedRedis:
        """The node that has a slot now."""
        for first, last, port in self._ranges():
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(f"no node has slot {slot}")

    def primaries_now(self) -> list[EmbeddedRedis]:
        """The nodes that have slots."""
        ports = {port for _, _, port in self._ranges()}
        return [node for node in self.nodes if node.port in ports]

    def fail_over(self, replica: EmbeddedRedis) -> None:
        """Have a replica take its primary's place, as for maintenance.

        The replica may say OK and not be elected; it is asked again then, as its documentation says.
        """
        with self.node_client(replica) as client:
            for _ in range(FAIL_OVER_TRIES):
                client.execute_command("CLUSTER FAILOVER")
                with contextlib.suppress(NotReadyError):
                    wait_until(
                        lambda: client.info("replication")["role"] == "master",
                        "the failover",
                        timeout=FAIL_OVER_SECONDS,
                    )
                    return
        raise NotReadyError(f"port {replica.port} was not elected in {FAIL_OVER_TRIES} tries.")

    def forget_scripts(self) -> None:
        """Let every node forget the scripts that it knows."""
        for node in self.nodes:
            with self.node_client(node) as client:
                client.script_flush()

    def replica_of(self, primary: EmbeddedRedis) -> EmbeddedRedis:
        """The node that has a copy of what another one has."""
        for node in self.nodes:
            with self.node_client(node) as client:
                own = client.info("replication")
            if own["role"] == "slave" and own["master_port"] == primary.port:
                return node
        raise LookupError(f"port {primary.port} has no replica")

    def move(self, slot: int, source: EmbeddedRedis, target: EmbeddedRedis) -> None:
        """Move a slot to another node while it is in use, as `redis-cli --cluster reshard` does."""
        with self.node_client(source) as giving, self.node_client(target) as taking:
            names = {
                node: client.execute_command("CLUSTER MYID").decode()
                for node, client in ((source, giving), (target, taking))
            }
            taking.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
            giving.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
            # What a move that was broken off left there is a copy.
            while keys := giving.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                giving.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
            for client in (taking, giving):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])

    def announce(self, ports: Mapping[int, int]) -> None:
        """Have clients and replicas come to other ports.

        Args:
            ports: where they are to come, by a node's own TCP port; a node that is missing wants them at its own.
        """
        wanted = {ports.get(node.port, node.port) for node in self.nodes}
        for node in self.nodes:
            with self.node_client(node) as client:
                client.config_set("cluster-announce-port", ports.get(node.port, 0))
        wait_until(lambda: all(self._announced(node) == wanted for node in self.nodes), "the nodes to know the ports")
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until every slot has a node and every primary a replica that follows it."""
        wait_until(lambda: all(map(self._whole, self.nodes)), "the cluster")

    def _join(self) -> None:
        """Make the nodes one cluster."""
        first, rest = self.nodes[0], self.nodes[1:]
        with self.node_client(first) as client:
            for node in rest:
                client.execute_command("CLUSTER MEET", node.host, node.port, self._bus[node.port])
        bounds = [SLOTS * number // self.primaries for number in range(self.primaries + 1)]
        for node, begin, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            with self.node_client(node) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", begin, end - 1)
        wait_until(lambda: all(self._known(node) == len(self.nodes) for node in self.nodes), "the nodes to meet")
        for primary, replica in zip(self.nodes, self.nodes[self.primaries :], strict=False):
            with self.node_client(primary) as client:
                name = client.execute_command("CLUSTER MYID").decode()
            with self.node_client(replica) as client:
                wait_until(lambda: _replicates(client, name), "the replica to know its primary")  # noqa: B023
        self.wait_whole()

    def _ranges(self) -> list[tuple[int, int, int]]:
        """First and last slot of each range, and the port of the primary that has it."""
        with self.node_client(next(node for node in self.nodes if node.alive)) as client:
            return [(first, last, primary[1]) for first, last, primary, *_ in client.execute_command("CLUSTER SLOTS")]

    def _announced(self, node: EmbeddedRedis) -> set[int]:
        """The ports at which a node says that all of them are."""
        with self.node_client(node) as client:
            return {at[1] for _, _, *nodes in client.execute_command("CLUSTER SLOTS") for at in nodes}

    def _known(self, node: EmbeddedRedis) -> int:
        with self.node_client(node) as client:
            return int(_info(client)["cluster_known_nodes"])

    def _whole(self, node: EmbeddedRedis) -> bool:
        """Whether a node sees the whole cluster at work, its own replication too."""
        with self.node_client(node) as client:
            try:
                info, own = _info(client), client.info("replication")
            except redis.RedisError:
                return False
            linked = own.get("connected_slaves") == 1 or own.get("master_link_status") == "up"
            return info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(SLOTS) and linked


def _info(client: Any) -> dict[str, str]:
    said: dict[str, str] = client.execute_command("CLUSTER INFO")
    return said


def _replicates(client: Any, primary: str) -> bool:
    try:
        client.execute_command("CLUSTER REPLICATE", primary)
    except redis.ResponseError:
        return False
    return True


class Watched(_Servers):
    """A primary and a replica under three sentinels.

    Args:
        folder: where they keep their files.
    """

    NAME = "parley"

    def __init__(self, folder: Path) -> None:
        with contextlib.ExitStack() as started:
            ports = [own_port(), own_port()]
            self.nodes = [
                started.enter_context(start_redis(folder / str(port), port=port, kind="redis", options=REPLICA_OPTIONS))
                for port in ports
            ]
            self._follow(self.nodes[1], ports[0])
            self.ports: list[int] = []
            self.sentinels = [started.enter_context(self._sentinel(folder, ports[0])) for _ in range(3)]
            self.wait_whole()
            self._started = started.pop_all()

    @property
    def url(self) -> str:
        """The address of the sentinels, as REDIS_URL has it."""
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{port}' for port in self.ports)}/{self.NAME}"

    def announce(self, ports: Mapping[int, int]) -> None:
        """Have clients and the replica come to another port than the primary's own, and keep that primary.

        Args:
            ports: where they are to come, by a server's own TCP port; if it is missing, they come to the primary
                itself and it is replaced as usual.
        """
        primary = next(node.port for node in self.nodes if self._is_primary(node))
        (replica,) = (node for node in self.nodes if node.port != primary)
        self._follow(replica, ports.get(primary, primary))
        down_after = 60_000 if primary in ports else DOWN_AFTER_MS
        for port in self.ports:
            with redis.Redis(port=port) as client:
                client.sentinel_remove(self.NAME)
                client.sentinel_monitor(self.NAME, LOOPBACK, ports.get(primary, primary), 2)
                client.sentinel_set(self.NAME, "down-after-milliseconds", down_after)
                client.sentinel_set(self.NAME, "failover-timeout", 5000)
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until the sentinels know each other, and a primary that its replica follows."""
        wait_until(lambda: all(map(self._ready, self.ports)), "the sentinels")

    @property
    def primary(self) -> EmbeddedRedis:
        """The server that takes writes, as the sentinels say."""
        with redis.Redis(port=self.ports[0], decode_responses=True) as client:
            _, port = client.sentinel_get_master_addr_by_name(self.NAME)
        return next(node for node in self.nodes if node.port == int(port))

    def _follow(self, replica: EmbeddedRedis, port: int) -> None:
        with self.node_client(replica) as client:
            client.execute_command("REPLICAOF", LOOPBACK, port)
            wait_until(lambda: client.info("replication").get("master_link_status") == "up", "the replica")

    def _is_primary(self, node: EmbeddedRedis) -> bool:
        with self.node_client(node) as client:
            return bool(client.info("replication")["role"] == "master")

    @contextlib.contextmanager
    def _sentinel(self, folder: Path, primary: int) -> Iterator[Child]:
        port = own_port()
        # A sentinel writes what it learns into its configuration.
        config = folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind {LOOPBACK}\nsentinel monitor {self.NAME} {LOOPBACK} {primary} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {self.NAME} 5000\n"
        )
        self.ports.append(port)
        program = next(candidate.argv[0] for candidate in candidates() if candidate.kind != "fakeredis")
        with Child(f"sentinel {port}", [program, str(config), "--sentinel"]) as child:
            yield child

    def _ready(self, port: int) -> bool:
        try:
            with redis.Redis(port=port) as client:
                state = client.execute_command("SENTINEL MASTER", self.NAME)
        except redis.RedisError:
            return False
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
