"""Opens the socket that the web process listens on, then becomes uvicorn, which takes it by its option `--fd`.

uvicorn opens a socket by itself too, but has no option for what the kernel does with each connection. Connections
inherit these options from the socket that listens (socket(7), tcp(7)):

- TCP_USER_TIMEOUT: a client that takes nothing for so long is gone, with all that waits for it. uvicorn itself waits
  for ever until such a client has read what it was sent, also after the application closed the connection.
- TCP_NODELAY: each frame is sent at once. uvicorn sets this for sockets of its own only, and without it a frame waits
  until the client has acknowledged the one before, which takes up to 40 ms.
- SO_RCVBUF: what a client sends is read in small pieces, so nobody else waits while thousands of frames are parsed.

`python -m api.listen uvicorn api.app:app …` runs the command after it with `--fd` added.
"""

import errno
import os
import resource
import socket
import sys
from collections.abc import Sequence

from tasks.errors import SettingsError
from tasks.settings import settings

#: Milliseconds in which a client has to take something of what is sent to it.
TAKE_TIMEOUT_MS = 10_000
#: Bytes of one connection that wait to be read; the kernel allows twice as many. The largest frame has 65,536.
RECEIVE_BUFFER = 4_096
#: Connections that wait to be accepted.
BACKLOG = 2048


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on a TCP `port`; on `::`, for IPv4 as well.

    Raises SettingsError if nothing can be served there.
    """
    both = host == "::" and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        why = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise SettingsError(f"Nothing can be served on HOST {host}, PORT {port}: {why}.") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKE_TIMEOUT_MS)
    listening.set_inheritable(True)
    return listening


def allow_many_connections() -> None:
    """Raise the number of open files to what the system allows; many systems begin with 1,024."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    except (OSError, ValueError):  # macOS names a limit that it does not grant
        return


def main(command: Sequence[str]) -> None:
    """Replace this process by `command`, which gets the socket."""
    try:
        listening = open_socket(settings().host, settings().port)
    except SettingsError as error:
        sys.exit(f"parley: {error}")
    allow_many_connections()
    os.execvp(command[0], [*command, "--fd", str(listening.fileno())])


if __name__ == "__main__":
    main(sys.argv[1:])
