"""The engine with a real model, step by step."""

import pytest

from tasks.local.fetch import fetch
from tasks.local.model_server.messages import Accepted, Begin, Cancel, Ended, Event, Options, Sampling
from tasks.local.models import model_path
from tasks.local.settings import load_local_settings
from tests.local.conftest import MODEL, LocalServer


@pytest.fixture(scope="module")
def options(server: LocalServer) -> Options:
    """`server` is not asked; where it can run, this can."""
    folder = load_local_settings().local_model_folder
    fetch(MODEL, folder)
    return Options(path=model_path(MODEL, folder), window=MODEL.known.window, slots=1, cache_gb=1)


def begin(number: int, tokens: int = 3) -> Begin:
    return Begin(id=number, prompt="Once upon", max_tokens=tokens, stop=(), sampling=Sampling(temperature=0))


def test_who_comes_when_all_slots_are_taken_waits_for_one(options: Options) -> None:
    from tasks.local.model_server.engine_process import Engine

    engine = Engine(options)
    assert all(isinstance(engine.take(begin(number)), Accepted) for number in (1, 2, 3))
    assert engine.take(Cancel(id=2)) == Ended(id=2, reason="cancelled")
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    order = [event.id for event in events]
    assert order == sorted(order)
    assert set(order) == {1, 3}
    assert [event.id for event in events if isinstance(event, Ended)] == [1, 3]
