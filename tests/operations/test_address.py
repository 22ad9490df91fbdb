"""Limits count for the address that our own proxy saw; what a client writes about itself moves nothing."""

import asyncio
import itertools

import httpx
import pytest
from starlette.requests import HTTPConnection

from api.access.client_ip import SUSPICIOUS_CALLS, ProxyCheck, client_ip
from tests.support.client import Chat, new_token
from tests.support.stack import Stack

DIRECT = "192.0.2.9"


def connection(*forwarded: str) -> HTTPConnection:
    """A request from DIRECT with these X-Forwarded-For lines."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return HTTPConnection({"type": "http", "client": (DIRECT, 1), "headers": headers})


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, [], DIRECT),
        (0, ["203.0.113.7"], DIRECT),
        (1, ["203.0.113.7"], "203.0.113.7"),
        (1, ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (1, ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        (1, ["1.1.1.1,2.2.2.2,  203.0.113.7 "], "203.0.113.7"),
        (2, ["1.1.1.1, 203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        (2, ["203.0.113.7"], DIRECT),
        (1, [], DIRECT),
        (1, [""], DIRECT),
        (1, ["203.0.113.7, "], DIRECT),
        (1, ["unknown"], DIRECT),
        (1, ["*\r\nSet-Cookie: a"], DIRECT),
        (1, ["parley:{queue}"], DIRECT),
        (1, ["198.51.100.7:52144"], "198.51.100.7"),
        (1, ["::ffff:198.51.100.7"], "198.51.100.7"),
        (1, ["::ffff:c633:6407"], "198.51.100.7"),
        (1, ["[::ffff:198.51.100.7]:52144"], "198.51.100.7"),
        (1, ["[2001:db8::7]"], "2001:db8::/64"),
        (1, ["[2001:db8::7]:52144"], "2001:db8::/64"),
        (1, ["2001:db8:0:0:ffff:ffff:ffff:ffff"], "2001:db8::/64"),
        (1, ["2001:db8:0:1::7"], "2001:db8:0:1::/64"),
        (1, ["fe80::1%eth0"], "fe80::/64"),
        (1, ["198.51.100.7:port"], DIRECT),
        (1, ["[198.51.100.7"], "198.51.100.7"),
        (1, ["2001:db8::7"], "2001:db8::/64"),
        (1, ["2001:DB8:0::7"], "2001:db8::/64"),
    ],
)
def test_the_hop_that_our_outermost_proxy_wrote_counts(proxies: int, forwarded: list[str], expected: str) -> None:
    assert client_ip(connection(*forwarded), proxies) == expected


@pytest.mark.parametrize(
    ("direct", "expected"),
    [("::ffff:192.0.2.9", DIRECT), ("2001:db8::9", "2001:db8::/64"), ("testclient", "testclient")],
)
def test_an_address_that_called_directly_is_named_in_the_same_way(direct: str, expected: str) -> None:
    assert client_ip(HTTPConnection({"type": "http", "client": (direct, 1), "headers": []}), 0) == expected


async def test_all_addresses_of_one_ipv6_network_share_its_limit_and_so_do_all_ports_and_forms_of_one_ipv4(
    stack: Stack,
) -> None:
    with stack.another_web(TRUSTED_PROXIES="1", LIMIT_SESSIONS_PER_HOUR="3") as url:
        for mine in (
            ["2001:db8:7::1", "2001:db8:7::2", "2001:db8:7:0:ffff::3", "[2001:db8:7::4]:99"],
            ["203.0.113.7:1", "203.0.113.7:2", "::ffff:203.0.113.7", "203.0.113.7"],
        ):
            assert [begin(url, address) for address in mine] == [200, 200, 200, 429]


def check_of_proxies(caplog: pytest.LogCaptureFixture, proxies: int, *forwarded: str, direct: str = "10.0.0.9") -> str:
    """What the log says after the first calls, which come with these X-Forwarded-For lines in turn."""
    check = ProxyCheck(proxies)
    for number in range(3 * SUSPICIOUS_CALLS):
        headers = [(b"x-forwarded-for", forwarded[number % len(forwarded)].encode())] if forwarded else []
        call = HTTPConnection({"type": "http", "client": (direct, 1), "headers": headers})
        check.see(call, client_ip(call, proxies))
    return caplog.text


@pytest.mark.parametrize(
    ("proxies", "forwarded"),
    [
        (0, ["198.51.100.1", "198.51.100.2"]),
        (1, ["198.51.100.1, 10.0.0.8", "198.51.100.2, 10.0.0.8"]),
        (2, ["198.51.100.1", "198.51.100.2"]),
        (1, ["198.51.100.1, 104.22.17.40", "198.51.100.2, 172.68.1.9"]),
    ],
)
def test_a_wrong_number_of_proxies_is_said_once_with_the_right_one(
    caplog: pytest.LogCaptureFixture, proxies: int, forwarded: list[str]
) -> None:
    said = check_of_proxies(caplog, proxies, *forwarded)
    assert said.count("client_ip.suspicious") == 1
    assert f"trusted_proxies={proxies} x_forwarded_for_entries={len(forwarded[0].split(','))}" in said
    assert "TRUSTED_PROXIES" in said
    assert "198.51.100" not in said, "a visitor's address"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "direct"),
    [
        (1, ["198.51.100.1", "198.51.100.2"], "10.0.0.9"),
        (2, ["198.51.100.1, 10.0.0.8", "198.51.100.2, 10.0.0.8"], "10.0.0.9"),
        (0, [], "9.9.9.9"),
        (0, [], "127.0.0.1"),
    ],
)
def test_a_right_number_of_proxies_is_not_called_wrong(
    caplog: pytest.LogCaptureFixture, proxies: int, forwarded: list[str], direct: str
) -> None:
    assert check_of_proxies(caplog, proxies, *forwarded, direct=direct) == ""


#: Addresses of a documentation network, a new one for each test, since counts stay in Redis.
CLIENTS = (f"198.51.100.{number}" for number in itertools.count(1))


@pytest.fixture
def client() -> str:
    """The address of a client nobody has counted yet."""
    return next(CLIENTS)


def begin(url: str, forwarded: str) -> int:
    """The status of a new session for somebody with this X-Forwarded-For."""
    headers = {"X-Forwarded-For": forwarded, "X-Real-IP": forwarded, "Forwarded": f"for={forwarded}"}
    return httpx.post(f"{url}/token?name=Ada", headers=headers).status_code


def test_behind_a_proxy_each_client_is_counted_whatever_it_claims_and_in_every_process(
    stack: Stack, client: str
) -> None:
    settings = {"TRUSTED_PROXIES": "1", "LIMIT_SESSIONS_PER_HOUR": "3"}
    with stack.another_web(**settings) as here, stack.another_web(**settings) as there:
        assert [begin(here, f"10.0.0.1, {client}"), begin(there, client), begin(here, client)] == [200] * 3
        assert begin(there, f"10.0.0.99, {client}") == 429
        assert begin(here, next(CLIENTS)) == 200


def test_without_a_proxy_the_header_moves_nothing(stack: Stack) -> None:
    with stack.another_web(LIMIT_SESSIONS_PER_HOUR="2", FORWARDED_ALLOW_IPS="*") as url:
        statuses = [begin(url, f"203.0.113.{number}") for number in range(4)]
    assert 429 in statuses
    assert statuses[-1] == 429


async def test_one_address_with_many_sessions_has_one_limit_of_messages(stack: Stack, client: str) -> None:
    settings = {"TRUSTED_PROXIES": "1", "LIMIT_MESSAGES_PER_ADDRESS": "2"}
    with stack.another_web(**settings) as here, stack.another_web(**settings) as there:
        for url, expected in ((here, "reply.finished"), (there, "reply.finished"), (here, "error")):
            headers = {"X-Forwarded-For": f"10.0.0.1, {client}"}
            async with Chat(url, await new_token(url), additional_headers=headers) as chat:
                await chat.send("Good morning")
                assert (await chat.until("reply.finished", "error"))["type"] == expected
        headers = {"X-Forwarded-For": next(CLIENTS)}
        async with Chat(here, await new_token(here), additional_headers=headers) as other:
            await other.send("I am somebody else")
            await other.until("reply.finished")


async def test_when_too_many_wait_a_newcomer_is_told_to_come_back_and_nobody_is_forgotten(own_stack: Stack) -> None:
    # A canary waits as well.
    own_stack.start_web(LIMIT_WAITING="4")
    tokens = [await new_token(own_stack.url) for _ in range(4)]
    for token in tokens[:3]:
        async with Chat(own_stack.url, token) as chat:
            await chat.send("I can wait")
            await chat.until("message.accepted")
    async with Chat(own_stack.url, tokens[3]) as chat:
        rejected = None
        while rejected is None:
            # The length of the queue is looked at every few seconds.
            await asyncio.sleep(0.2)
            await chat.send("Me too")
            frame = await chat.until("message.accepted", "error")
            rejected = frame if frame["type"] == "error" else None
        assert rejected["code"] == "rate_limited"
        assert rejected["retry_in"] > 0
        assert "try again" in rejected["detail"]
    own_stack.start_worker()
    for token in tokens[:3]:
        async with Chat(own_stack.url, token) as chat:
            snapshot = await chat.until("snapshot")
            if snapshot["reply"]:
                await chat.until("reply.finished")
