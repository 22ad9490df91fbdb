"""The decoders: the same events wherever the stream of bytes is split."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.decoder import Decoder, End, Event, Protocol, ProtocolMismatch, ServerError, Token
from tasks.model.sse import EVENT_LIMIT, EventStream, EventTooLongError
from tests.support.model_server import tgi, vllm


def events(stream: bytes, *at: int) -> list[bytes]:
    """The data of the stream's events, when it comes in pieces split at `at`."""
    decoder = EventStream()
    return [data for piece in split(stream, *at) for data in decoder.feed(piece)]


def split(stream: bytes, *at: int) -> list[bytes]:
    edges = [0, *at, len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


STREAMS = {
    "with a space": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "without a space": (b"data:a\n\n", [b"a"]),
    "only one space is dropped": (b"data:  a\n\n", [b" a"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CRLF within an event": (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"]),
    "data of many lines": (b"data: a\ndata:b\ndata\ndata: c\n\n", [b"a\nb\n\nc"]),
    "comments": (b": hello\n\n:\ndata: a\n: in between\ndata: b\n\n", [b"a\nb"]),
    "other fields": (b"event: x\nid: 1\nretry: 5\ndata: a\nfoo\n\n", [b"a"]),
    "fields that only begin alike": (b"database: x\ndata2: y\ndata: a\n\n", [b"a"]),
    "UTF-8": ("data: ä€😀\u2028\x85ä\n\n".encode(), ["ä€😀\u2028\x85ä".encode()]),
    "empty events": (b"\n\ndata:\n\n\n\ndata: a\n\n", [b"a"]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [b"a"]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_events_are_the_same_at_every_split(name: str) -> None:
    stream, expected = STREAMS[name]
    assert events(stream) == expected
    assert events(stream, *range(1, len(stream))) == expected
    for at in combinations(range(len(stream) + 1), 2):
        assert events(stream, *at) == expected


def test_an_event_comes_with_its_blank_line_and_not_later() -> None:
    for end in (b"\n\n", b"\r\r", b"\r\n\r"):
        assert events(b"data: a" + end) == [b"a"]


def test_a_last_event_without_its_blank_line_is_there_when_the_stream_closes() -> None:
    for stream in (b"data: a\n\ndata: b", b"data: a\n\ndata: b\n"):
        decoder = EventStream()
        assert decoder.feed(stream) == [b"a"]
        assert decoder.close() == [b"b"]


def test_a_line_without_end_is_an_error_and_not_a_full_memory() -> None:
    decoder = EventStream()
    for _ in range(EVENT_LIMIT // 1024):
        assert decoder.feed(b"x" * 1024) == []
    with pytest.raises(EventTooLongError):
        decoder.feed(b"x")


@given(st.lists(st.text().map(lambda text: text.encode("utf-8", "replace")), max_size=5), st.data())
def test_any_text_survives_any_split(texts: list[bytes], data: st.DataObject) -> None:
    texts = [b" ".join(text.splitlines()) for text in texts]
    stream = b"".join(b"data: " + text + b"\n\n" for text in texts)
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert events(stream, *at) == [text for text in texts if text]


# the protocols


def decode(protocol: Protocol, stream: bytes, *at: int) -> list[Event]:
    decoder = Decoder(protocol)
    found = [event for piece in split(stream, *at) for event in decoder.feed(piece)]
    return found + decoder.close()


ERROR = b'data:{"error":"out of memory","error_type":"generation"}\n\n'
VLLM_ERROR = b'data: {"error":{"message":"bad","type":"BadRequestError","code":400}}\n\ndata: [DONE]\n\n'
SPECIAL = b'data:{"token":{"id":1,"text":"</s>","logprob":0,"special":true},"generated_text":null,"details":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"total_tokens":7}}\n\n'
LAST = (
    b'data:{"index":2,"token":{"id":1,"text":"!","special":false},"generated_text":"Hi!","details":'
    b'{"finish_reason":"length"}}\n\n'
)

CASES: dict[str, tuple[Protocol, bytes, list[Event]]] = {
    "TGI": ("text-generation", tgi(" Hé", "llo 😀"), [Token(" Hé"), Token("llo 😀"), End("stop")]),
    "TGI at its limit": ("text-generation", tgi("Hi", end=None) + LAST, [Token("Hi"), Token("!"), End("length")]),
    "TGI stop sequence": ("text-generation", tgi("a", end="stop_sequence"), [Token("a"), End("stop")]),
    "TGI special token": ("text-generation", SPECIAL + tgi("a"), [Token("a"), End("stop")]),
    "TGI error after tokens": (
        "text-generation",
        tgi("a", end=None) + ERROR,
        [Token("a"), ServerError("generation", "out of memory")],
    ),
    "TGI without its end": ("text-generation", tgi("a", end=None), [Token("a")]),
    "TGI with a [DONE]": ("text-generation", tgi("a", end=None) + b"data: [DONE]\n\n", [Token("a"), End(None)]),
    "TGI without details": (
        "text-generation",
        b'data:{"token":{"text":"a","special":false},"generated_text":"a","details":null}\n\n',
        [Token("a"), End(None)],
    ),
    "vLLM": ("completions", vllm(" Hé", "llo"), [Token(" Hé"), Token("llo"), End("stop")]),
    "vLLM at its limit": ("completions", vllm("a", end="length"), [Token("a"), End("length")]),
    "vLLM usage chunk": ("completions", USAGE + vllm("a") + USAGE, [Token("a"), End("stop")]),
    "vLLM error after tokens": (
        "completions",
        vllm("a", end=None) + VLLM_ERROR,
        [Token("a"), ServerError("BadRequestError", "bad", 400)],
    ),
    "vLLM older error": (
        "completions",
        b'data: {"object":"error","message":"bad","type":"x"}\n\n',
        [ServerError("x", "bad")],
    ),
    "completions without [DONE]": (
        "completions",
        vllm("a").removesuffix(b"data: [DONE]\n\n"),
        [Token("a"), End("stop")],
    ),
    "completions with only a [DONE]": (
        "completions",
        vllm("a", end=None) + b"data: [DONE]\n\n",
        [Token("a"), End(None)],
    ),
    "completions cut off": ("completions", vllm("a", end=None), [Token("a")]),
    "text and reason at once": (
        "completions",
        b'data: {"choices":[{"text":"a","finish_reason":"length"}]}\n\n',
        [Token("a"), End("length")],
    ),
    "text is null": ("completions", b'data: {"choices":[{"text":null,"finish_reason":"stop"}]}\n\n', [End("stop")]),
    "a replacement character": ("completions", vllm("\ufffd"), [Token("\ufffd"), End("stop")]),
    "bytes that are not UTF-8": (
        "completions",
        b'data: {"choices":[{"text":"\xff","finish_reason":null}]}\n\n' + vllm("a"),
        [Token("\ufffd"), Token("a"), End("stop")],
    ),
    "no blank line at the end": (
        "completions",
        vllm("a").removesuffix(b"\n\ndata: [DONE]\n\n"),
        [Token("a"), End("stop")],
    ),
    "no JSON": ("completions", b"data: hello\n\n", []),
    "the chat protocol": (
        "completions",
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        [ProtocolMismatch("an answer of the chat protocol")],
    ),
    "the other protocol, one way": (
        "text-generation",
        vllm("a"),
        [ProtocolMismatch("an answer of the completions protocol")],
    ),
    "the other protocol, other way": (
        "completions",
        tgi("a"),
        [ProtocolMismatch("an answer of the text-generation protocol")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_are_the_same_at_every_split(name: str) -> None:
    protocol, stream, expected = CASES[name]
    assert decode(protocol, stream) == expected
    assert decode(protocol, stream, *range(1, len(stream))) == expected
    for at in range(len(stream)):
        assert decode(protocol, stream, at) == expected
        assert decode(protocol, stream.replace(b"\n", b"\r\n"), at) == expected


def test_nothing_comes_after_the_end() -> None:
    assert decode("completions", vllm("a") + vllm("b")) == [Token("a"), End("stop")]


@pytest.mark.parametrize(
    ("protocol", "body", "expected"),
    [
        ("text-generation", b'{"generated_text":"Hi"}', [Token("Hi"), End(None)]),
        ("text-generation", b'[{"generated_text":"Hi"}]', [Token("Hi"), End(None)]),
        ("completions", b'{"choices":[{"text":"Hi","finish_reason":"length"}]}', [Token("Hi"), End("length")]),
        ("completions", b'{"choices":[{"text":"Hi"}]}', [Token("Hi"), End(None)]),
        ("text-generation", b'{"error":"no","error_type":"validation"}', [ServerError("validation", "no")]),
        ("completions", b'{\n  "choices": [\n    {"text": "Hi"}\n  ]\n}\n', [Token("Hi"), End(None)]),
        ("completions", b'{"hello":"world"}', []),
        ("completions", b"", []),
    ],
)
def test_a_server_that_does_not_stream_is_understood(protocol: Protocol, body: bytes, expected: list[Event]) -> None:
    assert decode(protocol, body) == expected
    assert decode(protocol, body, *range(1, len(body))) == expected
