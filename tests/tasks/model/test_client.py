"""The model client: every way in which a server answers or fails, and what the person gets."""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tasks.errors import ModelError, SettingsError
from tasks.local.standin.server import Options, Standin
from tasks.model import circuit_breaker, retry
from tasks.model import client as model_client
from tasks.model.client import Finished, Model, Text, Waiting
from tasks.model.prompt import SHORTENED, Turn
from tasks.settings import Settings
from tests.support.forgeries import FORGERIES
from tests.support.model_server import (
    STREAM_HEAD,
    Behaviour,
    Heard,
    eventually,
    hear,
    listening,
    model,
    raw_server,
    sends,
    settings,
    standin,
    status,
    tgi,
    vllm,
)

pytestmark = pytest.mark.uvloop

BEARER = "hf_secret"
PROTOCOLS = ["text-generation", "completions"]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is tested, not waited for."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(circuit_breaker, "FIRST_PROBE", 0.05)


class Glances:
    """Time as the retry policy sees it: a little passes with each look at it, however busy the machine is."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        self.now += 0.03
        return self.now


@pytest.fixture
def _few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MODEL_RETRY_TIMEOUT of 0.1 is enough for some tries, and for no more than some."""
    monkeypatch.setattr(retry, "time", Glances())


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def fails(client: Model, *, code: str) -> ModelError:
    """The reply must fail with this code; whoever had to wait before was told, and nobody waited for nothing."""
    heard = Heard()
    with pytest.raises(ModelError) as error:
        await hear(client, heard=heard)
    assert error.value.code == code
    assert bool(heard.waits) is (error.value.retryable and code != "model_empty")
    return error.value


# replies


async def test_a_reply_streams_word_by_word(protocol: str) -> None:
    async with standin() as (server, url), model(url, model_protocol=protocol) as client:
        heard = await hear(client)
    assert heard.text.startswith("Hello Ada! I am a stand-in and not GPT-J")
    assert heard.text.endswith("What I got from you is “How are you?”.")
    assert heard.end == "stop"
    assert heard.waits == []
    assert server.stats.finished == 1


async def test_a_reply_at_its_limit_ends_with_a_whole_word(protocol: str) -> None:
    async with standin() as (_, url), model(url, model_protocol=protocol, max_new_tokens=16) as client:
        heard = await hear(client)
    assert heard.end == "length"
    assert heard.text == "Hello Ada! I am a stand-in and not GPT-J: my sentences come from a"


async def test_a_reply_taken_over_goes_on_exactly_where_it_stopped(protocol: str) -> None:
    async with standin() as (_, url), model(url, model_protocol=protocol) as client:
        whole = (await hear(client)).text
        for at in range(len(whole)):
            heard = await hear(client, partial=whole[:at])
            assert whole[:at] + heard.text == whole, at


async def test_a_server_that_does_not_stream_is_understood() -> None:
    whole = status(200, b'[{"generated_text":" Hello you.\\nAda: x"}]', "Content-Type: application/json")
    async with raw_server(whole) as server, model(server.url) as client:
        heard = await hear(client)
    assert (heard.text, heard.end) == ("Hello you.", "stop")


async def test_a_stop_sequence_that_the_server_ignores_ends_the_reply_and_the_request() -> None:
    stream = sends(STREAM_HEAD + tgi(" Hi", "\n", "Ada", ":", " I", end=None), then="wait")
    async with raw_server(stream) as server, model(server.url) as client:
        heard = await hear(client)
        assert (heard.text, heard.end) == ("Hi", "stop")
        async with asyncio.timeout(5):
            await server.closed_by_client.wait()


async def test_an_answer_that_comes_byte_by_byte_is_the_same() -> None:
    stream = STREAM_HEAD + tgi(" Grüße", " an", " Ada 😀", ".")
    async with (
        raw_server(sends(*(stream[at : at + 1] for at in range(len(stream))))) as server,
        model(server.url, model_read_timeout=5) as client,
    ):
        assert (await hear(client)).text == "Grüße an Ada 😀."


