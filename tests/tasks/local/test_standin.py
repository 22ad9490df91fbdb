"""The stand-in: the official clients understand it, it continues what it began, and fails as told."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from huggingface_hub import AsyncInferenceClient
from openai import APIStatusError, AsyncOpenAI

from tasks.local.standin import words
from tasks.local.standin.faults import Fault, Faults
from tasks.local.standin.protocols import Asked
from tasks.local.standin.reply import make
from tests.support.model_server import standin

TRANSCRIPT = "A talk.\n\nAda: Do you like rain?\nBot: Yes.\nAda: Why is that?\nBot:"
STOP = ["\nAda:", "\nBot:"]
BEARER = "hf_x"
ANSWER = " You ask “Why is that?”, Ada. GPT-J might know; a stand-in can only repeat the question."


# the official clients


async def test_hugging_faces_own_client_streams_from_it() -> None:
    async with standin() as (_, url), AsyncInferenceClient(model=url, token=BEARER) as client:
        stream = await client.text_generation(
            TRANSCRIPT, stream=True, details=True, stop=STOP, max_new_tokens=50, temperature=0.7
        )
        outputs = [output async for output in stream]
    assert "".join(output.token.text for output in outputs) == ANSWER.lstrip() + "\nAda:"
    assert outputs[-1].generated_text == ANSWER.lstrip() + "\nAda:"
    assert outputs[-1].details is not None
    assert outputs[-1].details.finish_reason == "stop_sequence"
    assert outputs[-1].details.generated_tokens == len(outputs)


async def test_hugging_faces_own_client_gets_a_whole_answer() -> None:
    async with standin() as (_, url), AsyncInferenceClient(model=url, token=BEARER) as client:
        answer = await client.text_generation(TRANSCRIPT, details=True, max_new_tokens=50)
    assert answer.generated_text == ANSWER.lstrip()
    assert answer.details is not None
    assert answer.details.finish_reason == "eos_token"


async def test_hugging_faces_own_client_reports_its_errors() -> None:
    async with (
        standin({"mode": "error", "after": 1}) as (_, url),
        AsyncInferenceClient(model=url, token=BEARER) as client,
    ):
        with pytest.raises(Exception, match="told to fail"):
            async for _ in await client.text_generation(TRANSCRIPT, stream=True, details=True):
                pass


async def test_openais_own_client_streams_from_it() -> None:
    async with standin() as (_, url), AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client:
        stream = await client.completions.create(
            model="gpt-j", prompt=TRANSCRIPT, stream=True, stop=STOP, max_tokens=50
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWER.lstrip()
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]


async def test_openais_own_client_gets_a_whole_answer_and_the_models() -> None:
    async with standin() as (_, url), AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client:
        answer = await client.completions.create(model="gpt-j", prompt=TRANSCRIPT, max_tokens=3)
        models = [model.id async for model in client.models.list()]
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("You ask “Why", "length")
    assert models == ["stand-in"]


async def test_openais_own_client_reports_its_errors() -> None:
    async with (
        standin({"mode": "status", "status": 400}) as (_, url),
        AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(APIStatusError):
            await client.completions.create(model="gpt-j", prompt=TRANSCRIPT)


# what it says


def reply(prompt: str, protocol: Any = "text-generation", limit: int = 200, stop: list[str] | None = None) -> str:
    asked = Asked(protocol, prompt, limit, tuple(STOP if stop is None else stop), stream=True)
    return "".join(make(asked, 0).texts())


def test_its_first_reply_says_what_it_is_and_how_to_connect_gpt_j() -> None:
    said = reply("A talk.\n\nAda: Hello there\nBot:")
    assert "not GPT-J" in said
    assert "MODEL_URL" in said
    assert "HF_TOKEN" in said
    assert "Ada" in said
    assert "Hello there" in said


def test_later_replies_use_what_the_person_said() -> None:
    said = reply("A talk.\n\nAda: Hello\nBot: Hi.\nAda: I like the sea\nBot:")
    assert "I like the sea" in said
    assert "MODEL_URL" not in said


@pytest.mark.parametrize("protocol", ["text-generation", "completions"])
def test_a_partial_reply_is_continued_exactly(protocol: str) -> None:
    for prompt in (TRANSCRIPT, "A talk.\n\nAda: Hello there\nBot:"):
        whole = reply(prompt, protocol).split("\nAda:")[0]
        for at in range(len(whole)):
            partial = whole[:at].rstrip()
            rest = reply(f"{prompt} {partial}" if partial else prompt, protocol).split("\nAda:")[0]
            assert partial + rest == whole


def test_a_message_that_lost_its_start_gets_the_same_reply() -> None:
    long = "one two three four five six seven eight nine ten eleven twelve"
    for before in ("", "Ada: Hi\nBot: Hi.\n"):
        whole, cut = (reply(f"x\n\n{before}Ada: {said}\nBot:") for said in (long, long[long.index("three") :]))
        assert whole == cut


def test_a_prompt_that_is_no_transcript_is_taken_as_what_was_said() -> None:
    assert "The sky is" in reply("The sky is", stop=[])


def test_a_name_of_any_kind_is_understood() -> None:
    for name in ("🦊", "Ann Lee", "{name}", "Bo"):
        assert name in reply(f"x\n\n{name}: Hi\nBot:", stop=[f"\n{name}:", "\nBot:"])


def test_a_text_generation_reply_includes_the_stop_text_and_a_completion_does_not() -> None:
    assert reply(TRANSCRIPT).endswith("\nAda:")
    assert reply(TRANSCRIPT, stop=["know"]).endswith("might know;")
    assert not reply(TRANSCRIPT, "completions").endswith("\nAda:")
    assert reply(TRANSCRIPT, "completions", stop=["know"]).endswith("might ")


@pytest.mark.parametrize(
    ("protocol", "limit", "stop", "reason"),
    [
        ("text-generation", 5, STOP, "length"),
        ("text-generation", 500, STOP, "stop_sequence"),
        ("text-generation", 500, [], "eos_token"),
        ("completions", 5, STOP, "length"),
        ("completions", 500, STOP, "stop"),
        ("completions", 500, [], "stop"),
    ],
)
def test_why_it_ends_is_said_in_the_protocols_words(protocol: Any, limit: int, stop: list[str], reason: str) -> None:
    assert make(Asked(protocol, TRANSCRIPT, limit, tuple(stop), stream=True), 0).reason == reason


def test_no_piece_is_longer_than_a_word() -> None:
    assert words.pieces("Hello there, you\nunbelievable") == ["Hello", " there,", " you", "\nunbeliev", "able"]


def test_stamps_are_numbered_timed_and_continued() -> None:
    before = time.time()
    first = "".join(make(Asked("completions", "x\nAda: Hi\nBot:", 99, tuple(STOP), True), 6).texts())
    numbers, times = zip(*(stamp.split("|") for stamp in first.split()), strict=True)
    assert [*map(int, numbers)] == [1, 2, 3, 4, 5, 6]
    assert all(before - 0.001 <= float(at) <= time.time() + 0.001 for at in times)
    partial = first.strip().rsplit(" ", 2)[0]
    rest = "".join(make(Asked("completions", f"x\nAda: Hi\nBot: {partial}", 99, tuple(STOP), True), 6).texts())
    assert [int(stamp.split("|")[0]) for stamp in (partial + rest).split()] == [1, 2, 3, 4, 5, 6]


# over HTTP


@contextlib.asynccontextmanager
async def calling(*faults: dict[str, Any], **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with standin(*faults, **options) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield http


ASK = {"inputs": TRANSCRIPT, "parameters": {"stop": STOP}, "stream": True}


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_p": 1},
        {"temperature": 0},
        {"top_k": 0},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0},
        {"stop": ["a"] * 5},
    ],
)
async def test_values_that_text_generation_servers_refuse_are_refused(parameters: dict[str, Any]) -> None:
    async with calling() as http:
        answer = await http.post("/", json={"inputs": "x", "parameters": parameters})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "validation"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/health", b"", 200),
        ("GET", "/info", b"", 200),
        ("GET", "/v1/models", b"", 200),
        ("GET", "/nowhere", b"", 404),
        ("PUT", "/", b"", 404),
        ("POST", "/", b"not JSON", 400),
        ("POST", "/", b"[]", 400),
        ("POST", "/", b"{}", 422),
        ("POST", "/v1/completions", b"{}", 400),
        ("POST", "/v1/chat/completions", b"{}", 404),
        ("POST", "/faults", b'{"mode":"unheard of"}', 400),
        ("POST", "/options", b'{"rate":"fast"}', 400),
    ],
)
async def test_every_call_is_answered(method: str, path: str, content: bytes, status: int) -> None:
    async with calling() as http:
        assert (await http.request(method, path, content=content)).status_code == status


async def test_a_token_can_be_demanded() -> None:
    async with calling(token=BEARER) as http:
        assert (await http.post("/", json=ASK)).status_code == 401
        assert (await http.post("/", json=ASK, headers={"Authorization": f"Bearer {BEARER}"})).status_code == 200


async def test_faults_come_in_order_skip_and_count_and_can_be_cleared() -> None:
    async with calling() as http:
        await http.post("/faults", json=[{"mode": "loading", "skip": 1, "count": 2}, {"mode": "rate_limited"}])
        assert [(await http.post("/", json=ASK)).status_code for _ in range(5)] == [200, 503, 503, 429, 200]
        await http.post("/faults", json={"mode": "loading", "count": 0})
        assert [(await http.post("/", json=ASK)).status_code for _ in range(3)] == [503, 503, 503]
        await http.delete("/faults")
        assert (await http.post("/", json=ASK)).status_code == 200
        assert (await http.get("/faults")).json() == []


def test_a_fault_for_all_stays() -> None:
    faults = Faults()
    faults.waiting.append(Fault(mode="cut", count=0))
    assert all(faults.take() for _ in range(10))


async def test_options_change_while_it_runs() -> None:
    async with calling(rate=1) as http:
        await http.post("/options", json={"rate": 0, "stamped": 3})
        assert (await http.post("/generate", json=ASK | {"stream": False})).json()["generated_text"].count("|") == 3


async def test_the_rate_is_kept() -> None:
    async with calling(stamped=20, rate=200) as http:
        before = time.time()
        text = (await http.post("/generate_stream", json=ASK)).text
    stamps = [float(part.partition("|")[2].partition(" ")[0]) for part in text.split('"text":"')[1:21]]
    # A busy machine may be late with any token, the first included, but none leaves before its time.
    assert all(at - before > number / 200 - 0.005 for number, at in enumerate(stamps))
    assert stamps[-1] - stamps[0] < 3


async def test_statistics_tell_who_was_cancelled() -> None:
    async with calling(rate=20, stamped=100) as http:
        request = http.build_request("POST", "/", json=ASK)
        stream = await http.send(request, stream=True)
        assert (await http.get("/stats")).json()["open"] == 1
        await stream.aclose()
        stats: dict[str, Any] = {"open": 1}
        while stats["open"]:
            stats = (await http.get("/stats")).json()
        assert (stats["requests"], stats["cancelled"], stats["finished"]) == (1, 1, 0)
        assert stats["last_request"] == ASK
        assert (await http.delete("/stats")).json()["requests"] == 0


@pytest.mark.parametrize("mode", ["cut", "end", "error", "silent"])
async def test_a_break_comes_after_so_many_tokens(mode: str) -> None:
    got = b""
    async with calling({"mode": mode, "after": 3}) as http:
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadTimeout):
            async with http.stream("POST", "/", json=ASK, timeout=1) as stream:
                async for chunk in stream.aiter_bytes():
                    got += chunk
    assert got.count(b'"token"') == 3
    assert got.count(b'"error"') == (mode == "error")


async def test_a_slow_stream_is_as_slow_as_told() -> None:
    async with calling({"mode": "slow", "rate": 0.1}) as http, http.stream("POST", "/", json=ASK) as stream:
        assert (await anext(stream.aiter_bytes())).count(b'"token"') == 1


# as a process


def test_it_runs_as_a_process_and_ends_when_told() -> None:
    command = [
        sys.executable,
        "-m",
        "tasks.local.standin",
        "--port",
        "0",
        "--rate",
        "0",
        "--fault",
        '{"mode":"loading"}',
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert [httpx.post(url, json=ASK, trust_env=False).status_code for _ in range(2)] == [503, 200]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
