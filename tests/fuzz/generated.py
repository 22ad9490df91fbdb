"""What Hypothesis and schemathesis think of, one example after another for some seconds."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import frames, talks, values
from tests.fuzz.calls import call_everything

#: Examples in one go; between two, the time is looked at.
EXAMPLES = 20
CALLS = [("/token", "post"), ("/refresh_token", "get"), ("/token", "delete"), ("/readyz", "get"), ("/metrics", "get")]

Generated = Callable[[str, float, int], Counter[str]]


def generate(strategy: st.SearchStrategy[Any], what: Callable[[str, Any], Coroutine[Any, Any, Any]]) -> Generated:
    """Examples of a strategy, each tried at a url."""

    def run(url: str, seconds: float, start: int) -> Counter[str]:
        done: Counter[str] = Counter()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start += 1

            @seed(start)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(example=strategy)
            def attempt(example: Any) -> None:
                done["examples"] += 1
                asyncio.run(what(url, example))

            attempt()
        return done

    return run


async def come_with(url: str, pair: tuple[str, str]) -> None:
    """A made-up token and cursor."""
    assert await talks.come_with(url, *pair) == 4401


def calls(url: str, seconds: float, start: int) -> Counter[str]:
    """Every call of the OpenAPI document in turn."""
    done: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for path, method in itertools.cycle(CALLS):
        if time.monotonic() > end:
            return done
        start += 1
        call_everything(url, path, method, examples=EXAMPLES, start=start)
        done[f"{method} {path}"] += 2 * EXAMPLES
    return done


GENERATED: dict[str, Generated] = {
    "frames": generate(frames.sequences, talks.send_all),
    "typed": generate(frames.typed, talks.type_all),
    "names": generate(values.values, talks.call_itself),
    "made_up_tokens": generate(st.tuples(values.values, values.values), come_with),
    "calls": calls,
}
