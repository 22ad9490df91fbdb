"""Edit: the last message and its reply are replaced by a new message, which is answered anew."""

import uuid

import pytest

from tests.support.client import Chat, Frame, LegacyChat, history, new_token, replay
from tests.support.stack import Stack


async def document(stack: Stack, token: str) -> list[Frame]:
    """The messages that somebody gets who opens the conversation now."""
    async with Chat(stack.url, token) as chat:
        messages: list[Frame] = (await chat.next())["conversation"]["messages"]
        return messages


async def test_every_tab_sees_the_new_message_and_its_reply_in_the_old_ones_place(stack: Stack) -> None:
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here)
    async with Chat(here, token) as one, Chat(there, token) as two:
        await one.send("the first")
        await one.until("reply.finished")
        old = await one.send("the second")
        await two.until("reply.finished")
        await two.until("reply.finished")
        new = await two.edit(old, "the last")
        for chat in (one, two):
            edited = await chat.until("message.edited")
            assert (edited["to"], edited["message"]["id"], edited["message"]["text"]) == (old, new, "the last")
            finished = (await chat.until("reply.finished"))["message"]
            assert finished["to"] == new
            assert "the last" in finished["text"]
        kept = await document(stack, token)
        assert [message["id"] for message in kept][2:] == [new, finished["id"]]
        assert replay(one.frames)["messages"] == replay(two.frames)["messages"] == kept


async def test_the_model_reads_the_new_message_and_nothing_of_the_old_one(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        old = await chat.send("a secret that was a slip")
        await chat.until("reply.finished")
        await chat.edit(old, "hello")
        text = (await chat.until("reply.finished"))["message"]["text"]
        assert "secret" not in text


@pytest.mark.parametrize("ended", ["stopped", "failed"])
async def test_a_message_whose_reply_was_stopped_or_failed_can_be_edited(stack: Stack, ended: str) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        if ended == "failed":
            stack.fault(mode="status", status=403)
        else:
            stack.pace(rate=20)
        old = await chat.send("this does not end well")
        if ended == "stopped":
            await chat.until("reply.delta")
            await chat.stop(old)
        await chat.until("reply.finished", "reply.failed")
        stack.pace(rate=400)
        new = await chat.edit(old, "this does")
        await chat.until("reply.finished")
        kept = await document(stack, token)
        assert [(message.get("to"), "failed" in message) for message in kept] == [(None, False), (new, False)]
        assert replay(chat.frames)["messages"] == kept


async def test_an_edit_sent_twice_is_done_once_and_said_again_to_whoever_repeats_it(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        old = await chat.send("old")
        await chat.until("reply.finished")
        new = await chat.edit(old, "new")
        first = await chat.until("message.edited")
        await chat.edit(old, "new", new)
        await chat.until("reply.finished")
        await chat.edit(old, "new", new)
        again = await chat.until("message.edited")
        assert again == first
        await chat.send("and on")
        await chat.until("reply.finished")
        assert [message["text"] for message in await document(stack, token)][::2] == ["new", "and on"]
        assert not [frame for frame in chat.frames if frame["type"] == "error"]


async def test_an_edit_while_a_reply_runs_is_refused_as_busy_and_the_reply_goes_on(stack: Stack) -> None:
    stack.pace(rate=20)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        id = await chat.send("say something")
        await chat.until("reply.delta")
        new = await chat.edit(id, "something else")
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("busy", new)
        stack.pace(rate=400)
        assert (await chat.until("reply.finished"))["message"]["to"] == id


async def test_an_edit_of_any_other_message_is_refused(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        first = await chat.send("one")
        reply = (await chat.until("reply.finished"))["message"]["id"]
        await chat.send("two")
        await chat.until("reply.finished")
        for to in (first, reply, str(uuid.uuid4())):
            new = await chat.edit(to, "three")
            rejected = await chat.until("error")
            assert (rejected["code"], rejected["id"]) == ("bad_frame", new)


async def test_whoever_comes_back_from_before_an_edit_ends_with_the_same_conversation(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        old = await chat.send("old")
        await chat.until("reply.finished")
        before = list(chat.frames)
    async with Chat(stack.url, token) as other:
        await other.edit(old, "new")
        await other.until("reply.finished")
        last = other.frames[-1]
    async with Chat(stack.url, token, after=before[-1]["cursor"]) as back:
        while not back.frames or back.frames[-1] != last:
            await back.next()
    assert back.frames[0]["type"] == "message.edited"
    assert replay(before + back.frames)["messages"] == await document(stack, token)


async def test_the_older_client_gets_the_new_reply_as_an_ordinary_answer(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as newer, LegacyChat(stack.url, token) as older:
        old = await newer.send("old")
        await older.next()
        await newer.until("reply.finished")
        await newer.edit(old, "new")
        assert "new" in (await older.next())["msg"]
        assert "and on" in await older.ask("and on")
    assert [message["msg"] for message in await history(stack.url, token)][::2] == ["Human: new", "Human: and on"]
