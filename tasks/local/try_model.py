"""One prompt to the configured model, for whoever is about to deploy: `make try-model`."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tasks.errors import ModelError, SettingsError
from tasks.model.client import Model
from tasks.model.prompt import Turn
from tasks.settings import Settings, load_settings

QUESTION = "Hello! Who are you, and what do you like to talk about?"


def main(arguments: Sequence[str]) -> int:
    """Asks `arguments`, or QUESTION, of the model in the environment; the exit code, 1 with one sentence on failure."""
    logging.basicConfig(level=logging.ERROR)  # what the model client warns of is printed as it happens
    try:
        asyncio.run(try_model(load_settings(), " ".join(arguments) or QUESTION))
    except (SettingsError, ModelError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def try_model(settings: Settings, question: str) -> None:
    """Prints the reply as it comes, then how fast it came and why it ended.

    Raises SettingsError or ModelError.
    """
    model = Model(settings)
    print(f"POST {model.url} ({settings.model_protocol})\n\nHuman: {question}\nBot: ", end="", flush=True)
    printer = Printer()
    try:
        ended = await model.reply("Human", [Turn("human", question)], "", _no_one_waits, printer)
    finally:
        model.close()
    print(f"\n\nfirst token after {printer.waited:.2f} s, {printer.rate(ended.tokens)}", end="")
    print(f", finish reason: {ended.finish_reason}")


class Printer:
    """Prints a reply as it comes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first = 0.0

    @property
    def waited(self) -> float:
        """Seconds until the first words."""
        return self._first - self._began

    def rate(self, tokens: int) -> str:
        """How fast they came after that."""
        writing = time.monotonic() - self._first
        return f"{(tokens - 1) / writing:.1f} tokens per second" if tokens > 1 and writing > 0 else "one token"

    def text(self, text: str) -> bool:
        """More of the reply."""
        self._first = self._first or time.monotonic()
        print(text, end="", flush=True)
        return True

    async def room(self) -> None:
        """A terminal takes everything."""

    def waiting(self, reason: str, retry_in: float) -> None:
        """The model lets us wait."""
        print(f"\n(waiting: {reason}; asking again in {retry_in:.1f} s)", file=sys.stderr)


@asynccontextmanager
async def _no_one_waits() -> AsyncIterator[None]:
    """A waiting reply gives its place to others; here there are none."""
    yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
