"""What servers do that no protocol says: each kind of ending, line, label, error and length, by raw servers."""

import re

import orjson
import pytest

from tasks.errors import ModelError
from tasks.model import retry
from tasks.model.prompt import SHORTENED, Turn
from tests.support.model_server import (
    STREAM_HEAD,
    Behaviour,
    Heard,
    hear,
    model,
    raw_server,
    sends,
    status,
    tgi,
    vllm,
)

DONE = b"data: [DONE]\n\n"
JSON = "Content-Type: application/json"
LONG = [Turn("human", "And then we went to the house of my friend. " * 80)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is tested elsewhere."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)


def stream(*parts: bytes, head: bytes = STREAM_HEAD) -> Behaviour:
    """A response of these bytes."""
    return sends(head + b"".join(parts))


def event(json: str) -> bytes:
    return f"data: {json}\n\n".encode()


def choice(text: str, reason: str = "null") -> bytes:
    return event(f'{{"choices":[{{"index":0,"text":"{text}","finish_reason":{reason}}}]}}')


def token(text: str) -> bytes:
    return event(f'{{"token":{{"text":"{text}","special":false}},"generated_text":null}}')


def as_label(kind: str) -> bytes:
    return STREAM_HEAD.replace(b"text/event-stream", kind.encode())


async def reply(protocol: str, *answers: Behaviour, **changes: object) -> Heard:
    """What a person gets."""
    async with raw_server(*answers) as server, model(server.url, model_protocol=protocol, **changes) as client:
        return await hear(client)


async def failure(protocol: str, *answers: Behaviour, heard: Heard | None = None) -> ModelError:
    """How a reply fails."""
    async with raw_server(*answers) as server, model(server.url, model_protocol=protocol) as client:
        with pytest.raises(ModelError) as error:
            await hear(client, heard=heard)
    return error.value


# reasons for ending


@pytest.mark.parametrize("reason", ['""', "null", '" "', '"None"', '"null"', "false", "{}", "0"])
async def test_a_reason_that_is_none_does_not_end_a_reply(reason: str) -> None:
    heard = await reply("completions", stream(choice(" One", reason), choice(" two", reason), choice(" three."), DONE))
    assert (heard.text, heard.waits, heard.end) == ("One two three.", [], "stop")


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "complete"])
async def test_a_reason_that_means_done_ends_a_reply(reason: str) -> None:
    heard = await reply("completions", stream(choice(" One"), choice(" two.", f'"{reason}"')))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


@pytest.mark.parametrize("reason", ["length", "LENGTH", "max_tokens", "max_new_tokens", "model_length"])
async def test_a_reason_that_means_full_ends_a_reply_at_its_limit(reason: str) -> None:
    heard = await reply("completions", stream(choice(" One"), choice(" two.", f'"{reason}"')))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "length")


@pytest.mark.parametrize(
    "reason", ['"abort"', '"error"', '"cancelled"', '"content_filter"', '"tool_calls"', '"timeout"', '{"type":"abort"}']
)
async def test_any_other_reason_is_a_break_and_the_reply_goes_on(reason: str) -> None:
    broken = stream(choice(" One"), choice(" two", reason), DONE)
    heard = await reply("completions", broken, stream(vllm(" three.")))
    assert (heard.text, heard.waits, heard.end) == ("One two three.", ["retrying"], "stop")


async def test_any_other_reason_of_the_other_protocol_is_a_break_too() -> None:
    last = event(
        '{"token":{"text":" two","special":false},"generated_text":" One two","details":{"finish_reason":"x"}}'
    )
    heard = await reply("text-generation", stream(token(" One"), last), stream(tgi(" three.")))
    assert (heard.text, heard.waits, heard.end) == ("One two three.", ["retrying"], "stop")


