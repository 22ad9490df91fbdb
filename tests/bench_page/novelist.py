"""A model that has much to say: Markdown of any length, token by token at a given rate, whatever limit it was told.

Parley asks for at most 1,500 tokens, and the stand-in's sentences are short. The bar is about 4,000 tokens, so the
model is this one; all that stands between it and the page is Parley as it runs.
"""

import asyncio
from collections.abc import Callable
from itertools import count, islice

from tasks.local.standin.words import pieces
from tests.support.model_server import STREAM_HEAD, RawServer, tgi

_SENTENCES = (
    "The lighthouse had been dark for eleven years when the *new keeper* climbed its stairs.",
    "Nobody in the village remembered **who had lit it last**, nor why it was given up.",
    "She set `lamp = true` in the only notebook she had, as one does, and waited for the evening.",
    "It is said ([in the chronicle](https://example.org/chronicle)) that ships came back before the light did.",
    "What the sea takes, it takes slowly; what it returns, it returns all at once and at the wrong door.",
)
_CODE = (
    "def turn(lamp: Lamp, seconds: float) -> None:",
    "    for step in range(int(seconds * lamp.rate)):",
    "        lamp.angle = (lamp.angle + 360 / lamp.rate) % 360",
    "        lamp.shine(toward=lamp.angle)  # one ray, one ship",
    "",
)


def sentence(number: int) -> str:
    """One of a few sentences; some have emphasis, code or a link."""
    return _SENTENCES[number % len(_SENTENCES)]


def _mixed(number: int) -> str:
    """The next block of a reply that has a bit of everything."""
    texts = " ".join(sentence(number + i) for i in range(4))
    block = (
        f"## Part {number // 6 + 1}",
        texts,
        "\n".join(f"- {sentence(number + i)}" for i in range(4)),
        "```python\n" + "\n".join(_CODE * 2) + "```",
        "| night | ships | lamp |\n|---|---|---|\n" + "\n".join(f"| {i} | {i * number} | `on` |" for i in range(6)),
        f"> {texts}",
    )
    return block[number % 6] + "\n\n"


#: How a reply may look: a bit of everything, or one block that grows and grows.
SHAPES: dict[str, Callable[[int], str]] = {
    "mixed": _mixed,
    "paragraph": lambda number: sentence(number) + " ",
    "list": lambda number: f"{number + 1}. {sentence(number)}\n",
    "code": lambda number: ("" if number else "```python\n") + "\n".join(_CODE),
    "table": lambda number: (
        ("" if number else "| night | ships | said |\n|---|---|---|\n")
        + f"| {number} | {number * 7} | {sentence(number)} |\n"
    ),
}


def novel(shape: str, tokens: int) -> list[str]:
    """So many tokens of a shape."""
    return list(islice((piece for number in count() for piece in pieces(SHAPES[shape](number))), tokens))


class Novelist:
    """The model server; how its next reply is can be changed at any time. A context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.shape = "mixed"
        self.tokens = 1500
        #: Tokens a second.
        self.rate = 200.0
        #: Seconds that the last reply took to say.
        self.seconds = 0.0
        #: How many were said whole.
        self.replies = 0
        self._ended = asyncio.Condition()

    async def __aenter__(self) -> "Novelist":
        self._server = RawServer([self._say])
        self._listening = await asyncio.start_server(self._server.serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        for task in self._server.serving:
            task.cancel()
        await asyncio.gather(*self._server.serving)

    @property
    def text(self) -> str:
        """What it says next."""
        return "".join(novel(self.shape, self.tokens)).strip()

    async def said(self, replies: int, seconds: float = 120) -> None:
        """Wait until so many replies were said whole. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._ended:
            await self._ended.wait_for(lambda: self.replies >= replies)

    async def _say(self, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        writer.write(STREAM_HEAD)
        began = now()
        for number, token in enumerate(novel(self.shape, self.tokens)):
            await asyncio.sleep(began + number / self.rate - now())
            writer.write(tgi(token, end=None))
            await writer.drain()
        self.seconds = now() - began
        writer.write(tgi())
        writer.close()
        async with self._ended:
            self.replies += 1
            self._ended.notify_all()
