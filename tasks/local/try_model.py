"""One prompt to the configured model, for whoever is about to deploy: `make try-model`."""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing

from tasks.errors import ModelError, SettingsError
from tasks.model.client import Finished, Model, Text, Waiting
from tasks.model.prompt import Turn
from tasks.settings import Settings, load_settings

QUESTION = "Hello! Who are you, and what do you like to talk about?"


def main(arguments: Sequence[str]) -> int:
    """Asks `arguments`, or QUESTION, of the model in the environment; the exit code, 1 with one sentence on failure."""
    logging.basicConfig(level=logging.ERROR)  # what the model client warns of is printed as it happens
    try:
        asyncio.run(try_model(load_settings(), " ".join(arguments) or QUESTION))
    except SettingsError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except ModelError as error:
        print(f"\n{error.operator}", file=sys.stderr)
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
    asked_at, first_text_at = time.monotonic(), 0.0
    try:
        async with aclosing(model.reply("Human", [Turn("human", question)], "")) as events:
            async for event in events:
                match event:
                    case Text():
                        first_text_at = first_text_at or time.monotonic()
                        print(event.text, end="", flush=True)
                    case Waiting():
                        waiting = f"(waiting: {event.reason}; asking again in {event.retry_in:.1f} s)"
                        print(f"\n{waiting}", file=sys.stderr)
                    case Finished():
                        rate = _rate(event.tokens, time.monotonic() - first_text_at)
                        print(f"\n\nfirst token after {first_text_at - asked_at:.2f} s, {rate}", end="")
                        print(f", finish reason: {event.finish_reason}")
    finally:
        await model.aclose()


def _rate(tokens: int, seconds: float) -> str:
    """How fast the tokens after the first one came."""
    return f"{(tokens - 1) / seconds:.1f} tokens per second" if tokens > 1 and seconds > 0 else "one token"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
