"""Parley on five hosts: two with web, two with a worker, one with Caddy, and a node of Redis or two on each."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.local.embedded_redis import EmbeddedRedis, candidates
from tasks.local.processes import Child, read_procfile, wait_until
from tests.hosts.places import OWN_ADDRESS, Host
from tests.support.cluster import Cluster
from tests.support.stack import UNLIMITED, answers

#: What each host is, besides a place for nodes of Redis.
ROLES = ("web", "web", "worker", "worker", "front")
#: Hosts (from 0) of the three primaries, and of their replicas in the same order.
NODES = (0, 2, 3, 4, 1, 4)
WEB_PORT, FRONT_PORT, MODEL_PORT = 3500, 8080, 3501

#: A reply of so many numbered tokens, at so many a second.
TOKENS, RATE = 60, 10

CADDYFILE = Path(__file__).with_name("Caddyfile")


class SpreadCluster(Cluster):
    """A Redis Cluster whose nodes are on several hosts.

    Args:
        folder: where the nodes keep their files.
        hosts: where the nodes run, in the order of `NODES`.
    """

    def __init__(self, folder: Path, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        super().__init__(folder)

    def start_node(self, number: int, folder: Path, port: int, options: Mapping[str, str]) -> EmbeddedRedis:
        """Start one node, on its host."""
        host = self._hosts[NODES[number]]
        server = next(candidate for candidate in candidates() if candidate.kind != "fakeredis")
        there = dataclasses.replace(server, argv=(*host.inside, *server.argv))
        return EmbeddedRedis(there, folder, port, {**options, "bind": host.address, "protected-mode": "no"}, ())


@dataclass(frozen=True)
class System:
    """What runs."""

    hosts: list[Host]
    cluster: SpreadCluster
    #: Every process, by what it is and where it runs.
    children: dict[str, Child]
    #: Where a browser finds the page.
    url: str


@contextmanager
def parley(hosts: list[Host], folder: Path) -> Iterator[System]:
    """Parley on these hosts, and a stand-in for the model on this machine, while the block lasts.

    Args:
        hosts: one for each of `ROLES`.
        folder: where Redis and Caddy keep their files.
    """
    with contextlib.ExitStack() as running:
        cluster = running.enter_context(SpreadCluster(folder, hosts))
        children = {
            f"redis {node.port} on host {hosts[place].number}": node.child
            for node, place in zip(cluster.nodes, NODES, strict=True)
        }

        def start(name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
            children[name] = Child(name, argv, env)
            # How well it stops is of no interest here.
            running.callback(children[name].kill)

        options = ("--host", OWN_ADDRESS, "--port", str(MODEL_PORT), "--stamped", str(TOKENS), "--rate", str(RATE))
        start("stand-in", (sys.executable, "-m", "tasks.local.standin", *options), {})
        for host, role in zip(hosts, ROLES, strict=True):
            argv = (*host.inside, *_command(role))
            start(f"{role} on host {host.number}", argv, _environment(hosts, cluster, folder))
        url = f"http://{hosts[ROLES.index('front')].address}:{FRONT_PORT}"
        wait_until(lambda: answers(f"{url}/readyz"), "Parley", children.values())
        yield System(hosts, cluster, children, url)


def _command(role: str) -> Sequence[str]:
    if role == "front":
        return ("caddy", "run", "--config", str(CADDYFILE), "--adapter", "caddyfile")
    return ("/bin/sh", "-c", read_procfile()[role])


def _environment(hosts: list[Host], cluster: Cluster, folder: Path) -> dict[str, str]:
    """What web and worker need, and what Caddy needs."""
    model = f"http://{OWN_ADDRESS}:{MODEL_PORT}"
    webs = [host for host, role in zip(hosts, ROLES, strict=True) if role == "web"]
    return {
        "REDIS_URL": cluster.url,
        "MODEL_URL": model,
        "STAND_IN_URL": model,
        # A whole reply of numbered tokens has to fit beside its conversation.
        "MODEL_CONTEXT": "8192",
        "HOST": "0.0.0.0",
        "PORT": str(WEB_PORT),
        "TRUSTED_PROXIES": "1",
        **UNLIMITED,
        "FRONT_PORT": str(FRONT_PORT),
        "UPSTREAMS": " ".join(f"{host.address}:{WEB_PORT}" for host in webs),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
