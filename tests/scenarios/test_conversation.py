"""A conversation from the first message on: accepted, answered word by word, kept."""

import json

from tests.support.client import Chat, history, new_token, replay
from tests.support.stack import Stack


async def document(stack: Stack, token: str) -> list[dict[str, object]]:
    """The messages as a newcomer's snapshot has them."""
    async with Chat(stack.url, token) as chat:
        messages: list[dict[str, object]] = (await chat.next())["conversation"]["messages"]
        return messages


async def test_a_new_conversation_begins_with_a_snapshot_of_nothing(stack: Stack) -> None:
    token = await new_token(stack.url, "Ada")
    async with Chat(stack.url, token) as chat:
        snapshot = await chat.next()
    assert snapshot["type"] == "snapshot"
    conversation = snapshot["conversation"]
    assert (conversation["token"], conversation["name"], conversation["messages"]) == (token, "Ada", [])
    assert snapshot["reply"] is None
    assert snapshot["model"] == {"name": "EleutherAI/gpt-j-6b", "stand_in": True}
    assert snapshot["limits"] == {"text": 4000}


async def test_a_message_is_accepted_answered_word_by_word_and_kept(stack: Stack) -> None:
    # Slow enough not to be over in a moment in which a busy machine does nothing.
    stack.pace(rate=60)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.next()
        id = await chat.send("Tell me about the sea")
        accepted = await chat.next()
        assert accepted["type"] == "message.accepted"
        assert (accepted["message"]["id"], accepted["message"]["text"]) == (id, "Tell me about the sea")
        started = await chat.next()
        assert (started["type"], started["to"]) == ("reply.started", id)
        finished = await chat.until("reply.finished")
        deltas = [frame["text"] for frame in chat.frames if frame["type"] == "reply.delta"]
        assert len(deltas) > 1
        assert "".join(deltas) == finished["message"]["text"]
        assert "Tell me about the sea" in finished["message"]["text"]
        assert finished["message"]["id"] == started["id"]
        assert finished["message"]["finish_reason"] == "stop"
        assert replay(chat.frames)["messages"] == await document(stack, token)
    said = [message["msg"] for message in await history(stack.url, token)]
    assert said == ["Human: Tell me about the sea", f"Bot: {finished['message']['text']}"]


