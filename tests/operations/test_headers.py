"""Headers that keep others out: on every answer, whoever gives it; and origins, the same list for HTTP and sockets."""

import re
from pathlib import Path

import httpx
import pytest
import websockets

from api.http.assets import FOR_EVER
from api.http.security_headers import HEADERS
from tests.support.client import Chat, LegacyChat, new_token
from tests.support.missing import missing
from tests.support.stack import Stack

PAGE = Path(__file__).parents[2] / "frontend" / "dist"

OTHER = "http://localhost:3000"
FOREIGN = [
    "http://evil.example",
    "null",
    "http://localhost:3000.evil.example",
    "http://evil.example/http://localhost:3000",
    "https://localhost:3000",
    "http://localhost:30000",
    "http://LOCALHOST:3000@evil.example",
    "file://",
    "",
]

ANSWERS = [
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("POST", "/token?name=Ada", 200),
    ("POST", "/token?name=", 400),
    ("GET", "/refresh_token?token=unknown", 400),
    ("DELETE", "/token?token=unknown", 400),
    ("PUT", "/token", 405),
    ("POST", "/nowhere", 405),
]


@pytest.fixture
def _built_page() -> None:
    if not PAGE.is_dir():
        missing("The page is not built.")


PAGES = [("/", 200), ("/chat/some-token", 200), ("/nowhere/%00", 200), ("/assets/none.js", 404), ("/icon.svg", 200)]


def check(answer: httpx.Response) -> None:
    """Every answer carries them, and sets no cookies."""
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_carries_them(stack: Stack, method: str, path: str, status: int) -> None:
    stack.wait_ready()
    answer = httpx.request(method, f"{stack.url}{path}")
    assert answer.status_code == status
    check(answer)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/icon.svg", "/nowhere"])
def test_head_is_answered_as_get_is_but_for_the_body(stack: Stack, path: str) -> None:
    got, head = httpx.get(f"{stack.url}{path}"), httpx.head(f"{stack.url}{path}")
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "cache-control", "content-security-policy"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_of_readyz_is_red_while_no_worker_lives(own_stack: Stack) -> None:
    own_stack.start_web()
    for method in ("GET", "HEAD"):
        assert httpx.request(method, f"{own_stack.url}/readyz").status_code == 503


@pytest.mark.usefixtures("_built_page")
@pytest.mark.parametrize(("path", "status"), PAGES)
def test_the_page_and_its_files_carry_them(stack: Stack, path: str, status: int) -> None:
    answer = httpx.get(f"{stack.url}{path}")
    assert answer.status_code == status
    check(answer)


@pytest.mark.usefixtures("_built_page")
def test_each_script_and_style_is_kept_for_ever_and_comes_compressed_to_whoever_takes_that(stack: Stack) -> None:
    for file in (PAGE / "assets").iterdir():
        url = f"{stack.url}/assets/{file.name}"
        packed, plain = httpx.get(url), httpx.get(url, headers={"Accept-Encoding": "identity"})
        assert packed.content == plain.content == file.read_bytes()
        assert "content-encoding" not in plain.headers
        assert packed.headers["cache-control"] == plain.headers["cache-control"] == FOR_EVER
        if file.suffix in (".js", ".css"):
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < file.stat().st_size / 2


@pytest.mark.usefixtures("_built_page")
def test_the_page_runs_under_its_own_policy() -> None:
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|style=", html)


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"\*|https?:", policy)


@pytest.mark.parametrize("origin", [OTHER, "http://127.0.0.1:3000"])
@pytest.mark.parametrize("path", ["/token?name=Ada", "/token?name="])
def test_an_allowed_origin_may_read_every_answer_errors_included(stack: Stack, origin: str, path: str) -> None:
    answer = httpx.post(f"{stack.url}{path}", headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_may_read_nothing_and_open_no_socket(stack: Stack, origin: str) -> None:
    token = await new_token(stack.url)
    headers = {"Origin": origin}
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{stack.url}/refresh_token?token={token}", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    async with Chat(stack.url, token, additional_headers=headers) as chat:
        assert await chat.closed_with() == 4403
        assert not chat.frames
    with pytest.raises(websockets.InvalidStatus) as rejected:
        async with LegacyChat(stack.url, token, additional_headers=headers):
            pass
    assert rejected.value.response.status_code == 403


@pytest.mark.parametrize("origin", FOREIGN)
async def test_what_another_site_asks_in_a_visitors_name_is_not_carried_out(stack: Stack, origin: str) -> None:
    with stack.another_web(LIMIT_SESSIONS_PER_HOUR="1", TRUSTED_PROXIES="1") as url:
        address = {"X-Forwarded-For": f"198.51.100.{200 + FOREIGN.index(origin)}"}
        async with httpx.AsyncClient(base_url=url, headers=address) as http:
            assert (await http.post("/token?name=Ada", headers={"Origin": origin})).status_code == 403
            mine = await http.post("/token?name=Ada")
            assert mine.status_code == 200
            token = {"token": mine.json()["token"]}
            assert (await http.delete("/token", params=token, headers={"Origin": origin})).status_code == 403
            assert (await http.get("/refresh_token", params=token)).status_code == 200


@pytest.mark.parametrize("origin", [OTHER, "own", None])
async def test_what_the_page_itself_an_allowed_one_and_no_browser_ask_is_carried_out(
    stack: Stack, origin: str | None
) -> None:
    origin = stack.url if origin == "own" else origin
    async with httpx.AsyncClient(base_url=stack.url, headers={"Origin": origin} if origin else {}) as http:
        token = (await http.post("/token?name=Ada")).json()["token"]
        assert (await http.delete("/token", params={"token": token})).status_code == 204


async def test_an_empty_list_of_origins_lets_no_other_page_in(stack: Stack) -> None:
    with stack.another_web(ALLOWED_ORIGINS="") as url:
        async with httpx.AsyncClient(base_url=url, headers={"Origin": OTHER}) as http:
            assert (await http.post("/token?name=Ada")).status_code == 403
            assert "access-control-allow-origin" not in (await http.get("/healthz")).headers
        async with Chat(url, await new_token(url), additional_headers={"Origin": OTHER}) as chat:
            assert await chat.closed_with() == 4403


@pytest.mark.parametrize("origin", [OTHER, "own", None])
async def test_the_pages_own_origin_the_allowed_ones_and_no_browser_may(stack: Stack, origin: str | None) -> None:
    token = await new_token(stack.url)
    origin = stack.url if origin == "own" else origin
    headers = {"Origin": origin} if origin else {}
    async with Chat(stack.url, token, additional_headers=headers) as chat:
        assert (await chat.next())["type"] == "snapshot"
    async with LegacyChat(stack.url, token, additional_headers=headers):
        pass


@pytest.mark.parametrize(("origin", "allowed"), [(OTHER, True), ("http://evil.example", False)])
def test_a_browser_that_asks_first_is_told_the_same(stack: Stack, origin: str, allowed: bool) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{stack.url}/token", headers=headers)
    assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    check(answer)
