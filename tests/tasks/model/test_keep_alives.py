"""Servers that say nothing but that they are alive, as TGI does while a request waits in its queue."""

import asyncio
import gzip
from dataclasses import dataclass

import pytest

from tasks.errors import ModelError
from tasks.model import client as model_client
from tasks.model import retry
from tasks.model.client import Finished, Text
from tests.support.model_server import (
    STREAM_HEAD,
    Behaviour,
    Heard,
    Listener,
    hear,
    listening,
    model,
    raw_server,
    sends,
    tgi,
)

#: Seconds without a byte, and without a word, after which the models of these tests are given up.
LIMITS = {"model_read_timeout": 5, "model_retry_timeout": 20}


@dataclass
class Clock:
    """Time as model servers see it: it passes only when a test says so, however slow the machine is."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (retry, model_client):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.02)
    return clock


def keeps_alive(clock: Clock, first: bytes, seconds: float, then: bytes = b"") -> Behaviour:
    """Sends `first`, then comments, each well before a byte is missed, for so many seconds, and then the rest."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + first)
        until = clock.now + seconds
        while clock.now < until:
            await asyncio.sleep(0.01)
            clock.now += 2
            writer.write(b":\n\n")
        writer.write(then)
        writer.close()

    return behave


async def test_a_request_that_waits_in_the_servers_queue_is_not_taken_for_a_silent_one(clock: Clock) -> None:
    queued = keeps_alive(clock, b"", 15, then=tgi(" Hello."))
    async with raw_server(queued) as server, model(server.url, **LIMITS) as client:
        heard = await hear(client)
    assert (heard.text, heard.waits) == ("Hello.", [])
    assert len(server.requests) == 1


async def test_comments_without_a_word_are_given_up_when_the_retry_timeout_is_over(clock: Clock) -> None:
    async with raw_server(keeps_alive(clock, b"", 100)) as server, model(server.url, **LIMITS) as client:
        with pytest.raises(ModelError, match="failed") as error:
            await hear(client)
    assert (error.value.code, error.value.retryable) == ("model_silent", True)
    assert "silent" in error.value.operator
    assert "It stayed so for" in error.value.operator
    assert len(server.requests) == 1


async def test_a_reply_that_turns_into_comments_is_continued(clock: Clock) -> None:
    turned, rest = keeps_alive(clock, tgi(" Hello", end=None), 100), sends(STREAM_HEAD + tgi(" you."))
    async with raw_server(turned, rest) as server, model(server.url, **LIMITS) as client:
        heard = await hear(client)
    assert (heard.text, heard.waits) == ("Hello you.", ["retrying"])


async def test_the_retry_timeout_begins_anew_after_every_word(clock: Clock) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for word in (" one", " two", " three", " four"):
            writer.write(tgi(word, end=None))
            await asyncio.sleep(0.02)
        writer.write(tgi("."))
        writer.close()

    class Slow(Listener):
        async def between_events(self) -> None:
            clock.now += 15

    async with raw_server(slow) as server, model(server.url, **LIMITS) as client:
        ear = Slow(client, Heard())
        await ear.run()
    assert (ear.heard.text, ear.heard.waits) == ("one two three four.", [])
    assert len(server.requests) == 1


async def test_a_reader_that_takes_its_time_is_not_the_models_silence() -> None:
    words = [f" {number}" for number in range(20)]
    read_on = asyncio.Event()

    class Slow(Listener):
        async def between_events(self) -> None:
            await read_on.wait()

    stream = sends(STREAM_HEAD, *(tgi(word, end=None) for word in words), tgi("."))
    async with (
        raw_server(stream) as server,
        model(server.url, model_read_timeout=0.05) as client,
        listening(client, Slow) as ear,
    ):
        assert isinstance(await ear.next(), Text)
        await asyncio.sleep(0.2)
        read_on.set()
        while not isinstance(event := await ear.next(), Finished):
            assert isinstance(event, Text)
    assert ear.heard.text == "".join(words).strip() + "."


DRIPPING = {
    "a head": b"HTTP/1.1 200 OK\r\nX-" + b"x" * 5000,
    "a line without end": STREAM_HEAD + b"data: " + b"x" * 5000,
    "events that hold nothing": STREAM_HEAD + b"data: {}\n\n" * 500,
    "special tokens": STREAM_HEAD + b'data:{"token":{"text":"</s>","special":true}}\n\n' * 100,
    "empty gzip": STREAM_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    + gzip.compress(b"")[:10]
    # Blocks that hold nothing.
    + b"\0\0\0\xff\xff" * 500,
    "an error": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n" + b"x" * 5000,
}


@pytest.mark.parametrize("what", DRIPPING)
async def test_the_retry_timeout_holds_for_a_server_that_drips(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in DRIPPING[what]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)

    monkeypatch.setattr(model_client, "ERROR_TIMEOUT", 0.2)
    async with raw_server(drip) as server, model(server.url, model_read_timeout=0.2, model_retry_timeout=0.3) as client:
        async with asyncio.timeout(10):
            with pytest.raises(ModelError) as error:
                await hear(client)
    assert error.value.code == ("model_rejected" if what == "an error" else "model_silent")
