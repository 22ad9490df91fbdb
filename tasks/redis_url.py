"""What an address of Redis says, as REDIS_URL holds it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

#: The usual port of Sentinel.
SENTINEL_PORT = 26_379


@dataclass(frozen=True)
class SentinelAddress:
    """What `redis+sentinel://[user:password@]host:port,host:port/name[?sentinel_password=…&db=…]` says.

    `rediss+sentinel://` is the same with TLS. `sentinels`: their hosts and ports; `name`: what they call the primary;
    `options`: redis-py's options for connections to the servers, `sentinel_options` for those to the sentinels.
    """

    sentinels: tuple[tuple[str, int], ...]
    name: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def parse_sentinel(url: str) -> SentinelAddress | None:
    """The parts of an address of sentinels; None if it is one of a server. Raises ValueError if it lacks a part."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("redis+sentinel", "rediss+sentinel"):
        return None
    location, _, tail = rest.partition("/")
    credentials, _, hosts = location.rpartition("@")
    user, _, password = credentials.partition(":")
    parts = urlsplit("//sentinel/" + tail)
    query = _options(parts.query)
    sentinels = []
    for host in hosts.split(","):
        at = urlsplit("//" + host)
        if not at.hostname:
            raise ValueError("an address of Sentinel needs hosts: redis+sentinel://host:port,host:port/name")
        sentinels.append((at.hostname, at.port or SENTINEL_PORT))
    name = parts.path.strip("/")
    if not name:
        raise ValueError("an address of Sentinel needs the primary's name: redis+sentinel://host:port/name")
    secure = {"ssl": True} if scheme.startswith("rediss") else {}
    sentinel_password = query.pop("sentinel_password", None)
    options: dict[str, Any] = {**secure, "db": query.pop("db", 0)}
    if user or password:
        options |= {"username": unquote(user) or None, "password": unquote(password)}
    sentinel_options = {**secure, **({"password": str(sentinel_password)} if sentinel_password else {})}
    # What is left has redis-py's names, such as ssl_ca_certs.
    return SentinelAddress(tuple(sentinels), name, {**options, **query}, {**sentinel_options, **query})


def addresses(url: str) -> list[str]:
    """The address of each server that `redis://host:port,host:port` names: several nodes of one cluster."""
    parts = urlsplit(url)
    if parse_sentinel(url) or parts.scheme == "unix":
        return [url]
    credentials, at, hosts = parts.netloc.rpartition("@")
    return [parts._replace(netloc=f"{credentials}{at}{host}").geturl() for host in hosts.split(",")]


def url_of_node(url: str, host: str, port: int) -> str:
    """The address of another node of the same cluster: with its `port`, and its host unless it names none."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{location(host or parts.hostname or '', port)}").geturl()


def location(host: str, port: int) -> str:
    """A `host` and its TCP `port` as addresses have them: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_options(url: str) -> dict[str, Any]:
    """redis-py's options for connections to the server at `url`, its host and port among them."""
    parts = urlsplit(url)
    options: dict[str, Any] = {"host": parts.hostname or "localhost", "port": parts.port or 6379}
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme == "rediss":
        options["ssl"] = True
    return {**options, **_options(parts.query)}


def _options(query: str) -> dict[str, Any]:
    """The part of an address after its `?`: redis-py's names with values of their types."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    return {
        name: int(value) if value.isdecimal() else words.get(value.lower(), value)
        for name, value in parse_qsl(query, strict_parsing=bool(query))
    }
