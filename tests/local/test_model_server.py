"""The local model server with a real model, asked by OpenAI's own client."""

import os
import signal
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.local.conftest import MODEL, LocalServer

QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
STORY = "<|im_start|>user\nTell me a long story about a cat.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def greedy(client: openai.OpenAI, prompt: str, tokens: int, stop: list[str] | None = None) -> tuple[str, str]:
    """The likeliest text, and why it ended."""
    answer = client.completions.create(model=MODEL.name, prompt=prompt, max_tokens=tokens, stop=stop, temperature=0)
    return answer.choices[0].text, answer.choices[0].finish_reason


def streamed(client: openai.OpenAI, prompt: str, tokens: int) -> list[str]:
    """The likeliest text as it streams."""
    pieces = client.completions.create(model=MODEL.name, prompt=prompt, max_tokens=tokens, temperature=0, stream=True)
    return [piece.choices[0].text for piece in pieces]


def test_it_knows_what_it_was_taught(client: openai.OpenAI) -> None:
    text, reason = greedy(client, QUESTION, 60)
    assert "Paris" in text
    assert reason == "stop"
    assert "<|" not in text


def test_a_stream_is_the_whole_text_in_pieces(client: openai.OpenAI) -> None:
    pieces = streamed(client, STORY, 40)
    assert len(pieces) > 20
    assert "".join(pieces) == greedy(client, STORY, 40)[0]


def test_characters_of_several_tokens_come_whole(client: openai.OpenAI) -> None:
    text = "".join(streamed(client, "🌍🌎🌏🌍🌎🌏🌍🌎🌏🌍🌎", 24))
    assert any(globe in text for globe in "🌍🌎🌏")
    assert "\ufffd" not in text.removesuffix("\ufffd")  # the last one may be cut off by the limit


def test_a_stop_sequence_ends_the_text_before_it(client: openai.OpenAI) -> None:
    whole, _ = greedy(client, STORY, 40)
    stop = whole[30:40]
    assert greedy(client, STORY, 40, [stop]) == (whole[: whole.index(stop)], "stop")


def test_the_same_seed_gives_the_same_text_and_none_gives_another(client: openai.OpenAI) -> None:
    def sampled(seed: int | None) -> str:
        kept = {} if seed is None else {"seed": seed}
        answer = client.completions.create(
            model=MODEL.name, prompt=STORY, max_tokens=30, temperature=1.5, extra_body=kept
        )
        return answer.choices[0].text

    assert sampled(7) == sampled(7)
    assert len({sampled(None) for _ in range(3)}) > 1


def test_a_prompt_up_to_the_windows_edge_is_read_and_one_token_more_refused(client: openai.OpenAI) -> None:
    window = MODEL.known.window
    filler = "a" + " a" * (window - 5)  # one token each
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {window} tokens"):
        greedy(client, filler, 5)
    assert greedy(client, filler, 4)[1] in ("length", "stop")
    assert "Paris" in greedy(client, QUESTION, 60)[0]


def test_two_are_answered_at_once(client: openai.OpenAI) -> None:
    first, second = (
        client.completions.create(model=MODEL.name, prompt=STORY, max_tokens=80, temperature=0, stream=True)
        for _ in range(2)
    )
    # Each gives a word before the other has ended.
    texts = [next(first).choices[0].text, next(second).choices[0].text]
    for stream in (first, second):
        texts.append("".join(piece.choices[0].text for piece in stream))
    assert texts[0] + texts[2] == texts[1] + texts[3]


def test_who_leaves_lets_the_engine_rest(server: LocalServer, client: openai.OpenAI) -> None:
    stream = client.completions.create(model=MODEL.name, prompt=STORY, max_tokens=1500, temperature=1, stream=True)
    next(stream)
    assert server.requests == 1
    stream.close()
    server.wait_idle()


def test_an_engine_that_is_killed_is_replaced(server: LocalServer, client: openai.OpenAI) -> None:
    stream = client.completions.create(model=MODEL.name, prompt=STORY, max_tokens=1500, temperature=1, stream=True)
    next(stream)
    os.kill(server.engine.pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="ended in the middle"):
        list(stream)
    with pytest.raises(openai.InternalServerError, match="loading"):
        greedy(client, QUESTION, 5)
    server.wait_ready()
    assert "Paris" in greedy(client, QUESTION, 60)[0]


def test_health_names_the_model(server: LocalServer) -> None:
    assert httpx.get(f"{server.url}/health").json()["model"] == MODEL.name
