"""Whatever a person says, types, is called or comes with: it is kept as it was, and touches nobody else."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.fuzz import frames, talks, values
from tests.support.client import Chat, history, new_token
from tests.support.stack import Stack

few = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def url(stack: Stack) -> Iterator[str]:
    """A system in which somebody else has a conversation, whose every word is the same afterwards."""
    stack.pace(rate=0)
    token = run(new_token(stack.url, "Witness"))
    run(say(stack.url, token))
    before = run(history(stack.url, token))
    yield stack.url
    assert len(before) == 2
    assert run(history(stack.url, token)) == before
    assert not [line for child in stack.processes.children for line in child.lines if "Traceback" in line]


async def say(url: str, token: str) -> None:
    """Say something in a conversation."""
    async with Chat(url, token) as chat:
        await chat.send("I was here first")
        await chat.until("reply.finished")


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Hypothesis calls functions that are not coroutines."""
    return asyncio.run(work)


def test_every_trick_can_be_said_and_is_kept_letter_by_letter(url: str) -> None:
    run(talks.type_all(url, [*values.NASTY]))


#: In an address each of its letters takes twelve bytes.
LONG = "\U0001d11e" * 1999


@few
@given(sequence=frames.sequences)
def test_after_any_sequence_of_frames_the_socket_is_usable_and_the_document_right(
    url: str, sequence: list[str | bytes]
) -> None:
    run(talks.send_all(url, sequence))


@few
@given(texts=frames.typed)
def test_the_older_socket_answers_each_frame_once_whatever_it_holds(url: str, texts: list[str | bytes]) -> None:
    run(talks.type_all(url, texts))


@few
@given(name=values.values)
@example(name=LONG)
def test_a_person_may_have_any_name(url: str, name: str) -> None:
    run(talks.call_itself(url, name))


@few
@given(token=values.values, cursor=values.values)
@example(token=LONG, cursor="0-0")
@example(token="0", cursor=LONG)  # noqa: S106
def test_no_made_up_token_opens_anything(url: str, token: str, cursor: str) -> None:
    assert run(talks.come_with(url, token, cursor)) == 4401