async def test_a_stream_that_never_says_done_ends_with_its_finish_reason() -> None:
    stream = STREAM_HEAD + vllm(" a\ufffd", " b", end="length").removesuffix(b"data: [DONE]\n\n")
    async with (
        raw_server(sends(stream)) as server,
        model(server.url, model_protocol="completions", max_new_tokens=2) as client,
    ):
        heard = await hear(client)
    assert (heard.text, heard.end) == ("a\ufffd", "length")


async def test_a_message_too_long_for_the_model_is_shortened_and_the_person_told() -> None:
    async with standin(rate=0) as (server, url), model(url) as client:
        heard = await hear(client, "ünlesbar " * 400 + "and the end")
        taken_over = await hear(client, "ünlesbar " * 400 + "and the end", partial=heard.text[: len(SHORTENED) + 9])
    assert heard.text.startswith(SHORTENED + "Hello Ada!")
    assert heard.text[: len(SHORTENED) + 9] + taken_over.text == heard.text
    assert SHORTENED.strip() not in server.stats.last_request["inputs"]


async def test_a_reply_already_as_long_as_it_may_be_is_finished() -> None:
    async with standin() as (server, url), model(url, max_new_tokens=3) as client:
        heard = await hear(client, partial="one two three")
    assert heard.events == [Finished("length")]
    assert server.stats.requests == 0


@pytest.mark.parametrize("message", FORGERIES)
async def test_a_message_that_looks_like_turns_or_stops_breaks_no_reply(message: str, protocol: str) -> None:
    async with standin() as (server, url), model(url, model_protocol=protocol) as client:
        heard = await hear(client, [Turn("human", "Hello"), Turn("bot", "Hello Ada!"), Turn("human", message)])
    assert heard.text
    assert (heard.waits, heard.end, server.stats.requests) == ([], "stop", 1)
    assert not re.search(r"^(Ada|Bot):", heard.text, re.MULTILINE)


async def test_the_preamble_is_the_setting() -> None:
    async with standin() as (server, url), model(url, preamble="Meet {person}.") as client:
        await hear(client, "Hi")
    assert server.stats.last_request["inputs"] == "Meet Ada.\n\nAda: Hi\nBot:"


async def test_a_known_model_is_asked_in_its_own_way() -> None:
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    async with standin() as (server, url), model(url, model_name=name) as client:
        await hear(client, "Hi")
        assert server.stats.last_request["inputs"].startswith("<|im_start|>system\nYou are a helpful AI assistant")
    async with standin() as (server, url), model(url, model_name=name, preamble="Meet {person}.") as client:
        await hear(client, "Hi")
        assert server.stats.last_request["inputs"].startswith("<|im_start|>system\nMeet Ada.<|im_end|>")


# stopping


async def test_who_has_heard_enough_closes_the_request_at_once(protocol: str) -> None:
    async with standin(rate=20, stamped=100) as (server, url), model(url, model_protocol=protocol) as client:
        async with listening(client) as ear:
            assert isinstance(await ear.next(), Text)
        await eventually(lambda: server.stats.cancelled == 1)
        assert server.stats.open == 0


async def test_cancelling_the_task_closes_the_request_even_before_the_first_token() -> None:
    async with standin({"mode": "hang"}) as (server, url), model(url, model_read_timeout=30) as client:
        task = asyncio.create_task(hear(client))
        await eventually(lambda: server.stats.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: server.stats.cancelled == 1)


# what passes


