"""Stop holds whatever happens to the processes, and costs the model nothing more."""

import asyncio

import pytest

from tasks.local.processes import wait_until
from tests.support.client import Chat, new_token, replay
from tests.support.inside import stamps, whole, writer_of
from tests.support.stack import Stack
from tests.takeover.counting import begun

#: Seconds, for a busy machine, in which a request must be there or gone: fewer than MODEL_READ_TIMEOUT, when it goes
#: by itself.
LET_GO = 30.0


async def test_a_stop_survives_the_death_of_web_and_worker(running: Stack) -> None:
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        id = await begun(chat)
        running.kill(await writer_of(running, token))
        await chat.stop(id)
        stopped = await chat.until("reply.finished")
        assert stopped["message"]["finish_reason"] == "stopped"
        running.start_worker()
        await chat.send("And now?")
        after = await chat.until("reply.finished")
        assert after["message"]["to"] != id, "the stopped reply went on"
        seen = replay(chat.frames)["messages"]
    assert seen[1] == stopped["message"]
    assert stamps(seen[1]["text"]) == whole(len(stamps(seen[1]["text"])))


async def test_a_stop_while_nobody_writes_it_keeps_what_was_shown(running: Stack) -> None:
    """Between the death of a worker and the takeover, and the next message is answered by the one that comes."""
    async with Chat(running.url, token := await new_token(running.url)) as chat:
        first = await begun(chat)
        second = await chat.send("And then?")
        await chat.until("message.accepted")
        running.kill(await writer_of(running, token))
        await chat.stop(first)
        stopped = await chat.until("reply.finished")
        shown = [f["text"] for f in chat.frames if f["type"] == "reply.delta" and f["id"] == stopped["message"]["id"]]
        assert (stopped["message"]["to"], stopped["message"]["text"]) == (first, "".join(shown))
        running.start_worker()
        finished = await chat.until("reply.finished")
        assert (finished["message"]["to"], finished["message"]["finish_reason"]) == (second, "stop")


@pytest.mark.parametrize("mode", ["silent", "hang"])
async def test_a_stop_lets_the_model_go_also_while_it_says_nothing(running: Stack, mode: str) -> None:
    running.fault(mode=mode, after=5)
    async with Chat(running.url, await new_token(running.url)) as chat:
        await chat.until("snapshot")
        id = await chat.send("Count, please")
        await chat.until("reply.delta" if mode == "silent" else "reply.started")
        await asyncio.to_thread(wait_until, lambda: running.model_stats()["open"] == 1, "the request", timeout=LET_GO)
        await chat.stop(id)
        await chat.until("reply.finished")
        let_go = "the model to be let go"
        await asyncio.to_thread(wait_until, lambda: running.model_stats()["open"] == 0, let_go, timeout=LET_GO)
    assert running.model_stats()["cancelled"] == 1


async def test_a_stop_at_the_very_end_leaves_the_reply_whole_or_stopped(running: Stack) -> None:
    """Never both: one event ends it, and the document has what that event says."""
    running.pace(rate=0, stamped=20)
    async with Chat(running.url, token := await new_token(running.url)) as watcher:
        for number in range(30):
            # A socket of its own, for no more than a socket's first frames are carried out at once.
            async with Chat(running.url, token) as chat:
                id = await chat.send(f"Number {number}")
                await chat.until("reply.started")
                await asyncio.sleep(number / 10_000)
                await chat.stop(id)
                finished = (await chat.until("reply.finished"))["message"]
                said = stamps(finished["text"])
                assert said == whole(20 if finished["finish_reason"] == "stop" else len(said))
        last = await watcher.send("The end")
        while (await watcher.until("reply.finished"))["message"]["to"] != last:
            pass
        ends = [frame["message"]["to"] for frame in watcher.frames if frame["type"] == "reply.finished"]
        assert len(ends) == len(set(ends)) == 31