async def test_a_reply_that_is_aborted_again_and_again_fails_with_what_was_shown() -> None:
    heard = Heard()
    error = await failure("completions", stream(choice(" One"), choice(" two", '"abort"'), DONE), heard=heard)
    assert heard.text.startswith("One two")
    assert (error.code, error.retryable) == ("model_stream_error", True)
    assert "abort" in error.operator


# lines that are no token

PASSED_OVER = [
    '{"choices":null,"usage":{"total_tokens":3}}', '{"choices":[],"usage":null}', '{"choices":[null]}',
    '{"choices":[{}]}', '{"choices":[{"index":0,"text":null,"finish_reason":null}]}', '{"choices":{}}', "{}",
    '{"warning":"x"}', '{"error":null}', '{"error":""}', '{"error":{}}', '{"error":false}', '{"message":"queued"}',
    "null", "7", '"x"', "[]", "[[]]", "hello", "{", "", '{"token":null}', '{"token":{}}', '{"token":{"text":null}}',
    '{"prompt_progress":{"total":9,"processed":3}}', '{"object":"ping"}', "[" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("line", PASSED_OVER)
@pytest.mark.parametrize("protocol", ["completions", "text-generation"])
async def test_a_line_that_is_neither_token_nor_error_is_passed_over(line: str, protocol: str) -> None:
    one, two = (choice(" One"), choice(" two.")) if protocol == "completions" else (token(" One"), token(" two."))
    heard = await reply(protocol, stream(event(line), one, event(line), two, event(line), DONE))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


@pytest.mark.parametrize("line", [b"id: 7\n\n", b"event: token\n", b"retry: 5\n\n", b": ping\n\n", b":\n", b"\r\n\r\n"])
async def test_fields_and_comments_are_passed_over(line: bytes) -> None:
    heard = await reply("completions", stream(line, choice(" One"), line, choice(" two."), line, DONE))
    assert (heard.text, heard.waits) == ("One two.", [])


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
async def test_a_byte_order_mark_swallows_no_event_however_it_comes(at: int) -> None:
    body = b"\xef\xbb\xbf" + vllm(" One", " two.")
    heard = await reply("completions", sends(STREAM_HEAD + body[:at], body[at:]))
    assert heard.text == "One two."


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
async def test_every_kind_of_line_end_is_understood(ends: bytes) -> None:
    assert (await reply("completions", stream(vllm(" One", " two.").replace(b"\n", ends)))).text == "One two."


@pytest.mark.parametrize("protocol", ["completions", "text-generation"])
@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["\\ud83d", "\\ude00"], "\U0001f600"),
        ([" a\\ud83d", "\\ude00b"], "a\U0001f600b"),
        (["\\ud83d", "", "\\ude00"], "\U0001f600"),
        (["\\ud83d\\ude00"], "\U0001f600"),
        (["x\\ud83d", "y"], "x\ufffdy"),
        (["x", "\\ude00", "y"], "x\ufffdy"),
        (["x\\ud83d"], "x\ufffd"),
        (["x\\ud83d", "\\ud83d", "\\ude00"], "x\ufffd\U0001f600"),
    ],
)
async def test_halves_of_a_character_are_joined_or_replaced(pieces: list[str], shown: str, protocol: str) -> None:
    make = choice if protocol == "completions" else token
    heard = await reply(protocol, stream(*map(make, pieces), DONE))
    assert (heard.text, heard.waits) == (shown, [])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "9" * 400])
async def test_numbers_that_are_no_json_hide_no_token(number: str) -> None:
    strange = event(f'{{"token":{{"text":" two.","special":false,"logprob":{number}}},"generated_text":null}}')
    assert (await reply("text-generation", stream(token(" One"), strange, DONE))).text == "One two."


# what a response is


@pytest.mark.parametrize("label", ["application/json", "text/plain", "text/html; charset=utf-8", "", "nonsense"])
@pytest.mark.parametrize("protocol", ["completions", "text-generation"])
async def test_a_stream_is_a_stream_whatever_its_label(label: str, protocol: str) -> None:
    body = vllm(" One", " two.") if protocol == "completions" else tgi(" One", " two.")
    heard = await reply(protocol, stream(body, head=as_label(label)))
    assert (heard.text, heard.waits) == ("One two.", [])


