"""Where and how the model server is asked."""

from typing import Any

import orjson
import pytest

from tasks.errors import SettingsError
from tasks.model.prompt import Prompt
from tasks.model.request import Endpoint
from tests.support.model_server import settings

BEARER = "hf_secret"
PROMPT = Prompt("Ada: Hi\nBot:", ("\nAda:", "\nBot:"), shortened=False)


@pytest.mark.parametrize(
    ("protocol", "given", "called"),
    [
        ("text-generation", "http://h", "http://h/"),
        ("text-generation", "http://h/", "http://h/"),
        ("text-generation", "http://h:80/generate", "http://h:80/generate_stream"),
        ("text-generation", "http://h/generate_stream", "http://h/generate_stream"),
        ("text-generation", "http://h/generate_stream/", "http://h/generate_stream/"),
        ("text-generation", "http://h/model/", "http://h/model/"),
        ("text-generation", "https://h/models/x?a=1", "https://h/models/x?a=1"),
        ("completions", "http://h", "http://h/v1/completions"),
        ("completions", "http://h/", "http://h/v1/completions"),
        ("completions", "http://h/v1", "http://h/v1/completions"),
        ("completions", "http://h/v1/completions", "http://h/v1/completions"),
        ("completions", "http://h/v1/completions/", "http://h/v1/completions/"),
        ("completions", "http://h/proxy/v1/", "http://h/proxy/v1/completions"),
    ],
)
def test_a_base_address_or_a_full_path_will_do(protocol: str, given: str, called: str) -> None:
    assert Endpoint(settings(given, model_protocol=protocol)).url == called


@pytest.mark.parametrize(
    ("protocol", "given", "named"),
    [
        ("text-generation", "http://h/v1/completions", "MODEL_PROTOCOL=completions"),
        ("completions", "http://h/generate_stream", "MODEL_PROTOCOL=text-generation"),
        ("completions", "http://h/v1/chat/completions", "/v1/completions"),
        ("text-generation", "http://h/v1/chat/completions", "MODEL_URL"),
        ("completions", "http://me:secret@h", "HF_TOKEN"),
        ("completions", "http://", "MODEL_URL"),
        ("completions", "http://h:port", "MODEL_URL"),
        ("completions", "http://[::1", "MODEL_URL"),
        ("completions", "http://[zz]/", "MODEL_URL"),
        ("completions", "http://h/\x7f", "MODEL_URL"),
        ("completions", "http://\u200bh", "MODEL_URL"),
        ("completions", "http://h h/", "MODEL_URL"),
        ("completions", "http://h\\x/", "MODEL_URL"),
        ("completions", "http://h:99999", "MODEL_URL"),
        ("completions", f"http://{'h' * 64}.example", "MODEL_URL"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused_at_start(protocol: str, given: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named) as error:
        Endpoint(settings(given, model_protocol=protocol))
    assert "secret" not in str(error.value)


def body(**changes: Any) -> Any:
    return orjson.loads(Endpoint(settings("http://h", **changes)).body(PROMPT, 50))


def test_a_text_generation_request() -> None:
    assert body() == {
        "inputs": PROMPT.text,
        "parameters": {
            "max_new_tokens": 50,
            "stop": ["\nAda:", "\nBot:"],
            "return_full_text": False,
            "details": True,
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 0.9,
            "repetition_penalty": 1.1,
        },
        "stream": True,
    }


def test_a_completions_request() -> None:
    assert body(model_protocol="completions") == {
        "model": "EleutherAI/gpt-j-6b",
        "prompt": PROMPT.text,
        "max_tokens": 50,
        "stop": ["\nAda:", "\nBot:"],
        "stream": True,
        "temperature": 0.7,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
    }


def test_what_text_generation_has_no_value_for_is_left_out() -> None:
    greedy = body(temperature=0, top_p=0.5, repetition_penalty=1)["parameters"]
    assert greedy["do_sample"] is False
    assert not greedy.keys() & {"temperature", "top_p", "repetition_penalty"}
    assert "top_p" not in body(top_p=1)["parameters"]


def test_completions_are_told_to_be_greedy_but_not_what_only_some_servers_know() -> None:
    greedy = body(model_protocol="completions", temperature=0, top_p=1, repetition_penalty=1)
    assert greedy["temperature"] == 0
    assert not greedy.keys() & {"top_p", "repetition_penalty"}


def test_the_token_is_a_bearer_token_and_nowhere_else() -> None:
    endpoint = Endpoint(settings("http://h", hf_token=BEARER))
    assert endpoint.headers["Authorization"] == "Bearer hf_secret"
    assert endpoint.redact("no hf_secret here", PROMPT) == "no *** here"
    assert "Authorization" not in Endpoint(settings("http://h")).headers


@pytest.mark.parametrize(
    "token", ["hf_secret\n", "\nhf_secret", "hf_secret\r\nX: y", "hf_secret ", "hf secret", "\t", "hf_sécret"]
)
def test_a_token_that_cannot_be_one_is_refused_at_start_and_not_repeated(token: str) -> None:
    with pytest.raises(SettingsError, match="HF_TOKEN") as error:
        Endpoint(settings("http://h", hf_token=token))
    assert "hf_s" not in str(error.value)
