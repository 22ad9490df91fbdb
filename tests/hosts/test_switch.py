"""What a host and this machine hear of each other through the switch."""

import socket
import sys
from collections.abc import Iterator

import pytest

from tasks.local.processes import Child, wait_until
from tests.hosts.places import Host, hosts, lacks, lacks_tap
from tests.support.missing import missing

PORT = 7000
#: Sends every datagram back to whoever sent it.
ECHO = """
import socket, sys
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        server.sendto(*server.recvfrom(100))
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """One host, on which every datagram is sent back."""
    if reason := lacks():
        missing(reason)
    if reason := lacks_tap():
        # Many containers have none, and nothing that is installed there would bring one.
        pytest.skip(reason)
    with hosts(1) as (host,):
        argv = [*host.inside, sys.executable, "-c", ECHO, host.address, str(PORT)]
        with Child("echo", argv) as echo:
            wait_until(lambda: "ready" in echo.lines, "the echo", [echo])
            yield host


@pytest.fixture
def client(host: Host) -> Iterator[socket.socket]:
    """A socket of this machine that has heard the host's echo."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((host.address, PORT))
        client.send(b"first")
        assert client.recv(100) == b"first"
        yield client


def test_what_is_sent_while_a_link_is_cut_never_arrives_and_what_is_sent_later_does(
    host: Host, client: socket.socket
) -> None:
    host.link.cut = True
    client.send(b"while cut")
    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.recv(100)
    host.link.restore()
    client.send(b"later")
    client.settimeout(10)
    assert client.recv(100) == b"later"


def test_a_slow_link_holds_frames_back_and_keeps_their_order(host: Host, client: socket.socket) -> None:
    sent = [b"%d" % number for number in range(20)]
    host.link.delay = 1.0
    for one in sent[:10]:
        client.send(one)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(100)
    host.link.restore()
    for one in sent[10:]:
        client.send(one)
    client.settimeout(10)
    assert [client.recv(100) for _ in sent] == sent
