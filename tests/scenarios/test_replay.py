"""The replay test: from every cursor, snapshot plus later events give exactly the document in Redis."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from api import frames
from tasks.storage.client import RedisClient
from tasks.storage.conversations import Message
from tests.support.client import Chat, Frame, apply_event, new_token, replay
from tests.support.stack import Stack
from tests.support.steps import Steps

EVERY_EVENT = {
    "message.accepted",
    "message.edited",
    "reply.started",
    "reply.waiting",
    "reply.delta",
    "reply.finished",
    "reply.failed",
}


Apply = Callable[[dict[str, Any], Frame], None]


@dataclass(frozen=True)
class Recording:
    """A conversation that is over: a snapshot of each of its instants, its events, and the document in Redis."""

    snapshots: list[Frame]
    events: list[Frame]
    document: list[Message]


class Recorder:
    """Has a conversation in which everything happens that can."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.snapshots: list[Frame] = []

    async def at(self, step: Awaitable[Any]) -> Any:
        """Take a step, then a snapshot."""
        result = await step
        view = await self.steps.look()
        self.snapshots.append(json.loads(frames.snapshot(view, {}, {})))
        return result

    async def write(self, lease: Any, turn: Any, *texts: str) -> None:
        """Write, with a snapshot after each text."""
        for text in texts:
            await self.at(self.steps.write(lease, turn, text))

    async def happen(self) -> None:
        """The conversation."""
        steps, at = self.steps, self.at
        await at(steps.say("answered at once"))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, "Hello", " you", " 👩🏽‍🚀\n")
        await at(steps.say("sent while the reply is written"))
        await at(steps.say("stopped before its turn"))
        to_stop = (await steps.messages())[-1]["id"]
        await at(steps.stop(to_stop))
        await self.write(lease, turn, " and on")
        await at(lease.finish(turn, "stop"))
        lease, turn = await at(steps.begin(lease))
        await at(steps.pause(lease, turn, "model_loading"))
        await self.write(lease, turn, "second")
        await at(steps.pause(lease, turn, "retrying"))
        await self.write(lease, turn, " reply")
        await at(steps.stop(turn.to))
        lease = steps.lease()
        stopped = await lease.next_turn()
        assert stopped
        assert not await lease.start(stopped)
        await at(lease.finish(stopped, "stopped"))
        await at(steps.retry(to_stop))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, "third", " time")
        await at(lease.finish(turn, "length"))
        await at(steps.grow_reply(to_stop))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, " goes", " on")
        await at(steps.stop(to_stop))
        await at(steps.grow_reply(to_stop))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, " and fails")
        await at(lease.fail(turn, "model_cut", "The model broke off.", True))
        await at(steps.grow_reply(to_stop))
        await at(steps.stop(to_stop))
        await at(steps.retry(to_stop))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, "fails")
        await at(lease.fail(turn, "model_silent", "The model fell silent.", True))
        await at(steps.retry(to_stop))
        lease, turn = await at(steps.begin())
        await at(steps.stop(to_stop))
        edited = await at(steps.edit(to_stop, "edited"))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, "an answer")
        await at(lease.finish(turn, "stop"))
        await at(steps.retry(edited))
        await at(steps.begin())
        await at(steps.stop(edited))
        await at(steps.say("fails without a word"))
        lease, turn = await at(steps.begin())
        await at(lease.fail(turn, "model_forbidden", "Not allowed.", False))
        failed = await at(steps.edit(turn.to, "edited after it failed"))
        lease, turn = await at(steps.begin())
        await at(lease.fail(turn, "model_forbidden", "Not allowed.", False))
        await at(steps.retry(failed))
        await at(steps.say("sent while the retry waits"))
        lease, turn = await at(steps.begin())
        await self.write(lease, turn, "better now")
        await at(lease.finish(turn, "stop"))
        lease, turn = await at(steps.begin(lease))
        await self.write(lease, turn, "breaks off")
        await at(lease.fail(turn, "model_cut", "The model broke off.", True))


async def record(redis: RedisClient) -> Recording:
    """Have the conversation."""
    async with Steps(redis) as steps:
        recorder = Recorder(steps)
        await recorder.happen()
        return Recording(recorder.snapshots, await steps.events(), await steps.messages())


