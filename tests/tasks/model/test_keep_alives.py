"""Servers that say nothing but that they are alive, as TGI does while a request waits in its queue."""

import asyncio
from dataclasses import dataclass

import pytest

from tasks.errors import ModelError
from tasks.model import retry as patience
from tasks.model import silence
from tasks.model.prompt import Turn
from tasks.model.retry import RetryPolicy
from tasks.model.silence import Silence
from tests.support.model_server import (
    STREAM_HEAD,
    Behaviour,
    Ear,
    Full,
    Heard,
    Rest,
    Text,
    Waiting,
    hear,
    listening,
    model,
    raw_server,
    sends,
    tgi,
)

#: Seconds without a byte, and without a word, after which the models of these tests are given up.
LIMITS = {"model_read_timeout": 0.05, "model_patience": 0.2}


@dataclass
class Clock:
    """Time as model servers see it: it passes only when a test says so, however slow the machine is."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (patience, silence):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.02)
    return clock


def keeps_alive(clock: Clock, first: bytes, seconds: float, then: bytes = b"") -> Behaviour:
    """Sends `first`, then comments, each well before a byte is missed, for so many seconds, and then the rest."""

    async def behave(publisher: asyncio.StreamWriter) -> None:
        publisher.write(STREAM_HEAD + first)
        until = clock.now + seconds
        while clock.now < until:
            await asyncio.sleep(0.06)
            clock.now += 0.02
            publisher.write(b":\n\n")
        publisher.write(then)
        publisher.close()

    return behave


async def test_a_request_that_waits_in_the_servers_queue_is_not_taken_for_a_silent_one(clock: Clock) -> None:
    queued = keeps_alive(clock, b"", 0.15, then=tgi(" Hello."))
    async with raw_server(queued) as server, model(server.url, **LIMITS) as client:
        heard = await hear(client)
    assert (heard.text, heard.waits) == ("Hello.", [])
    assert len(server.requests) == 1


async def test_who_hears_comments_and_never_a_word_gives_up_when_all_patience_is_over(clock: Clock) -> None:
    async with raw_server(keeps_alive(clock, b"", 1)) as server, model(server.url, **LIMITS) as client:
        with pytest.raises(ModelError, match=r"silent.* It stayed so for") as error:
            await hear(client)
    assert (error.value.code, error.value.retryable) == ("model_silent", True)
    assert len(server.requests) == 1


async def test_a_reply_that_turns_into_comments_is_continued(clock: Clock) -> None:
    turned, rest = keeps_alive(clock, tgi(" Hello", end=None), 1), sends(STREAM_HEAD + tgi(" you."))
    async with raw_server(turned, rest) as server, model(server.url, **LIMITS) as client:
        heard = await hear(client)
    assert (heard.text, heard.waits) == ("Hello you.", ["retrying"])


async def test_patience_is_whole_again_after_every_word(clock: Clock) -> None:
    async def slow(publisher: asyncio.StreamWriter) -> None:
        publisher.write(STREAM_HEAD)
        for word in (" one", " two", " three", " four"):
            publisher.write(tgi(word, end=None))
            await asyncio.sleep(0.15)
        publisher.write(tgi("."))
        publisher.close()

    class Slow(Ear):
        def text(self, text: str) -> bool:
            clock.now += 0.15
            return super().text(text)

    heard = Heard()
    async with raw_server(slow) as server, model(server.url, **LIMITS) as client:
        await client.reply("Ada", [Turn("human", "Hi")], "", Rest(), Slow(heard))
    assert (heard.text, heard.waits) == ("one two three four.", [])
    assert len(server.requests) == 1


async def test_the_time_that_words_take_on_their_further_way_is_not_the_models(clock: Clock) -> None:
    says_one = sends(STREAM_HEAD + tgi(" one", end=None), then="wait")
    async with raw_server(says_one) as server, model(server.url, **LIMITS) as client:
        ear = Full(Heard())
        async with listening(client, ear):
            assert isinstance(await ear.next(), Text)
            clock.now += 60
            await asyncio.sleep(0.2)
            assert not server.closed_by_client.is_set()
            ear.emptied.set()
            asyncio.get_running_loop().call_later(0.1, setattr, clock, "now", clock.now + 60)
            assert isinstance(await ear.next(), Waiting)


async def test_who_is_stopped_in_the_moment_when_the_model_is_given_up_stays_stopped() -> None:
    async def wait() -> None:
        async with Silence(0.01, RetryPolicy(0)):
            await asyncio.sleep(30)

    task = asyncio.create_task(wait())
    while not task.cancelling():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
