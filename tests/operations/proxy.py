"""A proxy in front of Redis that can keep from a web process what its tail would hear."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

#: What only the tail's connection asks.
TAIL = b"\r\nSSUBSCRIBE\r\n"


class DeafProxy:
    """Passes everything on; while `deafen`ed, not what Redis answers to a tail."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._deaf = False
        self._tails: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def deafen(self) -> None:
        """From now on tails hear nothing, and nothing tells them so."""
        self._deaf = True

    def heal(self) -> None:
        """Tails that connect again hear again."""
        self._deaf = False
        for tail in list(self._tails):
            _shut(tail)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if TAIL in data:
                    self._tails.add(client)
                server.sendall(data)
        _shut(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not (self._deaf and client in self._tails):
                    client.sendall(data)
        _shut(client)
        self._tails.discard(client)
        client.close()
        server.close()


def _shut(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
