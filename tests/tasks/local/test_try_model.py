"""`make try-model`: what an operator sees before deploying."""

import asyncio
import gc
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tasks.local.standin.faults import Fault
from tasks.local.standin.server import Options, Standin
from tasks.local.try_model import main

BEARER = "hf_secret"


@contextmanager
def served(*faults: dict[str, Any], token: str = "") -> Iterator[str]:
    """A stand-in in a thread of its own, for a program that has its own event loop."""
    loop = asyncio.new_event_loop()
    server = Standin(Options(rate=200, token=token))
    server.faults.waiting += [Fault.model_validate(fault) for fault in faults]
    url = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MODEL_URL", "MODEL_PROTOCOL", "HF_TOKEN", "MODEL_RETRY_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    yield
    # A connection that was left open says so when it is collected, and here a warning is an error.
    gc.collect()


@pytest.mark.parametrize("protocol", ["text-generation", "completions"])
def test_it_prints_the_reply_and_how_fast_it_came(
    protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(token=BEARER) as url:
        monkeypatch.setenv("MODEL_URL", url)
        monkeypatch.setenv("MODEL_PROTOCOL", protocol)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        assert main(["What", "is", "rain?"]) == 0
    out, err = capsys.readouterr()
    path = "/v1/completions" if protocol == "completions" else "/"
    assert out.startswith(f"POST {url}{path} ({protocol})\n")
    assert "Human: What is rain?\nBot: Hello Human!" in out
    assert re.search(r"\n\nfirst token after \d+\.\d\d s, [\d.]+ tokens per second, finish reason: stop\n$", out)
    assert "hf_secret" not in out + err


def test_it_says_when_it_waits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with served({"mode": "loading", "estimated_time": 0.01}) as url:
        monkeypatch.setenv("MODEL_URL", url)
        assert main([]) == 0
    assert "(waiting: model_loading; asking again in 0.0 s)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "does not accept the token; check HF_TOKEN"),
        ({"MODEL_PROTOCOL": "nonsense"}, "MODEL_PROTOCOL"),
        (
            {"MODEL_URL": "http://127.0.0.1:1", "MODEL_RETRY_TIMEOUT": "0.1"},
            "Nothing answers at the model server's address",
        ),
        ({"MODEL_URL": "http://h/v1/chat/completions"}, "MODEL_URL is a chat address"),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(
    environment: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(token="hf_other" + BEARER) as url:
        for name, value in ({"MODEL_URL": url, "HF_TOKEN": "hf_secret"} | environment).items():
            monkeypatch.setenv(name, value)
        assert main([]) == 1
    out, err = capsys.readouterr()
    assert sentence in err.splitlines()[-1]
    assert "hf_secret" not in out + err
    assert "Traceback" not in err
