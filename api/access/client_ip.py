"""Whose address a request comes from, behind the platform's proxies."""

import logging
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from starlette.requests import HTTPConnection

log = logging.getLogger("parley.client_ip")

#: Bits of an IPv6 address that name one customer's network; the rest is the customer's to choose.
IPV6_NETWORK = 64
#: Calls from the start on that all look wrong, after which the setting is called suspicious.
SUSPICIOUS_CALLS = 30


def client_ip(connection: HTTPConnection, trusted_proxies: int) -> str:
    """The name under which a client is counted: its IPv4 address, or the /64 network of its IPv6 address.

    Each proxy appends the address that it was called from to X-Forwarded-For. So with n proxies of ours the n-th from
    the right is the client's, and what the client itself wrote stands further left and counts for nothing.

    Args:
        connection: a call or a handshake.
        trusted_proxies: proxies of ours on the way, as in TRUSTED_PROXIES.
    """
    direct = connection.client.host if connection.client else ""
    entries = forwarded_for(connection)
    if trusted_proxies and len(entries) >= trusted_proxies:
        found = _parse(entries[-trusted_proxies])
        if found is not None:
            return _name(found)
    own = _parse(direct)
    return direct if own is None else _name(own)


def forwarded_for(connection: HTTPConnection) -> list[str]:
    """The entries of X-Forwarded-For, in order."""
    return [entry.strip() for line in connection.headers.getlist("x-forwarded-for") for entry in line.split(",")]


class ProxyCheck:
    """Says once in the log that TRUSTED_PROXIES seems wrong.

    It does if the first calls all seem to come from one private address, or all have more entries than proxies.

    Args:
        trusted_proxies: how many proxies add an entry to X-Forwarded-For.
    """

    def __init__(self, trusted_proxies: int) -> None:
        self._trusted_proxies = trusted_proxies
        self._first = ""
        self._calls = 0
        self._one_address = True
        self._more_entries = trusted_proxies > 0

    def see(self, connection: HTTPConnection, address: str) -> None:
        """Look at one of the first calls."""
        if not (self._one_address or self._more_entries):
            return
        entries = len(forwarded_for(connection))
        self._first = self._first or address
        self._one_address = self._one_address and address == self._first and _is_hidden(address, entries)
        self._more_entries = self._more_entries and entries > self._trusted_proxies
        self._calls += 1
        if self._calls == SUSPICIOUS_CALLS and (self._one_address or self._more_entries):
            log.warning(
                "client_ip.suspicious address=%s calls=%d trusted_proxies=%d x_forwarded_for_entries=%d: visitors seem "
                "to be counted under the address of a proxy, so they share its limits. TRUSTED_PROXIES has to be "
                "the number of proxies in front of web, which is the number of entries for a visitor who sends none.",
                *(address, SUSPICIOUS_CALLS, self._trusted_proxies, entries),
            )
            self._one_address = self._more_entries = False


def _is_hidden(address: str, entries: int) -> bool:
    """Whether an address is no visitor's own: a private one, unless it is this machine's without a proxy."""
    found = _parse(address.removesuffix(f"/{IPV6_NETWORK}"))
    return found is not None and found.is_private and not (found.is_loopback and not entries)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: alone, with a port, or in brackets."""
    host, _, port = text.rpartition(":")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif "." in host and port.isdigit() and ":" not in host:
        text = host
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _name(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    host_bits = 128 - IPV6_NETWORK
    return str(IPv6Network((int(address) >> host_bits << host_bits, IPV6_NETWORK)))