async def test_a_stream_under_a_wrong_label_is_shown_word_by_word() -> None:
    heard = await reply(
        "completions", sends(as_label("application/json"), *(vllm(w, end=None) for w in (" a", " b")), DONE)
    )
    assert len(heard.events) > 1


@pytest.mark.parametrize("label", ["text/event-stream", "text/plain", "application/json", "text/html"])
@pytest.mark.parametrize(
    "body", ['{"choices":[{"text":" One two."}]}', '{\n "choices": [\n  {"text": " One two."}\n ]\n}\n']
)
async def test_a_document_is_a_document_whatever_its_label(label: str, body: str) -> None:
    heard = await reply("completions", stream(body.encode(), head=as_label(label)))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


@pytest.mark.parametrize("label", ["application/x-ndjson", "application/jsonlines", "application/json"])
async def test_one_json_value_a_line_is_a_stream(label: str) -> None:
    lines = vllm(" One", " two.").replace(b"data: ", b"").replace(b"\n\n", b"\n").replace(b"[DONE]\n", b"")
    heard = await reply("completions", stream(lines, head=as_label(label)))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


@pytest.mark.parametrize("label", ["text/html", "text/event-stream", "application/json", "text/plain"])
async def test_a_web_page_is_a_web_page_whatever_its_label(label: str) -> None:
    error = await failure("completions", stream(b"\n<!doctype html><p>Welcome</p>", head=as_label(label)))
    assert (error.code, error.retryable) == ("model_misfit", False)
    assert "web page" in error.operator


@pytest.mark.parametrize("code", [200, 201, 206])
async def test_every_success_may_bring_a_reply(code: int) -> None:
    assert (await reply("completions", status(code, vllm(" One.")))).text == "One."


# errors in a stream

IN_STREAM = {
    "llama.cpp": b'error: {"code":500,"message":"boom","type":"server_error"}\n\n',
    "llama.cpp, without a space": b'error:{"code":500,"message":"boom"}\n\n',
    "plain text under error": b"error: boom\n\n",
    "a named event": b'event: error\ndata: {"message":"boom"}\n\n',
    "a named event of plain text": b"event: error\ndata: boom\n\n",
    "OpenAI": event('{"error":{"message":"boom","type":"server_error","code":null}}'),
    "TGI": event('{"error":"boom","error_type":"generation"}'),
    "vLLM, older": event('{"object":"error","message":"boom","type":"InternalServerError","code":500}'),
    "OpenRouter": event('{"choices":[{"text":"","finish_reason":"error"}],"error":{"code":500,"message":"boom"}}'),
    "FastAPI": event('{"detail":"boom"}'),
    "a bare line": b'{"error":{"message":"boom"}}\n',
    "a list": event('[{"error":{"message":"boom"}}]'),
    "Anthropic's": event('{"type":"error","error":{"type":"api_error","message":"boom"}}'),
}


@pytest.mark.parametrize("name", IN_STREAM)
@pytest.mark.parametrize("after", [b"", DONE])
async def test_an_error_in_a_stream_is_a_break_with_its_words(name: str, after: bytes) -> None:
    broken = stream(choice(" One"), choice(" two"), IN_STREAM[name], after)
    heard = await reply("completions", broken, stream(vllm(" three.")))
    assert (heard.text, heard.waits) == ("One two three.", ["retrying"])
    error = await failure("completions", broken)
    assert (error.code, error.retryable) == ("model_stream_error", True)
    assert "boom" in error.operator


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', "model_loading"),
        ('{"error":{"code":429,"message":"slow down"}}', "model_rate_limited"),
        ('{"error":{"message":"slow down","type":"rate_limit_exceeded"}}', "model_rate_limited"),
        ('{"error":{"code":"401","message":"bad key"}}', "model_unauthorized"),
        ('{"error":{"code":404,"message":"no such model"}}', "model_not_found"),
        ('{"error":{"code":400,"message":"bad","type":"BadRequestError"}}', "model_rejected"),
    ],
)
async def test_an_error_before_the_first_word_is_known_by_its_code(line: str, code: str) -> None:
    async with (
        raw_server(stream(event(line), DONE)) as server,
        model(server.url, model_protocol="completions", model_retry_timeout=0.05) as client,
    ):
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert error.value.code == code