async def test_cursors_only_grow(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        for text in ("one", "two"):
            await chat.send(text)
            await chat.until("reply.finished")
    cursors = [tuple(map(int, frame["cursor"].split("-"))) for frame in chat.frames if "cursor" in frame]
    assert cursors == sorted(set(cursors))


async def test_messages_sent_fast_are_answered_in_order_each_with_the_earlier_replies_in_its_prompt(
    stack: Stack,
) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        sent = [await chat.send(text) for text in ("first words", "second words", "third words")]
        replies = [(await chat.until("reply.finished"))["message"] for _ in sent]
        assert [reply["to"] for reply in replies] == sent
        prompt = stack.model_stats()["last_request"]["inputs"]
        told = [prompt.find(words) for words in (*_told("first", replies[0]), *_told("second", replies[1]), "third")]
        assert -1 not in told
        assert told == sorted(told)
        assert "I am a stand-in" in replies[0]["text"]
        assert "I am a stand-in" not in replies[1]["text"], "the second prompt did not have the first reply"
        kept = await document(stack, token)
        assert [message["role"] for message in kept] == ["human", "bot"] * 3
        assert replay(chat.frames)["messages"] == kept


def _told(word: str, reply: dict[str, str]) -> tuple[str, str]:
    return f"{word} words", reply["text"][:40]


async def test_a_message_sent_again_is_answered_once(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("only once")
        await chat.send("only once", id)
        await chat.until("reply.finished")
        await chat.send("only once", id)
        again = await chat.until("message.accepted")
        assert again["message"]["id"] == id
        await chat.send("and now?")
        await chat.until("reply.finished")
    said = [message["msg"] for message in await history(stack.url, token)]
    assert [msg for msg in said if msg.startswith("Human: ")] == ["Human: only once", "Human: and now?"]
    assert len(said) == 4


async def test_the_same_id_with_another_text_changes_nothing_and_says_what_was_accepted(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id = await chat.send("the first text")
        await chat.until("reply.finished")
        await chat.send("another text", id)
        accepted = await chat.until("message.accepted")
        assert accepted["message"]["text"] == "the first text"
        await chat.send("still there?")
        await chat.until("reply.finished")
    said = [message["msg"] for message in await history(stack.url, token)]
    assert len(said) == 4
    assert not any("another text" in msg for msg in said)


async def test_a_reload_in_mid_reply_goes_on_from_the_snapshot(stack: Stack) -> None:
    stack.pace(rate=20)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as before:
        id = await before.send("go on and on")
        for _ in range(5):
            await before.until("reply.delta")
    async with Chat(stack.url, token) as after:
        snapshot = await after.next()
        assert snapshot["type"] == "snapshot"
        assert (snapshot["reply"]["to"], snapshot["reply"]["state"]) == (id, "writing")
        shown = snapshot["reply"]["text"]
        finished = await after.until("reply.finished")
        rest = "".join(frame["text"] for frame in after.frames if frame["type"] == "reply.delta")
        assert shown
        assert shown + rest == finished["message"]["text"]
        assert replay(after.frames)["messages"] == await document(stack, token)


async def test_a_reload_in_mid_reply_goes_on_from_the_cursor_without_a_gap_or_a_repeat(stack: Stack) -> None:
    stack.pace(rate=40)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as before:
        await before.send("go on and on")
        for _ in range(5):
            await before.until("reply.delta")
    async with Chat(stack.url, token, after=before.cursor) as after:
        finished = await after.until("reply.finished")
        assert after.frames[0]["type"] != "snapshot"
    both = before.frames + after.frames
    assert len({frame["cursor"] for frame in both}) == len(both)
    text = "".join(frame["text"] for frame in both if frame["type"] == "reply.delta")
    assert text == finished["message"]["text"]
    assert replay(both)["messages"] == await document(stack, token)


async def test_two_sockets_see_the_same_through_two_web_processes(stack: Stack) -> None:
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here)
    async with Chat(here, token) as one, Chat(here, token) as two, Chat(there, token) as three:
        for chat in (one, two, three):
            await chat.next()
        await one.send("from the first tab")
        for chat in (one, two, three):
            await chat.until("reply.finished")
        await three.send("from the other process")
        for chat in (one, two, three):
            await chat.until("reply.finished")
        assert one.frames == two.frames == three.frames
        assert await history(here, token) == await history(there, token)


async def test_conversations_do_not_hear_of_each_other(stack: Stack) -> None:
    mine, yours = await new_token(stack.url), await new_token(stack.url)
    async with Chat(stack.url, mine) as me, Chat(stack.url, yours) as you:
        for chat in (me, you):
            await chat.next()
        await me.send("mine alone")
        await me.until("reply.finished")
        await you.send("yours")
        await you.until("reply.finished")
    assert "mine alone" not in json.dumps(you.frames)
    assert len(await history(stack.url, yours)) == 2


async def test_a_text_comes_back_as_it_was_written(stack: Stack) -> None:
    text = '  line one\nline two\t"quoted" \\ </script> {"type":"x"} שלום e\u0301 👩🏽‍🚀 \u0000\u2028 Human: Bot:  '
    token = await new_token(stack.url, "Zoë 👩🏽‍🚀")
    async with Chat(stack.url, token) as chat:
        await chat.send(text)
        accepted = await chat.until("message.accepted")
        assert accepted["message"]["text"] == text
        await chat.until("reply.finished")
        assert replay(chat.frames)["messages"] == await document(stack, token)
    assert (await history(stack.url, token))[0]["msg"] == f"Human: {text}"


async def test_a_text_of_4000_characters_is_accepted_also_in_the_widest_letters(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        for text in ("x" * 4000, "👍" * 4000):
            await chat.send(text)
            assert (await chat.until("message.accepted"))["message"]["text"] == text
            assert (await chat.until("reply.finished", "reply.failed"))["type"] == "reply.finished"