def disagreeing(recorded: Recording, apply: Apply = apply_event) -> list[str]:
    """The cursors from which snapshot plus later events do not give the document."""
    wrong = []
    for snapshot in recorded.snapshots:
        later = [event for event in recorded.events if _position(event) > _position(snapshot)]
        state = _replayed([snapshot, *later], apply)
        if not state or state["messages"] != recorded.document or state["reply"]:
            wrong.append(snapshot["cursor"])
    return wrong


def mismatches(recorded: Recording, apply: Apply = apply_event) -> list[str]:
    """The cursors whose snapshot is not what the snapshot before it and the events between give."""
    wrong = []
    for before, after in pairwise(recorded.snapshots):
        between = [event for event in recorded.events if _position(before) < _position(event) <= _position(after)]
        state = _replayed([before, *between], apply)
        if not state or _halfway(state) != _halfway(replay([after])):
            wrong.append(after["cursor"])
    return wrong


def _replayed(frames: list[Frame], apply: Apply) -> dict[str, Any] | None:
    """What a client makes of it; None if it cannot make anything of it."""
    try:
        return replay(frames, apply)
    except (KeyError, TypeError, StopIteration):
        return None


def _halfway(state: dict[str, Any]) -> tuple[Any, ...]:
    """What two states of a running conversation are compared by; that a reply is queued has no event."""
    reply = state["reply"]
    if not reply or reply["state"] == "queued":
        return state["messages"], None
    return state["messages"], reply["id"], reply["to"], reply["text"], reply["state"]


def _position(frame: Frame) -> tuple[int, ...]:
    return tuple(map(int, frame["cursor"].split("-")))


def deaf_to(type: str) -> Apply:
    """A client on whom one type of event makes no impression."""
    return lambda state, frame: None if frame["type"] == type else apply_event(state, frame)


async def test_from_every_cursor_snapshot_and_later_events_are_the_document(redis: RedisClient) -> None:
    recorded = await record(redis)
    assert {event["type"] for event in recorded.events} == EVERY_EVENT
    seen = {snapshot["cursor"] for snapshot in recorded.snapshots}
    assert seen <= {event["cursor"] for event in recorded.events}
    # A reply that is continued begins with two events in one step: its beginning and the words that it has.
    assert {event["type"] for event in recorded.events if event["cursor"] not in seen} == {"reply.started"}
    assert disagreeing(recorded) == []
    assert mismatches(recorded) == []


async def test_it_fails_when_events_of_any_type_change_nothing(redis: RedisClient) -> None:
    recorded = await record(redis)
    for type in EVERY_EVENT:
        assert mismatches(recorded, deaf_to(type)), type
        # At the end nothing is to be seen any more of waiting, nor of text that the finished reply brings again.
        assert bool(disagreeing(recorded, deaf_to(type))) is (type not in ("reply.waiting", "reply.delta")), type


async def test_through_the_wire_every_cursor_leads_to_the_same_end(stack: Stack) -> None:
    stack.fault(mode="cut", after=3)
    stack.fault(mode="status", status=403)
    token = await new_token(stack.url)
    async with Chat(stack.url, token) as chat:
        await chat.next()
        failing = await chat.send("this fails after some words")
        await chat.until("reply.failed")
        await chat.retry(failing)
        await chat.send("this waits meanwhile")
        stack.fault(mode="loading", retry_after=0.05)
        await chat.until("reply.finished")
        await chat.until("reply.finished")
        replaced = await chat.send("this is replaced")
        await chat.until("reply.finished")
        stopped = await chat.edit(replaced, "this is stopped")
        await chat.until("reply.delta")
        await chat.stop(stopped)
        await chat.until("reply.finished")
        await chat.continue_reply(stopped)
        await chat.until("reply.finished")
        frames = chat.frames
    async with Chat(stack.url, token) as newcomer:
        document = (await newcomer.next())["conversation"]["messages"]
    assert replay(frames)["messages"] == document
    events = [frame for frame in frames if frame["type"] in EVERY_EVENT]
    assert {frame["type"] for frame in events} == EVERY_EVENT
    for at in range(1, len(frames) - 1):
        async with Chat(stack.url, token, after=frames[at]["cursor"]) as back:
            while not back.frames or back.frames[-1] != frames[-1]:
                await back.next()
            assert replay(frames[: at + 1] + back.frames)["messages"] == document
