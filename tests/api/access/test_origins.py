"""Which pages may call."""

import pytest
from starlette.requests import HTTPConnection

from api.access.origins import allowed
from tasks.settings import Settings


def connection(origin: str | None, host: str = "parley.example") -> HTTPConnection:
    """A request to `host` from a page at `origin`."""
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return HTTPConnection({"type": "websocket", "headers": headers, "path": "/chat"})


@pytest.mark.parametrize(
    ("origin", "host", "fine"),
    [
        (None, "parley.example", True),
        ("https://parley.example", "parley.example", True),
        ("http://127.0.0.1:3500", "127.0.0.1:3500", True),
        ("https://friend.example", "parley.example", True),
        ("https://friend.example/", "parley.example", False),
        ("http://friend.example", "parley.example", False),
        ("https://friend.example:8443", "parley.example", False),
        ("https://friend.example.evil.example", "parley.example", False),
        ("https://parley.example.evil.example", "parley.example", False),
        ("http://127.0.0.1:3501", "127.0.0.1:3500", False),
        ("null", "parley.example", False),
        ("", "parley.example", False),
        ("file://", "parley.example", False),
    ],
)
def test_the_own_page_and_the_named_ones_may_call(origin: str | None, host: str, fine: bool) -> None:
    settings = Settings(allowed_origins=("https://friend.example",))
    assert allowed(connection(origin, host), settings) is fine


def test_a_star_lets_everybody_in() -> None:
    assert allowed(connection("https://anybody.example"), Settings(allowed_origins=("*",)))