# bodies of errors

BODIES = {
    "FastAPI's list": b'{"detail":[{"type":"extra","loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}',
    "FastAPI's text": b'{"detail":"body.seed: Extra inputs are not permitted"}',
    "OpenAI": b'{"error":{"message":"Extra inputs are not permitted","param":"seed","code":null}}',
    "vLLM": b"{\"object\":\"error\",\"message\":\"[{'loc': ('seed',), 'msg': 'Extra inputs are not permitted'}]\"}",
    "TGI": b'{"error":"seed: Extra inputs are not permitted","error_type":"validation"}',
    "problem+json": b'{"title":"Bad Request","detail":"seed: Extra inputs are not permitted","status":422}',
    "fields by name": b'{"seed":["Extra inputs are not permitted"]}',
    "errors by name": b'{"errors":{"seed":["Extra inputs are not permitted"]}}',
    "a list": b'[{"error":{"message":"seed: Extra inputs are not permitted"}}]',
    "error in error": b'{"error":{"error":{"message":"seed: Extra inputs are not permitted"}}}',
    "plain text": b"seed: Extra inputs are not permitted",
    "a web page": b"<html><head><title>x</title></head><body><p>seed: Extra inputs are not permitted</p></body></html>",
    "a JSON text": b'"seed: Extra inputs are not permitted"',
    "UTF-8 that is broken": b'{"error":"seed: Extra inputs are not permitted \xff"}',
    "message and code": b'{"code":422,"msg":"seed: Extra inputs are not permitted"}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_the_reason_is_found_in_whatever_shape_a_server_gives_it(name: str) -> None:
    error = await failure("completions", status(422, BODIES[name]))
    assert (error.code, error.retryable) == ("model_rejected", False)
    assert "Extra inputs are not permitted" in error.operator
    assert "seed" in error.operator
    assert error.detail == "The model is not set up correctly. Please tell whoever runs this site."


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("parameter", ["repetition_penalty", "top_p"])
async def test_a_parameter_that_a_server_does_not_know_is_left_out_whatever_the_shape(
    name: str, parameter: str
) -> None:
    refusal = status(422, BODIES[name].replace(b"seed", parameter.encode()))
    async with (
        raw_server(refusal, stream(vllm(" Hi."))) as server,
        model(server.url, model_protocol="completions") as client,
    ):
        heard = [await hear(client), await hear(client)]
    assert [one.text for one in heard] == ["Hi.", "Hi."]
    assert heard[0].waits == []
    asked = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    assert [parameter in body for body in asked] == [True, False, False]


async def test_parameters_of_the_other_protocol_are_left_out_one_by_one() -> None:
    refusals = [
        status(422, b'{"error":"unknown field `details`, expected one of `inputs`, `top_p`"}'),
        status(400, b'{"detail":[{"loc":["body","parameters","return_full_text"],"msg":"Extra inputs"}]}'),
        stream(event('{"error":"unexpected keyword argument \'repetition_penalty\'","error_type":"validation"}')),
    ]
    async with raw_server(*refusals, stream(tgi(" Hi."))) as server, model(server.url) as client:
        assert (await hear(client)).text == "Hi."
    last = orjson.loads(server.requests[-1].partition(b"\r\n\r\n")[2])["parameters"]
    assert {*last} == {"max_new_tokens", "stop", "do_sample", "temperature", "top_p"}


@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/model/", "{url}/model/"),
        ("https://elsewhere.example/v1/completions", "https://elsewhere.example/v1/completions"),
        ("//elsewhere.example/x?api_key=verysecretkey", "http://elsewhere.example/x"),
    ],
)
async def test_a_redirect_is_refused_and_the_operator_told_where_it_leads(code: int, location: str, told: str) -> None:
    async with raw_server(status(code, b"", f"Location: {location}")) as server, model(server.url) as client:
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert (error.value.code, len(server.requests)) == ("model_redirected", 1)
    assert error.value.operator.endswith(f" {told.format(url=server.url)}")
    assert "MODEL_URL" in error.value.operator


