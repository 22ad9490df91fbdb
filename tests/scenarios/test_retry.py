"""Retry: the last message is answered again, once, and the new reply takes the old one's place."""

import uuid

import pytest

from tests.support.client import Chat, Frame, new_token, replay
from tests.support.stack import Stack


async def newcomer(stack: Stack, token: str) -> Frame:
    """The snapshot that somebody gets who opens the conversation now."""
    async with Chat(stack.url, token) as chat:
        return await chat.next()


async def test_another_answer_takes_the_place_of_the_old_one(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        old = (await chat.until("reply.finished"))["message"]
        new = await chat.retry(id)
        started = await chat.until("reply.started")
        assert (started["id"], started["to"]) == (new, id)
        finished = (await chat.until("reply.finished"))["message"]
        assert finished["id"] == new != old["id"]
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert [message["id"] for message in kept] == [id, new]
        assert replay(chat.frames)["messages"] == kept


async def test_the_old_reply_stays_until_the_new_one_is_whole(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        old = (await chat.until("reply.finished"))["message"]
        stack.pace(rate=20)
        new = await chat.retry(id)
        await chat.until("reply.delta")
        snapshot = await newcomer(stack, token)
        assert snapshot["conversation"]["messages"][-1] == old
        assert (snapshot["reply"]["id"], snapshot["reply"]["to"]) == (new, id)
        await chat.stop(id)
        await chat.until("reply.finished")


async def test_a_retry_stopped_before_its_first_word_leaves_the_old_reply_as_it_was(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        old = (await chat.until("reply.finished"))["message"]
        assert old["finish_reason"] == "stop"
        stack.pace(first_delay=30)
        await chat.retry(id)
        await chat.until("reply.started")
        await chat.stop(id)
        assert (await chat.until("reply.finished"))["message"] == old
        snapshot = await newcomer(stack, token)
        assert (snapshot["conversation"]["messages"][1], snapshot["reply"]) == (old, None)
        assert replay(chat.frames)["messages"] == snapshot["conversation"]["messages"]


async def test_retry_after_stop_answers_whole(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("tell me all")
        await chat.until("reply.delta")
        await chat.stop(id)
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stopped"
        stack.pace(rate=400)
        new = await chat.retry(id)
        finished = (await chat.until("reply.finished"))["message"]
        assert (finished["id"], finished["finish_reason"]) == (new, "stop")
        assert (await newcomer(stack, token))["conversation"]["messages"][1:] == [finished]


async def test_a_failure_is_said_kept_over_a_reload_and_gone_after_a_retry(stack: Stack) -> None:
    stack.fault(mode="status", status=403)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("will this work?")
        failed = await chat.until("reply.failed")
        assert failed["to"] == id
        assert (failed["code"], failed["retryable"]) == ("model_forbidden", False)
        assert failed["detail"] == "The model is not set up correctly. Please tell whoever runs this site."
        snapshot = await newcomer(stack, token)
        assert snapshot["reply"] is None
        (message,) = snapshot["conversation"]["messages"]
        said = {name: value for name, value in failed.items() if name not in ("type", "cursor", "to")}
        assert message["failed"] == said
        await chat.retry(id)
        await chat.until("reply.finished")
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert [set(message) & {"failed"} for message in kept] == [set(), set()]
        assert replay(chat.frames)["messages"] == kept


async def test_a_retry_that_fails_leaves_the_old_reply_and_says_so(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        old = (await chat.until("reply.finished"))["message"]
        stack.fault(mode="status", status=403)
        await chat.retry(id)
        failed = await chat.until("reply.failed")
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert kept[1] == old
        assert kept[0]["failed"]["id"] == failed["id"]
        assert replay(chat.frames)["messages"] == kept


async def test_a_message_after_a_failure_is_answered_and_the_failure_stays_with_its_own(stack: Stack) -> None:
    stack.fault(mode="status", status=403)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.send("this fails")
        await chat.until("reply.failed")
        await chat.send("this works")
        await chat.until("reply.finished")
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert ["failed" in message for message in kept] == [True, False, False]
        assert replay(chat.frames)["messages"] == kept


async def test_a_reply_that_fails_in_mid_stream_keeps_what_was_shown_of_it(stack: Stack) -> None:
    stack.fault(mode="cut", after=4)
    stack.fault(mode="status", status=403)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.send("this breaks off")
        failed = await chat.until("reply.failed")
        shown = "".join(frame["text"] for frame in chat.frames if frame["type"] == "reply.delta")
        assert shown
        assert failed["text"] == shown
        (message,) = (await newcomer(stack, token))["conversation"]["messages"]
        assert message["failed"]["text"] == shown


async def test_a_retry_sent_twice_is_done_once(stack: Stack) -> None:
    stack.pace(rate=40)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        await chat.until("reply.finished")
        new = await chat.retry(id)
        await chat.retry(id, new)
        await chat.until("reply.finished")
        await chat.retry(id, new)
        await chat.send("go on")
        assert (await chat.until("reply.finished"))["message"]["to"] != id
        assert not [frame for frame in chat.frames if frame["type"] == "error"]
        assert [frame["id"] for frame in chat.frames if frame["type"] == "reply.started"].count(new) == 1
        assert len((await newcomer(stack, token))["conversation"]["messages"]) == 4


async def test_a_retry_while_a_reply_runs_is_refused_as_busy_and_the_reply_goes_on(stack: Stack) -> None:
    stack.pace(rate=20)
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        id = await chat.send("say something")
        await chat.until("reply.delta")
        new = await chat.retry(id)
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("busy", new)
        assert (await chat.until("reply.finished"))["message"]["finish_reason"] == "stop"


@pytest.mark.parametrize("which", ["older", "unknown", "reply"])
async def test_a_retry_for_anything_but_the_last_message_is_refused(stack: Stack, which: str) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        older = await chat.send("the first")
        await chat.until("reply.finished")
        await chat.send("the second")
        reply = (await chat.until("reply.finished"))["message"]["id"]
        before = (await newcomer(stack, token))["conversation"]["messages"]
        new = await chat.retry({"older": older, "unknown": str(uuid.uuid4()), "reply": reply}[which])
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("bad_frame", new)
        assert (await newcomer(stack, token))["conversation"]["messages"] == before
        await chat.send("still there?")
        await chat.until("reply.finished")


async def test_a_retry_under_the_id_of_the_reply_itself_changes_nothing(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("say something")
        old = (await chat.until("reply.finished"))["message"]
        await chat.retry(id, old["id"])
        await chat.send("go on")
        assert (await chat.until("reply.finished"))["message"]["to"] != id
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert len(kept) == 4
        assert kept[1] == old
