"""Which commands Redis gets, from whom and when: its MONITOR, read by hand for little cost."""

import re
import socket
import threading
from dataclasses import dataclass
from typing import Self

#: `+1732300000.123456 [0 127.0.0.1:50000] "EVALSHA" …`; what scripts call themselves comes from `lua`.
_LINE = re.compile(rb'\+(\d+\.\d+) \[\d+ [^ ]*:(\d+)\] "([^"]+)"')


@dataclass(frozen=True)
class Line:
    """One command: when (seconds), from which port."""

    time: float
    port: int
    command: str


class Monitor:
    """All commands that processes send, or those whose line contains one of `only`. A context manager."""

    def __init__(self, port: int, *only: str) -> None:
        self._only = [part.encode() for part in only]
        self._lines: list[bytes] = []
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"MONITOR\r\n")
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def lines(self) -> list[Line]:
        """What was seen up to now."""
        matches = [match for line in self._lines if (match := _LINE.match(line))]
        return [Line(float(match[1]), int(match[2]), match[3].decode()) for match in matches]

    def _read(self) -> None:
        with self._socket.makefile("rb") as stream:
            for line in stream:
                if not self._only or any(part in line for part in self._only):
                    self._lines.append(line[:200])