@pytest.mark.parametrize("path", ["/model/", "/generate_stream/", "/a/b/"])
async def test_the_last_slash_of_an_address_is_kept(path: str) -> None:
    async with raw_server(stream(tgi(" Hi."))) as server, model(server.url + path) as client:
        await hear(client)
    assert server.requests[0].startswith(f"POST {path} HTTP/1.1\r\n".encode())


# too long

TOO_LONG = {
    "llama.cpp": "the request exceeds the available context size. try increasing the context size",
    "llama.cpp, newer": "request (2500 tokens) exceeds the available context size (2048 tokens), try increasing it",
    "vLLM": "This model's maximum context length is 2048 tokens. However, you requested 2300 tokens",
    "vLLM, prompt alone": "The decoder prompt (length 2500) is longer than the maximum model length of 2048.",
    "SGLang": "The input (2500 tokens) is longer than the model's context length (2048 tokens).",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2100 `inputs` tokens",
    "TGI, input alone": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1500",
    "Ollama": "the input length exceeds the context length",
    "LM Studio": "The number of tokens to keep from the initial prompt is greater than the context length.",
    "TensorRT-LLM": "Prompt length (2500) exceeds maximum input length (2048).",
    "OpenAI": "Please reduce the length of the messages or completion.",
    "Anthropic": "prompt is too long: 2500 tokens > 2048 maximum",
    "Mistral": "Prompt contains 2500 tokens and 0 draft tokens, too large for model with 2048 maximum context length",
    "exllama": "Prompt length 2500 is greater than max_seq_len 2048",
    "pydantic": "String should have at most 4096 characters",
    "PyTorch": "index 2048 is out of bounds for dimension 1 with size 2048",
    "PyTorch, on a CPU": "index out of range in self",
}


@pytest.mark.parametrize("name", TOO_LONG)
@pytest.mark.parametrize("where", ["status 400", "status 500", "stream"])
async def test_too_long_is_understood_in_every_servers_words(name: str, where: str) -> None:
    body = orjson.dumps({"error": {"code": 400, "message": TOO_LONG[name], "type": "invalid_request_error"}})
    refusal = stream(event(body.decode())) if where == "stream" else status(int(where.split()[1]), body)
    async with (
        raw_server(refusal, stream(vllm(" I see."))) as server,
        model(server.url, model_protocol="completions") as client,
    ):
        heard = await hear(client, LONG)
    assert (heard.text, heard.waits) == (SHORTENED + "I see.", [])
    error = await failure("completions", refusal)
    assert (error.code, error.retryable) == ("model_too_long", False)
    assert "MODEL_CONTEXT" in error.operator
    assert error.detail == "This conversation is too long for the model. Please start a new one."


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (429, "Too many tokens per minute, reduce the length of your prompt", "model_rate_limited"),
        (503, "context window is still being allocated", "model_loading"),
        (422, "body.temperature: Input should be greater than 0", "model_rejected"),
    ],
)
async def test_other_words_about_lengths_are_not_too_long(code: int, message: str, expected: str) -> None:
    answer = status(code, orjson.dumps({"error": message}))
    async with raw_server(answer) as server, model(server.url, model_retry_timeout=0.05, temperature=0) as client:
        with pytest.raises(ModelError) as error:
            await hear(client)
    assert error.value.code == expected