PASSING: list[tuple[dict[str, Any], str, str]] = [
    ({"mode": "loading"}, "model_loading", "model_loading"),
    ({"mode": "loading", "estimated_time": 0.02}, "model_loading", "model_loading"),
    ({"mode": "status", "status": 503}, "model_loading", "model_loading"),
    ({"mode": "rate_limited"}, "rate_limited", "model_rate_limited"),
    ({"mode": "rate_limited", "retry_after": 0.02}, "rate_limited", "model_rate_limited"),
    ({"mode": "status", "status": 424}, "retrying", "model_generation"),
    ({"mode": "status", "status": 500}, "retrying", "model_server_error"),
    ({"mode": "status", "status": 502}, "retrying", "model_bad_gateway"),
    ({"mode": "status", "status": 504}, "retrying", "model_gateway_timeout"),
    ({"mode": "status", "status": 599}, "retrying", "model_server_error"),
    ({"mode": "refuse"}, "retrying", "model_disconnected"),
    ({"mode": "hang"}, "retrying", "model_silent"),
    ({"mode": "silent"}, "retrying", "model_silent"),
    ({"mode": "end"}, "retrying", "model_cut"),
    ({"mode": "cut"}, "retrying", "model_cut"),
    ({"mode": "error"}, "retrying", "model_stream_error"),
    ({"mode": "error", "error": "overloaded"}, "rate_limited", "model_rate_limited"),
]


def silence_after(fault: dict[str, Any], short: float = 0.6) -> float:
    """MODEL_READ_TIMEOUT: short for a server that will be silent, out of a slow machine's reach for all others."""
    return short if fault["mode"] in ("hang", "silent") else 30


@pytest.mark.parametrize(("fault", "reason", "code"), PASSING)
async def test_what_may_pass_is_waited_for_and_the_person_told(
    fault: dict[str, Any], reason: str, code: str, protocol: str
) -> None:
    async with (
        standin(fault | {"count": 2}) as (server, url),
        model(url, model_protocol=protocol, model_read_timeout=silence_after(fault)) as client,
    ):
        heard = await hear(client)
    # What a closed connection swallowed is asked again at once, for the server may not have seen it.
    assert heard.waits == ([reason] if fault["mode"] == "refuse" else [reason, reason])
    assert heard.text.startswith("Hello Ada!")
    assert heard.end == "stop"
    assert server.stats.requests == 3


@pytest.mark.usefixtures("_few_tries")
@pytest.mark.parametrize(("fault", "reason", "code"), PASSING)
async def test_what_does_not_pass_fails_in_the_end_with_its_own_code(
    fault: dict[str, Any], reason: str, code: str
) -> None:
    async with (
        standin(fault | {"count": 0}) as (_, url),
        model(url, model_retry_timeout=0.1, model_read_timeout=silence_after(fault, short=0.05)) as client,
    ):
        error = await fails(client, code=code)
    assert error.retryable
    assert "0 seconds" in error.operator


PLAIN, HTML, JSON = (f"Content-Type: {kind}" for kind in ("text/plain", "text/html", "application/json"))

