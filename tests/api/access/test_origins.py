"""Which pages may call."""

import pytest
from starlette.requests import HTTPConnection

from api.access.origins import Origins
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
        ("https://parley.example", "parley.example:443", True),
        ("http://parley.example", "parley.example:80", True),
        ("http://parley.example", "parley.example:443", False),
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
    origins = Origins(Settings(allowed_origins=("https://friend.example",)))
    assert origins.allow(connection(origin, host)) is fine


def test_a_star_lets_everybody_in() -> None:
    assert Origins(Settings(allowed_origins=("*",))).allow(connection("https://anybody.example"))


def test_a_refusal_is_logged_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that does not pass on Host has everybody refused, and nothing else would say why."""
    origins = Origins(Settings())
    for _ in range(3):
        assert not origins.allow(connection("https://chat.example.org\nforged" + "x" * 1000, "127.0.0.1:3500"))
    (said,) = [record.getMessage() for record in caplog.records]
    assert "https://chat.example.org\\nforged" in said
    assert "host='127.0.0.1:3500'" in said
    assert "ALLOWED_ORIGINS" in said
    assert len(said) < 500
