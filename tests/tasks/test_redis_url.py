"""What an address of Redis says is what its writer meant."""

import pytest

from tasks.redis_url import addresses, parse_sentinel, server_options, url_of_node


def test_an_address_of_sentinels_says_where_they_are_and_how_to_reach_them_and_the_primary() -> None:
    address = parse_sentinel(
        "rediss+sentinel://u:p%2F1@a:1,b,[::1]:3/main?db=2&sentinel_password=12&ssl_ca_certs=/c.pem"
    )
    assert address
    assert address.sentinels == (("a", 1), ("b", 26379), ("::1", 3))
    assert address.name == "main"
    assert address.options == {"ssl": True, "db": 2, "username": "u", "password": "p/1", "ssl_ca_certs": "/c.pem"}
    assert address.sentinel_options == {"ssl": True, "password": "12", "ssl_ca_certs": "/c.pem"}


def test_an_address_of_a_server_is_none_of_sentinels() -> None:
    assert parse_sentinel("redis://a:1/0") is None


def test_several_nodes_of_a_cluster_have_an_address_each() -> None:
    assert addresses("rediss://u:p%2C@a:1,b,[::1]:3/0?x=1") == [
        "rediss://u:p%2C@a:1/0?x=1",
        "rediss://u:p%2C@b/0?x=1",
        "rediss://u:p%2C@[::1]:3/0?x=1",
    ]
    for alone in ("unix:///run/a,b.sock", "redis+sentinel://a,b/main", "redis://a:1/0"):
        assert addresses(alone) == [alone]


@pytest.mark.parametrize(
    ("url", "host", "port", "expected"),
    [
        ("redis://a:1/0", "b", 2, "redis://b:2/0"),
        ("rediss://u:p%40@a:1/0?ssl_cert_reqs=none", "::1", 2, "rediss://u:p%40@[::1]:2/0?ssl_cert_reqs=none"),
        ("redis://a/0", "", 2, "redis://a:2/0"),
    ],
)
def test_another_node_has_the_same_address_but_for_host_and_port(url: str, host: str, port: int, expected: str) -> None:
    assert url_of_node(url, host, port) == expected


def test_options_of_a_server_have_their_types() -> None:
    assert server_options("rediss://u:p%2F@a:1/0?ssl_check_hostname=false&socket_timeout=3&ssl_cert_reqs=none") == {
        **{"host": "a", "port": 1, "username": "u", "password": "p/", "ssl": True},
        **{"ssl_check_hostname": False, "socket_timeout": 3, "ssl_cert_reqs": "none"},
    }
    assert server_options("redis://a") == {"host": "a", "port": 6379}
