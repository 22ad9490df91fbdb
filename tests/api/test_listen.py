"""The socket that the web process listens on."""

import socket

from api.listen import open_socket


def test_a_connection_sends_each_frame_at_once() -> None:
    """Without TCP_NODELAY a frame waits until the client has acknowledged the one before: up to 40 ms."""
    with open_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
