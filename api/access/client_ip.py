"""Whose address a request comes from, behind the platform's proxies."""

from ipaddress import ip_address

from starlette.requests import HTTPConnection


def address_of(connection: HTTPConnection, trusted_proxies: int) -> str:
    """The address that the outermost of our own proxies saw; what a client wrote in front of it counts for nothing.

    Each proxy appends the address it was called from to X-Forwarded-For, so with n of ours the n-th from the
    right is the client's.
    """
    direct = connection.client.host if connection.client else ""
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    if not trusted_proxies or len(forwarded) < trusted_proxies:
        return direct
    try:
        return str(ip_address(forwarded[-trusted_proxies].strip()))
    except ValueError:
        return direct