#: The same in the words of servers and of what stands before them.
PASSING_BYTES: list[tuple[Behaviour, str]] = [
    (status(503, b'{"error":"Model EleutherAI/gpt-j-6b is currently loading","estimated_time":0.01}', JSON),
     "model_loading"),
    (status(503, b'{"error":"503 Service Unavailable"}', JSON), "model_loading"),
    (status(503, b"<html>503 Service Temporarily Unavailable</html>", HTML), "model_loading"),
    (status(503, b"", "Retry-After: 0.01"), "model_loading"),
    (status(429, b'{"error":"Model is overloaded","error_type":"overloaded"}', JSON), "rate_limited"),
    (status(429, b"slow down", PLAIN, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"), "rate_limited"),
    (status(429, b"", "Retry-After: soon"), "rate_limited"),
    (status(424, b'{"error":"Request failed during generation","error_type":"generation"}', JSON), "retrying"),
    (status(500, b'{"object":"error","message":"CUDA out of memory","code":500}', JSON), "retrying"),
    (status(502, b"<html><h1>502 Bad Gateway</h1></html>", HTML), "retrying"),
    (status(504, b"upstream request timeout", PLAIN), "retrying"),
    (sends(), "retrying"),
    (sends(b"HTTP/1.1 200 OK\r\nContent-Ty"), "retrying"),
    (sends(STREAM_HEAD), "retrying"),
    (sends(STREAM_HEAD, then="wait"), "retrying"),
    (sends(STREAM_HEAD + b": still here\n\n"), "retrying"),
    (sends(STREAM_HEAD + b'data:{"error":"Model is overloaded","error_type":"overloaded"}\n\n'), "rate_limited"),
    (sends(STREAM_HEAD + b'data:{"error":"Request failed","error_type":"generation"}\n\n'), "retrying"),
    (sends(STREAM_HEAD + b'data:{"error":"Incomplete","error_type":"incomplete_generation"}\n\n'), "retrying"),
]  # fmt: skip


@pytest.mark.parametrize(("behaviour", "reason"), PASSING_BYTES)
async def test_what_may_pass_is_known_by_its_bytes(behaviour: Behaviour, reason: str) -> None:
    async with (
        raw_server(behaviour, behaviour, sends(STREAM_HEAD + tgi(" Hello."))) as server,
        model(server.url, model_read_timeout=1) as client,
    ):
        heard = await hear(client)
    assert ([*dict.fromkeys(heard.waits)], heard.text, heard.end) == ([reason], "Hello.", "stop")


async def test_a_model_that_loads_tells_how_long(protocol: str) -> None:
    async with (
        standin({"mode": "loading", "estimated_time": 0.07}) as (_, url),
        model(url, model_protocol=protocol) as client,
    ):
        heard = await hear(client)
    assert heard.events[0] == Waiting("model_loading", 0.07)


async def test_a_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    async with standin({"mode": "rate_limited", "retry_after": 0.09}) as (_, url), model(url) as client:
        assert (await hear(client)).events[0] == Waiting("rate_limited", 0.09)


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.usefixtures("_few_tries")
async def test_a_server_that_is_not_there() -> None:
    async with nobody() as url, model(url, model_retry_timeout=0.1) as client:
        assert (await fails(client, code="model_refused")).retryable


async def test_a_server_that_comes_up_late_is_waited_for() -> None:
    async with AsyncExitStack() as stack:
        async with nobody() as url:
            client = await stack.enter_async_context(model(url))
            ear = await stack.enter_async_context(listening(client))
            waiting = await ear.next()
        assert isinstance(waiting, Waiting)
        assert (waiting.reason, waiting.retry_in > 0) == ("retrying", True)
        server = Standin(Options(rate=0, stamped=0, first_delay=0, token=""))
        await server.start(port=int(url.rpartition(":")[2]))
        await eventually(lambda: ear.heard.text.startswith("Hello Ada!"))
        await server.aclose()


@pytest.mark.usefixtures("_few_tries")
async def test_an_address_that_does_not_let_anyone_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_client, "CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        for _ in range(3):
            client_socket = waiting.enter_context(socket.socket())
            client_socket.setblocking(False)
            client_socket.connect_ex(full.getsockname())
        async with model(f"http://127.0.0.1:{full.getsockname()[1]}", model_retry_timeout=0.1) as client:
            assert (await fails(client, code="model_unreachable")).retryable


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.usefixtures("_few_tries")
async def test_a_certificate_that_nobody_vouches_for(own_certificate: ssl.SSLContext) -> None:
    async with (
        raw_server(status(200), tls=own_certificate) as server,
        model(server.url, model_retry_timeout=0.1) as client,
    ):
        error = await fails(client, code="model_tls")
    assert error.retryable
    assert "MODEL_URL" in error.operator


@pytest.mark.usefixtures("_few_tries")
async def test_tls_spoken_to_a_server_that_has_none() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with model(url, model_retry_timeout=0.1) as client:
            await fails(client, code="model_tls")


async def test_a_server_that_does_not_speak_http() -> None:
    async with raw_server(sends(b"SSH-2.0-OpenSSH_9.2\r\n")) as server, model(server.url) as client:
        assert not (await fails(client, code="model_misfit")).retryable


# what does not pass


PERMANENT: list[tuple[Behaviour, str, str]] = [
    (status(401), "model_unauthorized", "HF_TOKEN"),
    (status(403, b'{"error":"no"}'), "model_forbidden", "HF_TOKEN"),
    (status(404, b"<html>nginx</html>", "Content-Type: text/html"), "model_not_found", "MODEL_URL"),
    (status(404, b'{"object":"error","message":"The model `x` does not exist."}'), "model_not_found", "MODEL_NAME"),
    (status(405), "model_not_found", "MODEL_URL"),
    (status(410, b'{"error":"gone"}'), "model_gone", "MODEL_URL"),
    (status(422, b'{"error":"`best_of` must be 1","error_type":"validation"}'), "model_rejected", "`best_of`"),
    (status(400, b'{"error":{"message":"no such model"}}'), "model_rejected", "no such model"),
    (status(402), "model_rejected", "402"),
    (status(413), "model_too_long", "MODEL_CONTEXT"),
    (status(307, b"", "Location: https://elsewhere/"), "model_redirected", "MODEL_URL"),
    (status(200, b"<html>Hi</html>", "Content-Type: text/html"), "model_misfit", "MODEL_URL"),
    (status(200, b'{"hello":"world"}', "Content-Type: application/json"), "model_misfit", "MODEL_PROTOCOL"),
    (status(200, bytes(range(256)), "Content-Type: text/plain"), "model_misfit", "MODEL_URL"),
    (sends(STREAM_HEAD + b"data: hello\n\n"), "model_misfit", "MODEL_PROTOCOL"),
    (sends(STREAM_HEAD + vllm("a")), "model_misfit", "completions"),
    (sends(STREAM_HEAD + b"x" * 1_100_000), "model_misfit", "MODEL_URL"),
    (
        sends(STREAM_HEAD + b'data:{"error":"bad `seed`","error_type":"validation"}\n\n'),
        "model_rejected",
        "bad `seed`",
    ),
]


@pytest.mark.parametrize(("behaviour", "code", "named"), PERMANENT)
async def test_what_cannot_pass_fails_at_once_and_names_what_to_change(
    behaviour: Behaviour, code: str, named: str
) -> None:
    async with raw_server(behaviour) as server, model(server.url) as client:
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert error.value.code == code
    assert named in error.value.operator
    assert not error.value.retryable
    assert not re.search(r"[A-Z]+_[A-Z]+|status|\d", error.value.detail)
    assert len(server.requests) == (2 if code == "model_too_long" else 1)


@pytest.mark.parametrize("mode", ["html", "garbage", "chat"])
async def test_a_server_of_another_kind_is_recognised(mode: str, protocol: str) -> None:
    async with standin({"mode": mode}) as (server, url), model(url, model_protocol=protocol) as client:
        error = await fails(client, code="model_misfit")
    assert "MODEL_URL" in error.operator
    assert server.stats.requests == 1


TOO_LONG = {
    "TGI": b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2100 '
    b'`inputs` tokens and 200 `max_new_tokens`","error_type":"validation"}',
    "TGI, input alone": b'{"error":"Input validation error: `inputs` must have less than 1024 tokens. Given: 1500"}',
    "PyTorch": b'{"error":"index 2048 is out of bounds for dimension 1 with size 2048"}',
    "vLLM": b'{"error":{"message":"This model\'s maximum context length is 2048 tokens. However, you requested 2300"}}',
}


@pytest.mark.parametrize("server_name", TOO_LONG)
async def test_a_model_with_other_words_than_gpt_js_is_asked_again_with_bytes_counted(server_name: str) -> None:
    long = [Turn("human", "And then we went to the house of my friend. " * 80)]
    answers = status(422, TOO_LONG[server_name]), sends(STREAM_HEAD + tgi(" I see."))
    async with raw_server(*answers) as server, model(server.url) as client:
        heard = await hear(client, long)
        again = await hear(client, long)
    assert heard.text == again.text == SHORTENED + "I see."
    sizes = [len(orjson.loads(request.partition(b"\r\n\r\n")[2])["inputs"]) for request in server.requests]
    assert sizes[0] > 3500
    assert max(sizes[1:]) <= 1848
    assert heard.waits == []


async def test_the_same_is_understood_in_the_middle_of_an_answer() -> None:
    long = [Turn("human", "And then we went to the house of my friend. " * 80)]
    answers = sends(STREAM_HEAD + b"data: " + TOO_LONG["PyTorch"] + b"\n\n"), sends(STREAM_HEAD + vllm(" I see."))
    async with raw_server(*answers) as server, model(server.url, model_protocol="completions") as client:
        assert (await hear(client, long)).text == SHORTENED + "I see."


async def test_a_model_of_another_name_has_its_bytes_counted_from_the_start() -> None:
    async with standin() as (server, url), model(url, model_name="some-other-model") as client:
        await hear(client, "And then we went to the house of my friend. " * 80)
    assert server.stats.requests == 1
    assert len(server.stats.last_request["inputs"]) <= 1848


async def test_a_server_that_knows_no_repetition_penalty_is_asked_without() -> None:
    refusal = status(422, b'{"detail":"Unexpected fields in the request: {\'repetition_penalty\'}"}')
    answer = sends(STREAM_HEAD + vllm(" Hi."))
    async with raw_server(refusal, answer) as server, model(server.url, model_protocol="completions") as client:
        heard = [await hear(client), await hear(client)]
    assert [reply.text for reply in heard] == ["Hi.", "Hi."]
    assert heard[0].waits == []
    asked = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    assert ["repetition_penalty" in body for body in asked] == [True, False, False]


async def test_a_server_that_still_complains_of_it_is_believed() -> None:
    refusal = status(400, b'{"error":"repetition_penalty is bad"}')
    async with raw_server(refusal) as server, model(server.url, model_protocol="completions") as client:
        await fails(client, code="model_rejected")
    assert len(server.requests) == 2


# broken off in the middle


@pytest.mark.parametrize("mode", ["cut", "end", "error", "silent"])
@pytest.mark.parametrize("after", [1, 2, 7])
async def test_a_reply_that_breaks_off_goes_on_without_a_seam(mode: str, after: int, protocol: str) -> None:
    async with (
        standin({"mode": mode, "after": after, "count": 3}) as (_server, url),
        model(url, model_protocol=protocol, model_read_timeout=silence_after({"mode": mode})) as client,
    ):
        heard = await hear(client)
        whole = await hear(client)
    assert heard.text == whole.text
    assert heard.waits == ["retrying"] * 3
    assert heard.end == "stop"


@pytest.mark.parametrize(
    ("mode", "code"),
    [("cut", "model_cut"), ("end", "model_cut"), ("error", "model_stream_error"), ("silent", "model_silent")],
)
async def test_a_reply_that_breaks_off_again_and_again_fails(mode: str, code: str, protocol: str) -> None:
    async with (
        standin({"mode": mode, "after": 2, "count": 0}) as (server, url),
        model(url, model_protocol=protocol, model_read_timeout=silence_after({"mode": mode})) as client,
    ):
        error = await fails(client, code=code)
    assert error.retryable
    assert server.stats.requests == 4


async def test_stamped_tokens_are_neither_lost_nor_repeated_by_breaks(protocol: str) -> None:
    breaks = [{"mode": mode, "after": 4} for mode in ("cut", "error", "end")]
    async with standin(*breaks, stamped=20, rate=500) as (_, url), model(url, model_protocol=protocol) as client:
        heard = await hear(client)
    assert [int(token.partition("|")[0]) for token in heard.text.split()] == list(range(1, 21))


async def test_nonsense_after_good_tokens_is_a_break_and_not_a_misfit() -> None:
    broken = sends(STREAM_HEAD + tgi(" Hello", end=None) + b"data:{{{\n\n")
    rest = sends(STREAM_HEAD + tgi(" you."))
    async with raw_server(broken, rest) as server, model(server.url) as client:
        assert (await hear(client)).text == "Hello you."
    assert orjson.loads(server.requests[1].partition(b"\r\n\r\n")[2])["inputs"].endswith("\nBot: Hello")


async def test_a_word_broken_off_in_the_middle_is_completed() -> None:
    broken = sends(STREAM_HEAD + tgi(" Hel", end=None))
    rest = sends(STREAM_HEAD + tgi("lo", " you."))
    async with raw_server(broken, rest) as server, model(server.url) as client:
        assert (await hear(client)).text == "Hello you."


async def test_what_was_held_back_at_a_break_is_not_shown_twice() -> None:
    broken = sends(STREAM_HEAD + tgi(" One.", "\n", "Ad", end=None))
    rest = sends(STREAM_HEAD + tgi("\n", "Adam", " too."))
    async with raw_server(broken, rest) as server, model(server.url) as client:
        assert (await hear(client)).text == "One.\nAdam too."


async def test_a_continuation_asks_for_the_tokens_that_are_left() -> None:
    broken = sends(STREAM_HEAD + tgi(*[" a"] * 30, end=None))
    rest = sends(STREAM_HEAD + tgi(" b."))
    async with raw_server(broken, rest) as server, model(server.url, max_new_tokens=50) as client:
        await hear(client)
    asked = [orjson.loads(r.partition(b"\r\n\r\n")[2])["parameters"]["max_new_tokens"] for r in server.requests]
    assert asked == [50, 20]


# empty replies


async def test_an_empty_reply_is_asked_for_once_more(protocol: str) -> None:
    async with standin({"mode": "empty"}) as (server, url), model(url, model_protocol=protocol) as client:
        heard = await hear(client)
    assert heard.text.startswith("Hello Ada!")
    assert server.stats.requests == 2


async def test_a_second_empty_reply_is_reported(protocol: str) -> None:
    async with standin({"mode": "empty", "count": 0}) as (server, url), model(url, model_protocol=protocol) as client:
        assert (await fails(client, code="model_empty")).retryable
    assert server.stats.requests == 2


async def test_nothing_more_to_say_after_a_takeover_is_a_finished_reply(protocol: str) -> None:
    async with standin({"mode": "empty"}) as (server, url), model(url, model_protocol=protocol) as client:
        heard = await hear(client, partial="All said.")
    assert (heard.text, heard.end, server.stats.requests) == ("", "stop", 1)


# outages


async def test_a_thousand_waiting_replies_do_not_hammer_a_dead_server() -> None:
    async with (
        standin({"mode": "status", "status": 502, "count": 0}) as (server, url),
        model(url, model_retry_timeout=60) as client,
    ):
        replies = [asyncio.create_task(hear(client)) for _ in range(5)]
        await eventually(lambda: client.breaker.state == "open")
        late = [Heard() for _ in range(995)]
        replies += [asyncio.create_task(hear(client, heard=heard)) for heard in late]
        await eventually(lambda: all(heard.waits for heard in late))
        asked = server.stats.requests
        for _ in range(3):
            await eventually(lambda: client.breaker.state != "open")
            await eventually(lambda: client.breaker.state == "open")
        # One each time; another may be over between two looks.
        assert server.stats.requests - asked <= 5
        for reply in replies[100:]:
            reply.cancel()
        server.faults.waiting.clear()
        heard = list(await asyncio.gather(*replies, return_exceptions=True))[:100]
        assert client.breaker.state == "closed"
    assert {reply.end for reply in heard if isinstance(reply, Heard)} == {"stop"}
    assert all(isinstance(reply, Heard) and {*reply.waits} == {"retrying"} for reply in heard)


async def test_who_comes_during_an_outage_waits_without_asking_and_is_told_why() -> None:
    async with standin({"mode": "loading", "estimated_time": 0.4, "count": 5}) as (_server, url), model(url) as client:
        first = [asyncio.create_task(hear(client)) for _ in range(5)]
        await eventually(lambda: client.breaker.state == "open")
        late = await hear(client)
        await asyncio.gather(*first)
    assert late.waits[0] == "model_loading"
    assert late.text.startswith("Hello Ada!")


async def test_an_outage_longer_than_all_patience_fails_with_its_cause() -> None:
    async with (
        standin({"mode": "status", "status": 504, "count": 0}) as (_, url),
        model(url, model_retry_timeout=0.3) as client,
    ):
        results = await asyncio.gather(*(hear(client) for _ in range(20)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"model_gateway_timeout"}


async def test_a_probe_that_is_stopped_leaves_its_turn_to_the_next() -> None:
    faults: list[dict[str, Any]] = [{"mode": "status", "status": 500, "count": 5}, {"mode": "hang"}]
    async with standin(*faults) as (server, url), model(url, model_read_timeout=30) as client:
        waiting = [asyncio.create_task(hear(client)) for _ in range(5)]
        await eventually(lambda: server.stats.open == 1)
        for reply in waiting:
            if not server.stats.cancelled:
                reply.cancel()
                await asyncio.gather(reply, return_exceptions=True)
                await asyncio.sleep(0.02)
        waiting.append(asyncio.create_task(hear(client)))
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {getattr(reply, "end", None) for reply in results} == {"stop", None}
    assert client.breaker.state == "closed"


async def test_a_probe_that_has_to_ask_again_with_less_does_not_block_the_others() -> None:
    faults: list[dict[str, Any]] = [{"mode": "status", "status": 500, "count": 5}, {"mode": "status", "status": 413}]
    async with standin(*faults) as (_, url), model(url) as client:
        replies = await asyncio.gather(*(hear(client) for _ in range(5)))
    assert {reply.end for reply in replies} == {"stop"}


async def test_an_outage_that_ends_in_a_refusal_does_not_block_the_next_probe() -> None:
    faults = [{"mode": "status", "status": 500, "count": 5}, {"mode": "status", "status": 401, "count": 2}]
    async with standin(*faults) as (_, url), model(url) as client:
        results = await asyncio.gather(*(hear(client) for _ in range(5)), return_exceptions=True)
    assert [getattr(result, "code", "") for result in results].count("model_unauthorized") == 2
    assert client.breaker.state == "closed"


# start, secrets


async def test_what_will_be_called_is_logged_once_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "parley.model")
    async with standin(token=BEARER) as (_, url), model(url, hf_token=BEARER) as client:
        await hear(client)
        await hear(client)
    assert [record.message for record in caplog.records] == [f"model.configured url={url}/ protocol=text-generation"]


async def test_the_token_is_never_in_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = b'{"error":"the token hf_secret is not good"}'
    async with raw_server(status(400, body)) as server, model(server.url, hf_token=BEARER) as client:
        error = await fails(client, code="model_rejected")
    assert b"hf_secret" in server.requests[0]
    assert "hf_secret" not in error.detail + error.operator + caplog.text + repr(client) + repr(
        vars(client)["_settings"]
    )


def test_settings_that_leave_no_room_are_refused_at_start() -> None:
    with pytest.raises(SettingsError, match="MAX_NEW_TOKENS"):
        Model(settings("http://h", model_context=256, max_new_tokens=200))


def test_a_reply_is_tried_for_five_minutes_and_silence_lasts_a_minute_unless_set() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert (defaults["model_retry_timeout"], defaults["model_read_timeout"], defaults["model_context"]) == (
        300,
        60,
        2048,
    )
