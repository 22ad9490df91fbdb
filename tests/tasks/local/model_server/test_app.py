"""The HTTP shell and how it keeps an engine, shown with an engine process that does what a test wants."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from tasks.local.model_server import app as shell
from tasks.local.model_server.engine import Engine, EngineError
from tests.support.model_server import eventually

#: Speaks the engine's side. The prompt says what to do with it.
ENGINE = """
import json, os, sys, time

def say(**message):
    print(json.dumps(message), flush=True)

if os.environ.get("NO_MODEL"):
    sys.exit(3)
time.sleep(float(os.environ.get("LOADING", 0)))
say(kind="ready")
for line in sys.stdin:
    message = json.loads(line)
    id = message["id"]
    if message["kind"] == "cancel":
        say(kind="ended", id=id, reason="cancelled")
        continue
    prompt = message["prompt"]
    if prompt == "too long":
        say(kind="refused", id=id, detail="This model's maximum context length is 2048 tokens.")
        continue
    say(kind="accepted", id=id, prompt_tokens=2)
    if prompt == "silence":
        continue
    say(kind="text", id=id, text="Hello", tokens=1)
    if prompt == "die":
        sys.exit(1)
    if prompt == "endless":
        continue
    say(kind="text", id=id, text=" " + os.environ.get("WORD", "you"), tokens=1)
    say(kind="ended", id=id, reason="no_room" if prompt == "no room" else "length")
"""

ASKED = {"model": "a-model", "prompt": "Hi", "max_tokens": 2}


@dataclass
class Served:
    """The application as it runs."""

    engine: Engine
    client: httpx.AsyncClient

    async def ask(self, **changes: Any) -> httpx.Response:
        """A request that is read to its end."""
        return await self.client.post("/v1/completions", json=ASKED | changes)

    async def events(self, **changes: Any) -> list[Any]:
        """What a stream holds: each event's content, and comments as they are."""
        response = await self.ask(stream=True, **changes)
        assert response.headers["content-type"].startswith("text/event-stream")
        parts = [part for part in response.text.split("\n\n") if part]
        return [orjson.loads(part[6:]) if part.startswith("data: {") else part.removeprefix("data: ") for part in parts]


@asynccontextmanager
async def served(ready: bool = True) -> AsyncIterator[Served]:
    """The application, listening while the block lasts."""
    engine = Engine((sys.executable, "-c", ENGINE))
    config = uvicorn.Config(shell.create_app(engine, "a-model", 2048, slots=1), log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        tasks = [asyncio.create_task(engine.run()), asyncio.create_task(server.serve(sockets=[listening]))]
        try:
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                await eventually(lambda: server.started and (engine.ready or not ready))
                yield Served(engine, client)
        finally:
            server.should_exit = True
            tasks[0].cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError, EngineError):
                    await task


async def test_a_reply_streams_as_openai_streams_it() -> None:
    async with served() as server:
        *pieces, done = await server.events(stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert [piece["choices"][0]["text"] for piece in pieces[:-1]] == ["Hello", " you", ""]
    assert [piece["choices"][0]["finish_reason"] for piece in pieces[:-1]] == [None, None, "length"]
    assert pieces[-1]["choices"] == []
    assert pieces[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


async def test_a_reply_in_one_piece_is_the_same() -> None:
    async with served() as server:
        answer = (await server.ask()).json()
    assert answer["choices"] == [{"index": 0, "text": "Hello you", "logprobs": None, "finish_reason": "length"}]
    assert answer["usage"]["completion_tokens"] == 2


async def test_signs_of_life_come_while_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "SIGN_OF_LIFE", 0.01)
    async with served() as server, server.client.stream("POST", "/v1/completions", json=_stream("silence")) as response:
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in range(4)] == [": waiting", "", ": waiting", ""]


def _stream(prompt: str) -> dict[str, Any]:
    return ASKED | {"prompt": prompt, "stream": True}


@pytest.mark.parametrize("prompt", ["silence", "endless"])
async def test_a_client_that_leaves_a_stream_ends_the_reply(prompt: str) -> None:
    async with served() as server:
        async with server.client.stream("POST", "/v1/completions", json=_stream(prompt)):
            assert server.engine.requests == 1
        await eventually(lambda: server.engine.requests == 0)


async def test_a_client_that_leaves_before_a_whole_answer_ends_the_reply() -> None:
    async with served() as server:
        asking = asyncio.create_task(server.ask(prompt="endless"))
        await eventually(lambda: server.engine.requests == 1)
        asking.cancel()
        await eventually(lambda: server.engine.requests == 0)


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"prompt": "too long"}, 400, "maximum context length"),
        ({"prompt": 7}, 400, "prompt"),
        ({"prompt": ["a", "b"]}, 400, "prompt"),
        ({"prompt": "a" * 200_000}, 400, "prompt"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"temperature": -1}, 400, "temperature"),
        ({"stop": [""]}, 400, "stop"),
        ({"n": 2}, 400, "n: "),
        ({"echo": True}, 400, "echo"),
        ({"logprobs": 3}, 400, "logprobs"),
        ({"model": "another"}, 404, "a-model"),
    ],
)
async def test_what_cannot_be_done_is_refused(changes: dict[str, Any], status: int, said: str) -> None:
    async with served() as server:
        answer = await server.ask(**changes)
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True)
        assert server.engine.requests == 0


async def test_null_is_the_default_and_one_prompt_in_a_list_is_a_prompt() -> None:
    async with served() as server:
        answer = await server.ask(prompt=["Hi"], temperature=None, stop=None, seed=None, logprobs=None)
    assert answer.json()["choices"][0]["text"] == "Hello you"


async def test_an_engine_that_dies_ends_the_stream_in_an_error_and_is_started_anew() -> None:
    async with served() as server:
        first, error, done = await server.events(prompt="die")
        assert first["choices"][0]["text"] == "Hello"
        assert (error["error"]["type"], done) == ("server_error", "[DONE]")
        await eventually(lambda: server.engine.ready)
        assert (await server.ask()).json()["choices"][0]["text"] == "Hello you"
        assert (await server.ask(prompt="die")).status_code == 500


async def test_while_the_model_loads_a_client_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADING", "1000")
    async with served(ready=False) as server:
        answer = await server.ask()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert (await server.client.get("/health")).status_code == 503


async def test_a_reply_that_does_not_fit_into_the_cache_is_an_error_that_names_the_setting() -> None:
    async with served() as server:
        *_, error, done = await server.events(prompt="no room")
    assert "LOCAL_MODEL_CACHE_GB" in error["error"]["message"]
    assert done == "[DONE]"


async def test_a_full_queue_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "LONGEST_QUEUE", 0)
    async with served() as server, server.client.stream("POST", "/v1/completions", json=_stream("silence")):
        answer = await server.ask()
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "overloaded")


async def test_health_and_models_say_what_is_served() -> None:
    async with served() as server:
        health = (await server.client.get("/health")).json()
        assert health == {"status": "ready", "model": "a-model", "requests": 0}
        [described] = (await server.client.get("/v1/models")).json()["data"]
        assert (described["id"], described["max_model_len"]) == ("a-model", 2048)


async def test_a_model_that_cannot_be_loaded_ends_the_server_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MODEL", "1")
    with pytest.raises(EngineError, match="could not be loaded: the engine ended with code 3"):
        await Engine((sys.executable, "-c", ENGINE)).run()


async def test_an_engine_that_is_killed_for_its_memory_is_told_so() -> None:
    engine = Engine(("sh", "-c", "kill -9 $$"))
    with pytest.raises(EngineError, match="memory ran out"):
        await engine.run()
