"""What lies between a browser and the server: cut, held back, or of the kind that lets no WebSocket pass."""

import asyncio
import contextlib

from playwright.async_api import expect

from tests.browser.person import Person
from tests.support.proxy import CHUNK, Proxy

REFUSAL = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 12\r\n"
    b"Connection: close\r\n\r\n<h1>502</h1>"
)


class Network(Proxy):
    """A proxy in front of a web process; browsers go through `url`."""

    #: Whether a handshake for a WebSocket is answered with an error page, as by an old proxy.
    refuses_upgrade = False

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._swallowed: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Parley, through here."""
        return f"http://127.0.0.1:{self.port}"

    def hold(self) -> None:
        """Nothing passes, and nobody is told so."""
        self._flowing.clear()

    def release(self) -> None:
        """What was held passes now."""
        self._flowing.set()

    def swallow(self) -> None:
        """From now on nothing passes through the connections that are open, and nobody is told; new ones are well."""
        self._swallowed.update(self._writers)

    async def goes(self, person: Person) -> None:
        """Take a person's network away, from the browser's view and from the server's."""
        self.refusing = True
        await person.page.context.set_offline(True)
        self.cut()
        await expect(person.page.get_by_text("You are offline.")).to_be_visible()

    async def returns(self, person: Person) -> None:
        """Give it back."""
        self.refusing = False
        await person.page.context.set_offline(False)
        await person.is_connected()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.refuses_upgrade:
            await super()._connected(reader, writer)
            return
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nupgrade: websocket" in head.lower():
                writer.write(REFUSAL)
            else:
                await self._answer_once(head, writer)
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter once it is closed
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                if writer not in self._swallowed:
                    writer.write(data)
                    await writer.drain()

    async def _answer_once(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        """One request without a body, and its whole answer."""
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        back.write(head.replace(b"keep-alive", b"close", 1))
        while data := await there.read(CHUNK):
            writer.write(data)
        back.close()
