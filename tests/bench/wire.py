"""A WebSocket client that costs next to nothing, so that hundreds of them do not disturb what they measure.

It speaks as much of RFC 6455 as these servers use: whole frames, text, ping and close, no extension.
"""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast

from api.frames import SUBPROTOCOL

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FINAL = 0x80
_MASKED = 0x80
#: A mask of zeros is a mask, and changes nothing.
_MASK = b"\0\0\0\0"


class Wire(asyncio.Protocol):
    """One socket; `on_text` gets each text frame's bytes, `on_lost` is called once when it is over."""

    def __init__(self, path: str, on_text: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._path = path
        self._on_text = on_text
        self._on_lost = on_lost
        self._rest = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self._path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        ]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        self._rest = data = self._rest + data if self._rest else data
        if not self.opened.done():
            head, end, self._rest = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(head.partition(b"\r\n")[0].decode()))
                return
            self.opened.set_result(None)
        self._take_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed before the handshake ended"))
        self._on_lost()

    def send(self, text: bytes) -> None:
        """Send a text frame."""
        self._write(_TEXT, text)

    def close(self) -> None:
        """End the connection without ceremony."""
        self._transport.abort()

    def _take_frames(self) -> None:
        data, at = self._rest, 0
        while len(data) - at >= 2:
            opcode, length, begin = data[at] & 0x0F, data[at + 1], at + 2
            if length == 126 and len(data) >= at + 4:
                length, begin = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127 and len(data) >= at + 10:
                length, begin = int.from_bytes(data[at + 2 : at + 10]), at + 10
            elif length > 125:
                break
            if len(data) < begin + length:
                break
            at = begin + length
            self._take(opcode, data[begin:at])
        self._rest = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._on_text(payload)
        elif opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE:
            self._transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((_FINAL | opcode, _MASKED | size))
        else:
            head = struct.pack("!BBH", _FINAL | opcode, _MASKED | 126, size)
        self._transport.write(head + _MASK + payload)


async def open_wire(
    host: str, port: int, path: str, on_text: Callable[[bytes], None], on_lost: Callable[[], None]
) -> Wire:
    """Connect and shake hands. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(path, on_text, on_lost), host, port)
    await wire.opened
    return wire