# limits that are ours


@pytest.mark.parametrize("protocol", ["completions", "text-generation"])
@pytest.mark.parametrize("size", [1, 3, 5000])
async def test_max_new_tokens_holds_whatever_the_server_sends(protocol: str, size: int) -> None:
    make = choice if protocol == "completions" else token
    words = [make(" word" * size) for _ in range(max(1, 600 // size))]
    heard = await reply(protocol, sends(STREAM_HEAD + b"".join(words), then="wait"), max_new_tokens=50)
    assert heard.end == "length"
    assert {*heard.text.split(" ")} == {"word"}
    assert 45 <= heard.text.count("word") <= 50


@pytest.mark.parametrize("text", ["x" * 40_000, "\u4eca" * 40_000, "-" * 300 + " a" * 9000])
async def test_one_piece_without_end_is_cut_at_the_limit(text: str) -> None:
    heard = await reply("completions", stream(choice(" " + text), DONE), max_new_tokens=50)
    assert (len(heard.text) <= 50 * 16, heard.end) == (True, "length")


@pytest.mark.parametrize("text", ["\\n", " ", "\\t\\n"])
async def test_white_space_without_end_is_an_empty_reply(text: str) -> None:
    error = await failure("completions", sends(STREAM_HEAD + choice(text) * 3000, then="wait"))
    assert (error.code, error.retryable) == ("model_empty", True)


async def test_an_event_without_its_blank_line_is_bounded() -> None:
    endless = sends(STREAM_HEAD + b"data: 0123456789\n" * 100_000, then="wait")
    error = await failure("completions", endless)
    assert error.code == "model_misfit"


@pytest.mark.parametrize("start", [b"{", b"[", b"data: ", b"x", b": ", b"error: "])
async def test_a_line_without_end_is_bounded(start: bytes) -> None:
    endless = sends(STREAM_HEAD + start + b" " * 1_200_000, then="wait")
    error = await failure("completions", endless)
    assert error.code == "model_misfit"


async def test_a_long_error_is_read_in_part_and_told_in_short() -> None:
    error = await failure("completions", status(400, b'{"error":"' + b"long " * 100_000 + b'"}'))
    assert error.code == "model_rejected"
    assert len(error.operator) < 500


# public reports


async def test_a_finished_reply_may_have_no_reason_at_all() -> None:
    """vllm-mlx 628: the last chunk's reason is null, then [DONE]."""
    heard = await reply("completions", stream(choice(" One"), choice(" two."), choice(""), DONE))
    assert (heard.text, heard.waits, heard.end) == ("One two.", [], "stop")


async def test_an_error_and_then_done_is_no_empty_success() -> None:
    """LiteLLM 40578, RocketMQ dashboard 2178: an error event in a response with status 200, then [DONE]."""
    quota = event('{"error":{"message":"quota exceeded"}}')
    assert (await failure("completions", stream(choice(" One"), quota, DONE))).code == "model_stream_error"


async def test_a_stream_that_ends_without_reason_and_done_is_cut() -> None:
    """vLLM 52852: the engine drops a request and closes the stream as if it were over."""
    heard = await reply("completions", stream(choice(" One")), stream(vllm(" two.")))
    assert (heard.text, heard.waits) == ("One two.", ["retrying"])


async def test_an_error_field_with_a_context_that_is_too_small_is_too_long() -> None:
    """llama.cpp 16109: `error:` in place of `data:`, at status 200."""
    line = b'error: {"code":400,"message":"the request exceeds the available context size","type":"x"}\n\n'
    error = await failure("completions", stream(line, DONE))
    assert error.code == "model_too_long"


async def test_events_whose_text_repeats_keys_of_errors_are_text() -> None:
    text = re.escape('{"error":"no"}').replace("\\", "").replace('"', '\\"')
    assert (await reply("completions", stream(choice(f" {text}"), DONE))).text == '{"error":"no"}'
