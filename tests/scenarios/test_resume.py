"""Coming back with a cursor: what came since, and nothing twice; or a snapshot, if that cannot be."""

import json

import pytest

from tasks.storage.keys import ConversationKeys, conversation_id
from tests.support.client import Chat, Frame, new_token, replay
from tests.support.servers import connect
from tests.support.stack import Stack


async def talked(stack: Stack, *texts: str) -> tuple[str, list[Frame]]:
    """A conversation that has said `texts`; its token and every frame of it."""
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.next()
        for text in texts:
            await chat.send(text)
            await chat.until("reply.finished")
    return token, chat.frames


async def test_from_every_cursor_exactly_what_came_after_it(stack: Stack) -> None:
    token, frames = await talked(stack, "one", "two")
    events = [frame for frame in frames if frame["type"] != "snapshot"]
    for at in range(0, len(events) - 1, 5):
        async with Chat(stack.url, token, after=events[at]["cursor"]) as chat:
            while not chat.frames or chat.frames[-1] != events[-1]:
                await chat.next()
            assert chat.frames == events[at + 1 :]


async def test_from_the_last_cursor_only_what_is_new(stack: Stack) -> None:
    token, frames = await talked(stack, "one")
    async with Chat(stack.url, token, after=frames[-1]["cursor"]) as chat:
        id = await chat.send("two")
        first = await chat.next()
        assert (first["type"], first["message"]["id"]) == ("message.accepted", id)
        await chat.until("reply.finished")


@pytest.mark.parametrize(
    "after",
    [
        "9999999999999-0",
        "9223372036854775807-18446744073709551615",
        "99999999999999999999999999-0",
        "1-1",
        "0-0",
        "-",
        "-1-0",
        "5--3",
        "1_0-0",
        "1732300000000",
        "soon",
        "%F0%9F%91%8D",
        "1" * 3000,
        "$",
        "*",
    ],
)
async def test_a_cursor_that_cannot_be_continued_from_brings_a_snapshot(stack: Stack, after: str) -> None:
    token, frames = await talked(stack, "one")
    async with Chat(stack.url, token, after=after) as chat:
        assert (await chat.next())["type"] == "snapshot"
        assert replay(chat.frames)["messages"] == replay(frames)["messages"]
        await chat.send("two")
        await chat.until("reply.finished")


async def test_a_cursor_whose_events_were_trimmed_brings_a_snapshot(stack: Stack) -> None:
    token, frames = await talked(stack, "one")
    with connect(stack.redis.url) as client:
        client.xtrim(ConversationKeys(conversation_id(token)).events, maxlen=2, approximate=False)
    async with Chat(stack.url, token, after=frames[2]["cursor"]) as chat:
        assert (await chat.next())["type"] == "snapshot"
        assert replay(chat.frames)["messages"] == replay(frames)["messages"]


async def test_a_cursor_whose_stream_has_expired_brings_a_snapshot_and_the_next_message_its_events(
    stack: Stack,
) -> None:
    token, frames = await talked(stack, "one")
    with connect(stack.redis.url) as client:
        client.delete(ConversationKeys(conversation_id(token)).events)
    async with Chat(stack.url, token, after=frames[-1]["cursor"]) as chat:
        snapshot = await chat.next()
        assert snapshot["type"] == "snapshot"
        await chat.send("two")
        await chat.until("reply.finished")
        assert len(replay(chat.frames)["messages"]) == 4


async def test_who_comes_back_again_and_again_during_a_reply_misses_nothing(stack: Stack) -> None:
    stack.pace(rate=60)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.next()
        await chat.send("keep talking to me please")
        await chat.until("reply.started")
    frames = chat.frames
    while frames[-1]["type"] != "reply.finished":
        url = f"http://127.0.0.1:{stack.ports[len(frames) % 2]}"
        async with Chat(url, token, after=frames[-1]["cursor"]) as again:
            for _ in range(4):
                if (await again.next())["type"] == "reply.finished":
                    break
        frames = frames + again.frames
    text = "".join(frame["text"] for frame in frames if frame["type"] == "reply.delta")
    assert text == frames[-1]["message"]["text"]
    assert len({json.dumps(frame) for frame in frames}) == len(frames)
