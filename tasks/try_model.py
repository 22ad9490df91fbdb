"""One prompt to the configured model, for whoever is about to deploy: `make try-model`."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from tasks.errors import ModelError, SettingsError
from tasks.model import Finished, Model, Text, Waiting
from tasks.prompt import Turn
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
    started, first = time.monotonic(), 0.0
    try:
        async with aclosing(model.reply("Human", [Turn("human", question)], "", _no_one_waits)) as events:
            async for event in events:
                first = first or time.monotonic() * isinstance(event, Text)
                _show(event, started, first)
    finally:
        await model.aclose()


def _show(event: Text | Waiting | Finished, started: float, first: float) -> None:
    match event:
        case Text(text):
            print(text, end="", flush=True)
        case Waiting(reason, retry_in):
            print(f"\n(waiting: {reason}; asking again in {retry_in:.1f} s)", file=sys.stderr)
        case Finished(reason, tokens):
            writing = time.monotonic() - first
            rate = f"{(tokens - 1) / writing:.1f} tokens per second" if tokens > 1 and writing > 0 else "one token"
            print(f"\n\nfirst token after {first - started:.2f} s, {rate}, finish reason: {reason}")


@asynccontextmanager
async def _no_one_waits() -> AsyncIterator[None]:
    """A waiting reply gives its place to others; here there are none."""
    yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
