"""Continue: a reply that was cut off or stopped grows, and nothing takes away the words that it has."""

from itertools import pairwise

from tests.support.client import Chat, Frame, LegacyChat, history, new_token, replay
from tests.support.stack import Stack


async def newcomer(stack: Stack, token: str) -> Frame:
    """The snapshot that somebody gets who opens the conversation now."""
    async with Chat(stack.url, token) as chat:
        return await chat.next()


async def stopped(stack: Stack, chat: Chat, text: str = "a long story please") -> tuple[str, Frame]:
    """A message whose reply was stopped after some words; its id and the reply."""
    stack.pace(rate=20)
    id = await chat.send(text)
    for _ in range(3):
        await chat.until("reply.delta")
    await chat.stop(id)
    return id, (await chat.until("reply.finished"))["message"]


async def test_the_same_reply_grows_and_every_tab_sees_it_whole(stack: Stack) -> None:
    here, there = (f"http://127.0.0.1:{port}" for port in stack.ports[:2])
    token = await new_token(here)
    async with Chat(here, token) as one, Chat(there, token) as two:
        id, short = await stopped(stack, one)
        stack.pace(rate=400)
        await two.until("reply.finished")
        await two.continue_reply(id)
        for chat in (one, two):
            started = await chat.until("reply.started")
            assert (started["id"], started["to"]) == (short["id"], id)
            assert (await chat.next())["text"] == short["text"]
            grown = (await chat.until("reply.finished"))["message"]
            assert (grown["id"], grown["to"], grown["finish_reason"]) == (short["id"], id, "stop")
            assert grown["text"].startswith(short["text"])
            assert len(grown["text"]) > len(short["text"])
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert kept[1:] == [grown]
        assert replay(one.frames)["messages"] == replay(two.frames)["messages"] == kept


async def test_a_reply_that_was_cut_off_at_its_length_gets_as_much_again(own_stack: Stack) -> None:
    own_stack.start_web()
    own_stack.start_worker(MAX_NEW_TOKENS="6")
    own_stack.wait_ready()
    token = await new_token(own_stack.url)
    async with Chat(own_stack.url, token) as chat:
        id = await chat.send("tell me a long story about a parley")
        lengths = [0]
        for _ in range(3):
            reply = (await chat.until("reply.finished"))["message"]
            assert reply["finish_reason"] == "length"
            lengths.append(len(reply["text"].split()))
            await chat.continue_reply(id)
        grown = [after - before for before, after in pairwise(lengths)]
        assert min(grown) >= 3
        assert max(grown) <= 6


async def test_whoever_joins_in_the_middle_sees_all_its_words(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id, short = await stopped(stack, chat)
        await chat.continue_reply(id)
        await chat.until("reply.started")
        await chat.until("reply.delta")
        await chat.until("reply.delta")
        async with Chat(stack.url, token) as late:
            reply = (await late.next())["reply"]
            assert (reply["id"], reply["to"]) == (short["id"], id)
            assert reply["text"].startswith(short["text"])
            assert len(reply["text"]) > len(short["text"])
            stack.pace(rate=400)
            await late.until("reply.finished")
        await chat.until("reply.finished")
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert replay(late.frames)["messages"] == replay(chat.frames)["messages"] == kept


async def test_stopped_again_it_keeps_what_was_shown_and_can_grow_once_more(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id, short = await stopped(stack, chat)
        await chat.continue_reply(id)
        for _ in range(3):
            await chat.until("reply.delta")
        await chat.stop(id)
        longer = (await chat.until("reply.finished"))["message"]
        assert longer["finish_reason"] == "stopped"
        assert longer["text"].startswith(short["text"])
        assert len(longer["text"]) > len(short["text"])
        stack.pace(rate=400)
        await chat.continue_reply(id)
        whole = (await chat.until("reply.finished"))["message"]
        assert whole["text"].startswith(longer["text"])


async def test_a_continue_that_fails_leaves_the_reply_as_it_was_and_says_so(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id, short = await stopped(stack, chat)
        stack.fault(mode="status", status=403)
        await chat.continue_reply(id)
        failed = await chat.until("reply.failed")
        assert (failed["id"], failed["to"]) == (short["id"], id)
        kept = (await newcomer(stack, token))["conversation"]["messages"]
        assert kept[1] == short
        assert kept[0]["failed"]["code"] == failed["code"]
        assert replay(chat.frames)["messages"] == kept


async def test_a_continue_sent_twice_is_done_once(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        id, short = await stopped(stack, chat)
        stack.pace(rate=400)
        wish = await chat.continue_reply(id)
        await chat.continue_reply(id, wish)
        await chat.until("reply.finished")
        await chat.continue_reply(id, wish)
        await chat.send("go on")
        assert (await chat.until("reply.finished"))["message"]["to"] != id
        assert [frame["id"] for frame in chat.frames if frame["type"] == "reply.started"].count(short["id"]) == 2
        assert not [frame for frame in chat.frames if frame["type"] == "error"]


async def test_where_nothing_can_grow_it_is_refused_and_while_a_reply_runs_it_is_busy(stack: Stack) -> None:
    async with Chat(stack.url, await new_token(stack.url)) as chat:
        whole = await chat.send("short")
        await chat.until("reply.finished")
        wish = await chat.continue_reply(whole)
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("bad_frame", wish)
        stack.pace(rate=20)
        id = await chat.send("long")
        await chat.until("reply.delta")
        wish = await chat.continue_reply(id)
        rejected = await chat.until("error")
        assert (rejected["code"], rejected["id"]) == ("busy", wish)
        await chat.stop(id)


async def test_the_older_client_hears_nothing_of_it_and_finds_it_in_the_history(stack: Stack) -> None:
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as newer, LegacyChat(stack.url, token) as older:
        id, _ = await stopped(stack, newer)
        await older.next()
        stack.pace(rate=400)
        await newer.continue_reply(id)
        grown = (await newer.until("reply.finished"))["message"]
        assert "nothing before this" in await older.ask("nothing before this")
    assert (await history(stack.url, token))[1]["msg"] == f"Bot: {grown['text']}"
