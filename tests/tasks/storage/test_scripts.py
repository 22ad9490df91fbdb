"""The steps that change a conversation: each whole or not at all, only by whom it belongs to, and only once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from api import messages
from api.fanout.pubsub import EventListener
from tasks.errors import ConversationGoneError, FrameRejectedError, LeaseLostError
from tasks.storage import conversations, events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.conversations import (
    MAX_CONTINUED_BYTES,
    MAX_PENDING,
    MAX_RECOVERY_DELAY_MS,
    RECOVERY_DELAY_MS,
    reply_id,
)
from tasks.storage.keys import ConversationKeys, event_channel
from tasks.worker.lease import Lease, renew
from tasks.worker.recovery import claim
from tests.support.steps import TTL, Steps

Heard = Callable[[], Awaitable[list[bytes]]]


@pytest.fixture
async def steps(redis: RedisClient) -> AsyncIterator[Steps]:
    """A new conversation on each kind of Redis."""
    async with Steps(redis) as steps:
        yield steps


async def score(steps: Steps) -> float | None:
    """When the open conversation is to be looked at (ms), if it is open."""
    found = await steps.redis.command("ZSCORE", steps.keys.pending_index, steps.id)
    return float(found) if found is not None else None


async def now_ms(steps: Steps) -> int:
    """Redis' clock."""
    seconds, micros = await steps.redis.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def let_lapse(steps: Steps) -> None:
    """As if the lease's time were over."""
    await steps.redis.command("HSET", steps.keys.state, "lease_expires_at", 1)


@pytest.fixture
async def heard(redis_url: str, steps: Steps) -> AsyncIterator[Heard]:
    """Tells what has rung since the test began, in order."""
    listener = EventListener(redis_url)

    async def up_to_now() -> list[bytes]:
        await steps.redis.command("SPUBLISH", event_channel(steps.keys.shard), "now")
        found: list[bytes] = []
        async for piece in pieces:
            if piece == b"now":
                break
            found += piece.split(b"\n")
        return found

    async with aclosing(listener.listen(steps.redis.node_of(steps.keys.shard), [steps.keys.shard])) as pieces:
        assert await anext(pieces) == b""
        yield up_to_now


def neighbour(steps: Steps) -> Steps:
    """Another conversation of the same shard, so that one call can change both."""
    while True:
        other = Steps(steps.redis)
        if other.keys.shard == steps.keys.shard:
            return other


class TestTell:
    async def test_every_event_rings_with_itself_and_where_it_belongs(self, steps: Steps, heard: Heard) -> None:
        await steps.say("hello")
        await steps.answer("so", " be it")
        await steps.say("and now?")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await conversations.delete(steps.redis, steps.id)
        entries = await steps.redis.command("XRANGE", steps.keys.events, "-", "+")
        assert len(entries) == 9
        cursors = [b"0-0", *(cursor for cursor, _ in entries)]
        said = await heard()
        assert said == [
            b" ".join((steps.id.encode(), before, cursor, fields[events.FIELD]))
            for before, (cursor, fields) in zip(cursors, entries, strict=False)
        ]
        assert steps.token not in str(said)

    async def test_many_texts_of_one_trip_ring_at_once(self, steps: Steps, heard: Heard) -> None:
        async with neighbour(steps) as other:
            for talk in (steps, other):
                await talk.say("hello")
                await talk.begin()
            args: list[object] = []
            for talk in (steps, other):
                owner = (await talk.state())["owner"]
                args += (talk.id, owner, 0, "yes", events.delta("r", "yes"), "")
            keys = [getattr(talk.keys, name) for talk in (steps, other) for name in ("state", "events", "partial")]
            assert await steps.redis.script(scripts.PUBLISH, keys, args) == [1, 1]
            assert [news.split()[0].decode() for news in (await heard())[-2:]] == [steps.id, other.id]

    async def test_a_long_event_rings_without_itself(self, steps: Steps, heard: Heard) -> None:
        await steps.say("x" * 5000)
        assert await heard() == [steps.id.encode()]

    async def test_a_step_that_changes_nothing_does_not_ring(self, steps: Steps, heard: Heard) -> None:
        for _ in range(2):
            await messages.accept(steps.redis, steps.id, reply_id("x"), "hello", TTL)
        lease, turn = await steps.begin()
        assert await lease.start(turn)
        assert len(await heard()) == len(await steps.events()) == 2


class TestAccept:
    async def test_a_message_is_in_document_stream_and_index_at_once(self, steps: Steps) -> None:
        id = await steps.say("hello")
        (message,) = await steps.messages()
        assert (message["id"], message["role"], message["text"]) == (id, "human", "hello")
        (event,) = await steps.events()
        assert (event["type"], event["message"]) == ("message.accepted", message)
        assert (await steps.look()).cursor == event["cursor"]
        assert abs((await score(steps) or 0) - await now_ms(steps) - RECOVERY_DELAY_MS) < 5_000

    async def test_the_second_time_it_changes_nothing_and_names_the_first(self, steps: Steps) -> None:
        first = await messages.accept(steps.redis, steps.id, reply_id("x"), "hello", TTL)
        again = await messages.accept(steps.redis, steps.id, reply_id("x"), "another", TTL)
        assert (first.known, again.known) == (False, True)
        assert (again.cursor, again.message) == (first.cursor, first.message)
        assert await steps.texts() == ["hello"]
        assert len(await steps.events()) == 1

    async def test_what_does_not_exist_accepts_nothing_and_leaves_nothing(self, redis: RedisClient) -> None:
        unborn = Steps(redis)
        with pytest.raises(ConversationGoneError):
            await unborn.say("hello")
        assert await redis.command("EXISTS", *(getattr(unborn.keys, name) for name in ("state", "ids", "events"))) == 0
        assert await score(unborn) is None

    async def test_a_full_conversation_takes_no_more(self, steps: Steps) -> None:
        await messages.accept(steps.redis, steps.id, reply_id("1"), "one", TTL, maximum=2)
        with pytest.raises(FrameRejectedError) as rejected:
            await messages.accept(steps.redis, steps.id, reply_id("2"), "two", TTL, maximum=2)
        assert rejected.value.code == "full"
        assert await steps.texts() == ["one"]

    async def test_replies_that_are_due_count_against_the_limit(self, steps: Steps) -> None:
        for n in range(7):
            with contextlib.suppress(FrameRejectedError):
                await messages.accept(steps.redis, steps.id, reply_id(str(n)), "hello", TTL, maximum=10)
        while (await steps.look()).reply():
            await steps.answer("Hi")
        assert len(await steps.messages()) == 10

    async def test_the_reply_that_a_failure_left_out_still_fits_when_it_is_tried_again(self, steps: Steps) -> None:
        id = await steps.say("one")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        with pytest.raises(FrameRejectedError):
            await messages.accept(steps.redis, steps.id, reply_id("2"), "two", TTL, maximum=2)
        await steps.retry(id)
        await steps.answer("better")
        assert await steps.texts() == ["one", "better"]

    async def test_more_messages_than_may_wait_are_refused_until_one_is_answered(self, steps: Steps) -> None:
        for n in range(MAX_PENDING):
            await steps.say(f"message {n}")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.say("one too many")
        assert rejected.value.code == "busy"
        await steps.answer("Hi")
        await steps.say("fits")

    async def test_two_at_once_both_come_in(self, steps: Steps) -> None:
        await asyncio.gather(*(steps.say(text) for text in "abcdef"))
        assert sorted(await steps.texts()) == list("abcdef")
        assert (await steps.state())["pending"] == "6"


class TestTake:
    async def test_only_one_of_two_gets_it(self, steps: Steps) -> None:
        await steps.say("hello")
        taken = await asyncio.gather(*(steps.lease(f"worker:{n}:x").next_turn() for n in range(2)))
        assert sorted(turn is None for turn in taken) == [False, True]

    async def test_who_has_it_may_take_it_again(self, steps: Steps) -> None:
        await steps.say("hello")
        lease = steps.lease()
        assert await lease.next_turn()
        assert await lease.next_turn()

    async def test_after_its_time_it_goes_to_the_next_with_the_words_already_shown(self, steps: Steps) -> None:
        await steps.say("hello")
        old, turn = await steps.begin()
        await steps.write(old, turn, "so far")
        await let_lapse(steps)
        new = steps.lease("worker:2:y")
        taken = await new.next_turn()
        assert taken
        assert (taken.partial, taken.reply, new.written) == ("so far", turn.reply, 6)

    async def test_with_nothing_to_answer_there_is_no_turn_and_the_index_is_tidied(self, steps: Steps) -> None:
        await steps.redis.command("ZADD", steps.keys.pending_index, 1, steps.id)
        assert await steps.lease().next_turn() is None
        assert await score(steps) is None
        assert "owner" not in await steps.state()

    async def test_a_turn_holds_what_was_said_up_to_its_message_and_no_later(self, steps: Steps) -> None:
        first = await steps.say("one")
        await steps.answer("reply one")
        second = await steps.say("two")
        await steps.say("three")
        turn = await steps.lease().next_turn()
        assert turn
        assert [message["text"] for message in turn.messages] == ["one", "reply one", "two"]
        assert (turn.to, turn.person, turn.reply) == (second, "Ada", reply_id(second))
        assert turn.to != first


class TestStart:
    async def test_the_beginning_is_said_once_whoever_goes_on(self, steps: Steps) -> None:
        await steps.say("hello")
        _, turn = await steps.begin()
        await let_lapse(steps)
        await steps.begin(steps.lease("worker:2:y"))
        started = [event for event in await steps.events() if event["type"] == "reply.started"]
        assert [(event["id"], event["to"]) for event in started] == [(turn.reply, turn.to)]

    async def test_without_the_lease_nothing_begins(self, steps: Steps) -> None:
        await steps.say("hello")
        old = steps.lease()
        turn = await old.next_turn()
        assert turn
        await let_lapse(steps)
        await steps.lease("worker:2:y").next_turn()
        with pytest.raises(LeaseLostError):
            await old.start(turn)
        assert [event["type"] for event in await steps.events()] == ["message.accepted"]

    async def test_what_a_long_conversation_has_told_is_forgotten_but_for_the_latest(self, steps: Steps) -> None:
        await steps.redis.pipeline(
            *(("XADD", steps.keys.events, "*", events.FIELD, events.encode({"number": n})) for n in range(2500))
        )
        await steps.say("hello")
        await steps.begin()
        kept = await steps.events()
        assert 2000 <= len(kept) <= 2200
        assert [event["type"] for event in kept[-2:]] == ["message.accepted", "reply.started"]
        assert [event["number"] for event in kept[:-2]] == list(range(2500 - len(kept[:-2]), 2500))


class TestPublish:
    async def sent(self, steps: Steps, lease: Lease, offset: int, text: str) -> int:
        """Send text as the writer does; 1 if it was taken."""
        keys = (steps.keys.state, steps.keys.events, steps.keys.partial)
        args = (lease.conversation, lease.owner, offset, text.encode(), events.delta("r", text), b"")
        (done,) = await steps.redis.script(scripts.PUBLISH, keys, args)
        assert isinstance(done, int)
        return done

    async def deltas(self, steps: Steps) -> list[str]:
        """The texts in the stream."""
        return [event["text"] for event in await steps.events() if event["type"] == "reply.delta"]

    async def test_text_is_in_the_partial_reply_and_in_the_stream(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "so ", "fär 👍")
        assert (await steps.look()).progress.partial == "so fär 👍"
        assert await self.deltas(steps) == ["so ", "fär 👍"]

    async def test_text_sent_again_after_a_lost_answer_is_not_added_twice(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        assert [await self.sent(steps, lease, 0, "once") for _ in range(2)] == [1, 1]
        assert await self.deltas(steps) == ["once"]
        assert (await steps.look()).progress.partial == "once"

    async def test_text_that_would_leave_a_gap_is_refused(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        assert await self.sent(steps, lease, 5, "late") == 0
        assert await self.deltas(steps) == []

    async def test_who_lost_the_lease_cannot_write_another_character(self, steps: Steps) -> None:
        await steps.say("hello")
        old, turn = await steps.begin()
        await steps.write(old, turn, "mine")
        await let_lapse(steps)
        new, _ = await steps.begin(steps.lease("worker:2:y"))
        assert await self.sent(steps, old, 4, " not") == 0
        await steps.write(new, turn, " and mine")
        assert (await steps.look()).progress.partial == "mine and mine"

    async def test_many_replies_in_one_go_stand_each_for_itself(self, steps: Steps, redis: RedisClient) -> None:
        async with neighbour(steps) as other:
            await steps.say("hello")
            await other.say("hello")
            lease, _ = await steps.begin()
            keys = [getattr(s.keys, name) for s in (other, steps) for name in ("state", "events", "partial")]
            args = [
                *(other.id, "nobody", 0, "no", events.delta("r", "no"), ""),
                *(steps.id, lease.owner, 0, "yes", events.delta("r", "yes"), ""),
            ]
            assert await redis.script(scripts.PUBLISH, keys, args) == [0, 1]
            assert await self.deltas(other) == []
            assert await self.deltas(steps) == ["yes"]

    async def test_waiting_is_in_the_snapshot_until_the_next_word(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.pause(lease, turn, "rate_limited")
        reply = (await steps.look()).reply()
        assert reply
        assert (reply["state"], reply["reason"]) == ("waiting", "rate_limited")
        assert reply["retry_in"] > 0
        await steps.write(lease, turn, "now")
        reply = (await steps.look()).reply()
        assert reply
        assert (reply["state"], "reason" in reply) == ("writing", False)


class TestFinish:
    async def test_the_reply_is_exactly_what_was_shown(self, steps: Steps) -> None:
        await steps.say("hello")
        text = 'Hi "you" \\ / \u007f\u2028\n👍'
        turn = await steps.answer(text)
        _, reply = await steps.messages()
        assert (reply["id"], reply["to"], reply["text"], reply["finish_reason"]) == (turn.reply, turn.to, text, "stop")
        assert (await steps.events())[-1]["message"] == reply

    async def test_afterwards_nothing_of_the_turn_is_left(self, steps: Steps) -> None:
        await steps.say("hello")
        await steps.answer("Hi")
        assert set(await steps.state()) == {"count", "pending", "pending_since", "last"}
        assert await steps.redis.command("EXISTS", steps.keys.partial) == 0
        assert await score(steps) is None
        assert 0 < await steps.redis.command("TTL", steps.keys.events) <= 300

    async def test_done_twice_it_counts_once(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "Hi")
        await lease.finish(turn, "stop")
        await lease.finish(turn, "stop")
        assert await steps.texts() == ["hello", "Hi"]

    async def test_a_reply_that_has_the_id_of_the_one_before_it_ends_all_the_same(self, steps: Steps) -> None:
        """No client gets so far; a document written by an earlier version may."""
        await steps.say("one")
        turn = await steps.answer("reply one")
        await steps.say("two")
        await steps.redis.command("HSET", steps.keys.state, "retry", turn.reply)
        await steps.answer("reply two")
        assert await steps.texts() == ["one", "reply one", "two", "reply two"]
        assert (await steps.look()).reply() is None

    async def test_a_reply_stands_right_after_its_message_though_others_wait(self, steps: Steps) -> None:
        for text in ("one", "two", "three"):
            await steps.say(text)
        await steps.answer("reply one")
        assert await steps.texts() == ["one", "reply one", "two", "three"]
        await steps.answer("reply two")
        await steps.answer("reply three")
        assert await steps.texts() == ["one", "reply one", "two", "reply two", "three", "reply three"]

    async def test_without_the_lease_nothing_ends(self, steps: Steps) -> None:
        await steps.say("hello")
        old, turn = await steps.begin()
        await let_lapse(steps)
        await steps.begin(steps.lease("worker:2:y"))
        with pytest.raises(LeaseLostError):
            await old.finish(turn, "stop")
        with pytest.raises(LeaseLostError):
            await old.fail(turn, "code", "detail", True)
        assert await steps.texts() == ["hello"]

    async def test_a_failure_is_kept_with_its_message_and_what_was_shown(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "Hi, I")
        await lease.fail(turn, "model_cut", "It broke off.", True)
        (message,) = await steps.messages()
        failed = {"id": turn.reply, "code": "model_cut", "detail": "It broke off.", "retryable": True, "text": "Hi, I"}
        assert message["failed"] == failed
        event = (await steps.events())[-1]
        assert {name: event[name] for name in failed} == failed
        assert (event["type"], event["to"]) == ("reply.failed", turn.to)
        assert (await steps.look()).reply() is None

    async def test_a_reply_without_a_word_is_empty(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.finish(turn, "stop")
        assert await steps.texts() == ["hello", ""]


class TestStop:
    async def test_it_keeps_what_was_shown_and_takes_the_lease_away(self, steps: Steps) -> None:
        id = await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "so far")
        await steps.stop(id)
        assert (await steps.messages())[1]["finish_reason"] == "stopped"
        assert await steps.texts() == ["hello", "so far"]
        with pytest.raises(LeaseLostError):
            await steps.write(lease, turn, " and on")
        assert lease.lost
        with pytest.raises(LeaseLostError):
            await lease.start(turn)
        assert await steps.texts() == ["hello", "so far"]

    async def test_with_others_waiting_the_writer_cannot_go_on_with_them_and_the_next_worker_can(
        self, steps: Steps
    ) -> None:
        id = await steps.say("one")
        await steps.say("two")
        old, turn = await steps.begin()
        await steps.stop(id)
        with pytest.raises(LeaseLostError):
            await steps.write(old, turn, "not in the second reply")
        _, taken = await steps.begin(steps.lease("worker:2:y"))
        assert (taken.messages[-1]["text"], taken.partial) == ("two", "")

    async def test_before_a_worker_came_it_is_a_reply_without_a_word(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.stop(id)
        assert [(m["text"], m.get("finish_reason")) for m in await steps.messages()] == [
            ("hello", None),
            ("", "stopped"),
        ]
        assert await steps.lease().next_turn() is None

    async def test_it_says_how_many_messages_wait_behind_it(self, steps: Steps) -> None:
        id = await steps.say("one")
        await steps.say("two")
        assert await messages.stop(steps.redis, steps.id, id, TTL) == 1
        turn = await steps.answer("reply two")
        assert turn.messages[-1]["text"] == "two"

    async def test_sent_again_after_a_lost_answer_it_says_the_same_until_somebody_goes_on(self, steps: Steps) -> None:
        id = await steps.say("one")
        await steps.say("two")
        assert [await messages.stop(steps.redis, steps.id, id, TTL) for _ in range(2)] == [1, 1]
        await steps.begin()
        assert await messages.stop(steps.redis, steps.id, id, TTL) is None
        assert [event["type"] for event in await steps.events()].count("reply.finished") == 1

    async def test_of_one_that_waits_its_turn_it_is_carried_out_in_its_turn(self, steps: Steps) -> None:
        await steps.say("one")
        second = await steps.say("two")
        await steps.stop(second)
        assert await steps.texts() == ["one", "two"]
        await steps.answer("reply one")
        await steps.answer_stopped()
        assert await steps.texts() == ["one", "reply one", "two", ""]

    async def test_with_as_many_messages_waiting_as_may_it_still_finds_the_right_one(self, steps: Steps) -> None:
        ids = [await steps.say(f"message {n}") for n in range(MAX_PENDING)]
        await steps.stop(ids[-1])
        assert len(await steps.messages()) == MAX_PENDING
        await steps.stop(ids[0])
        found = await steps.messages()
        assert (found[1]["to"], found[1]["finish_reason"]) == (ids[0], "stopped")
        turn = await steps.answer("next")
        assert turn.to == ids[1]

    async def test_too_late_it_changes_nothing(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Hi")
        before = await steps.messages()
        await steps.stop(id)
        await steps.stop(reply_id("nothing"))
        assert await steps.messages() == before

    async def test_of_a_deleted_conversation_there_is_nothing_to_stop(self, redis: RedisClient) -> None:
        with pytest.raises(ConversationGoneError):
            await Steps(redis).stop(reply_id("x"))


class TestRetry:
    async def test_the_new_reply_takes_the_old_ones_place(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("old")
        new = await steps.retry(id)
        assert await steps.texts() == ["hello", "old"]
        turn = await steps.answer("new")
        assert (turn.reply, turn.to) == (new, id)
        assert [message["text"] for message in turn.messages] == ["hello"]
        assert await steps.texts() == ["hello", "new"]

    async def test_a_message_sent_meanwhile_is_answered_after_it(self, steps: Steps) -> None:
        id = await steps.say("one")
        await steps.answer("old")
        await steps.retry(id)
        await steps.say("two")
        await steps.answer("new")
        await steps.answer("reply two")
        assert await steps.texts() == ["one", "new", "two", "reply two"]

    async def test_after_a_failure_the_failure_is_gone_with_the_new_beginning(self, steps: Steps) -> None:
        id = await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await steps.retry(id)
        await steps.say("sent before the worker came")
        await steps.answer("new")
        assert [("failed" in message) for message in await steps.messages()] == [False, False, False]

    async def test_after_a_failure_and_stopped_before_its_turn_the_failure_is_gone_too(self, steps: Steps) -> None:
        id = await steps.say("hello")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await steps.retry(id)
        await steps.stop(id)
        assert "failed" not in (await steps.messages())[0]

    async def test_that_fails_keeps_the_old_reply(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("old")
        await steps.retry(id)
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        first, second = await steps.messages()
        assert (first["failed"]["id"], second["text"]) == (turn.reply, "old")
        await steps.retry(id)
        await steps.answer("better")
        assert await steps.texts() == ["hello", "better"]
        assert "failed" not in (await steps.messages())[0]

    @pytest.mark.parametrize("begun", [True, False])
    async def test_stopped_before_its_first_word_leaves_the_old_reply_as_it_was(
        self, steps: Steps, begun: bool
    ) -> None:
        id = await steps.say("hello")
        await steps.answer("old", finish_reason="length")
        before = await steps.messages()
        await steps.retry(id)
        await steps.begin() if begun else None
        await steps.stop(id)
        assert await steps.messages() == before
        assert (await steps.events())[-1]["message"] == before[1]
        assert (await steps.look()).reply() is None

    async def test_stopped_after_some_words_they_take_the_old_ones_place(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("old")
        new = await steps.retry(id)
        await steps.write(*await steps.begin(), "so far")
        await steps.stop(id)
        reply = (await steps.messages())[1]
        assert (reply["id"], reply["text"], reply["finish_reason"]) == (new, "so far", "stopped")

    async def test_stopped_in_the_queue_it_can_be_asked_for_again(self, steps: Steps) -> None:
        await steps.say("one")
        second = await steps.say("two")
        await steps.stop(second)
        await steps.answer("reply one")
        await steps.answer_stopped()
        await steps.retry(second)
        await steps.answer("reply two")
        assert await steps.texts() == ["one", "reply one", "two", "reply two"]

    async def test_asked_for_twice_it_is_done_once(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("old")
        new = await steps.retry(id)
        await steps.retry(id, new)
        await steps.answer("new")
        await steps.retry(id, new)
        assert await steps.lease().next_turn() is None

    async def test_under_the_id_of_the_last_reply_it_is_refused(self, steps: Steps) -> None:
        id = await steps.say("hello")
        turn = await steps.answer("old")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.retry(id, turn.reply)
        assert rejected.value.code == "bad_frame"
        assert await steps.lease().next_turn() is None

    async def test_while_something_waits_it_is_refused_as_busy(self, steps: Steps) -> None:
        id = await steps.say("hello")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.retry(id)
        assert rejected.value.code == "busy"

    async def test_for_any_but_the_last_message_it_is_refused(self, steps: Steps) -> None:
        first = await steps.say("one")
        await steps.answer("reply one")
        await steps.say("two")
        await steps.answer("reply two")
        for to in (first, reply_id(first), reply_id("nobody")):
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.retry(to)
            assert rejected.value.code == "bad_frame"

    async def test_of_a_deleted_conversation_there_is_nothing_to_retry(self, redis: RedisClient) -> None:
        with pytest.raises(ConversationGoneError):
            await Steps(redis).retry(reply_id("x"))


class TestEdit:
    @pytest.mark.parametrize("ended", ["stop", "length", "stopped", "failed"])
    async def test_the_new_message_stands_in_the_place_of_the_old_one_and_its_reply(
        self, steps: Steps, ended: str
    ) -> None:
        await steps.say_and_answer("one", "reply one")
        old = await steps.say("two")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "reply two")
        await (lease.fail(turn, "code", "detail", True) if ended == "failed" else lease.finish(turn, ended))
        new = await steps.edit(old, "zwei")
        edited = (await steps.messages())[-1]
        assert await steps.texts() == ["one", "reply one", "zwei"]
        assert set(edited) == {"id", "role", "text", "timestamp"}
        event = (await steps.events())[-1]
        assert (event["type"], event["to"], event["message"]) == ("message.edited", old, edited)
        reply = (await steps.look()).reply()
        assert reply
        assert (reply["id"], reply["to"], reply["state"]) == (reply_id(new), new, "queued")
        turn = await steps.answer("reply zwei")
        assert [message["text"] for message in turn.messages] == ["one", "reply one", "zwei"]
        assert await steps.texts() == ["one", "reply one", "zwei", "reply zwei"]

    async def test_done_twice_it_changes_nothing_and_names_the_first(self, steps: Steps) -> None:
        old = await steps.say_and_answer("one", "reply one")
        first = await messages.edit(steps.redis, steps.id, old, reply_id("x"), "eins", TTL)
        again = await messages.edit(steps.redis, steps.id, old, reply_id("x"), "another", TTL)
        assert (first.known, again.known) == (False, True)
        assert (again.cursor, again.message) == (first.cursor, first.message)
        await steps.answer("reply eins")
        assert (await messages.edit(steps.redis, steps.id, old, reply_id("x"), "another", TTL)).known
        assert await steps.texts() == ["eins", "reply eins"]

    async def test_it_can_be_edited_again_and_each_edit_is_still_known(self, steps: Steps) -> None:
        one = await steps.say_and_answer("one", "reply one")
        two = await steps.edit(one, "two")
        await steps.answer("reply two")
        three = await steps.edit(two, "three")
        for to, id, text in ((one, two, "two"), (two, three, "three")):
            again = await messages.edit(steps.redis, steps.id, to, id, text, TTL)
            assert (again.known, again.message["text"]) == (True, text)
        sent_again = await messages.accept(steps.redis, steps.id, one, "one", TTL)
        assert (sent_again.known, sent_again.message["text"]) == (True, "one")
        assert await steps.texts() == ["three"]

    async def test_while_a_reply_is_due_it_is_refused_as_busy(self, steps: Steps) -> None:
        id = await steps.say("hello")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.edit(id, "hallo")
        assert rejected.value.code == "busy"

    async def test_for_any_but_the_last_message_it_is_refused(self, steps: Steps) -> None:
        first = await steps.say_and_answer("one", "reply one")
        second = await steps.say_and_answer("two", "reply two")
        for to in (first, reply_id(second), reply_id("nobody")):
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.edit(to, "three")
            assert rejected.value.code == "bad_frame"

    async def test_by_an_id_that_was_used_it_is_refused(self, steps: Steps) -> None:
        first = await steps.say_and_answer("one", "reply one")
        second = await steps.say_and_answer("two", "reply two")
        retry = await steps.retry(second)
        await steps.answer("another")
        for id in (first, second, reply_id(first), reply_id(second), retry):
            with pytest.raises(FrameRejectedError) as rejected:
                await steps.edit(second, "three", id)
            assert (rejected.value.code, rejected.value.id) == ("bad_frame", id)

    async def test_its_id_names_nothing_else(self, steps: Steps) -> None:
        old = await steps.say_and_answer("one", "reply one")
        new = await steps.edit(old, "two")
        await steps.answer("reply two", finish_reason="length")
        for taken in (steps.say("three", new), steps.retry(new, new), steps.grow_reply(new, new)):
            with pytest.raises(FrameRejectedError) as rejected:
                await taken
            assert (rejected.value.code, rejected.value.id) == ("bad_frame", new)

    async def test_the_message_may_be_stopped_answered_again_and_followed_like_any_other(self, steps: Steps) -> None:
        old = await steps.say_and_answer("one", "reply one")
        new = await steps.edit(old, "two")
        await steps.stop(old)
        await steps.stop(new)
        await steps.retry(new)
        await steps.say("three")
        await steps.answer("reply two")
        await steps.answer("reply three")
        assert await steps.texts() == ["two", "reply two", "three", "reply three"]

    async def test_of_a_deleted_conversation_there_is_nothing_to_edit(self, redis: RedisClient) -> None:
        with pytest.raises(ConversationGoneError):
            await Steps(redis).edit(reply_id("x"), "hello")


class TestContinue:
    @pytest.mark.parametrize("ended", ["length", "stopped"])
    async def test_the_same_reply_grows_from_its_words(self, steps: Steps, ended: str) -> None:
        id = await steps.say("hello")
        first = await steps.answer('Once / "upon" 👍', finish_reason=ended)
        await steps.grow_reply(id)
        assert (await steps.messages())[1]["finish_reason"] == ended
        turn = await steps.answer(" a time")
        assert (turn.reply, turn.partial, turn.grows_from) == (first.reply, 'Once / "upon" 👍', 15)
        _, reply = await steps.messages()
        assert (reply["id"], reply["text"], reply["finish_reason"]) == (first.reply, 'Once / "upon" 👍 a time', "stop")

    async def test_its_events_are_a_beginning_the_words_it_has_and_those_that_come(self, steps: Steps) -> None:
        id = await steps.say("hello")
        first = await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        await steps.answer(" upon", " a time")
        started, *deltas, finished = (await steps.events())[-5:]
        assert (started["type"], started["id"], started["to"]) == ("reply.started", first.reply, id)
        assert [(event["type"], event["text"]) for event in deltas] == [
            ("reply.delta", "Once"),
            ("reply.delta", " upon"),
            ("reply.delta", " a time"),
        ]
        assert finished["message"]["text"] == "Once upon a time"

    async def test_in_progress_the_snapshot_has_all_its_words(self, steps: Steps) -> None:
        id = await steps.say("hello")
        first = await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        shown = {"id": first.reply, "to": id, "text": "Once", "state": "queued"}
        assert (await steps.look()).reply() == shown
        await steps.write(*await steps.begin(), " upon")
        assert (await steps.look()).reply() == {**shown, "text": "Once upon", "state": "writing"}

    async def test_another_worker_takes_it_over_at_its_last_word(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        await steps.write(*await steps.begin(), " upon")
        await let_lapse(steps)
        lease, turn = await steps.begin(steps.lease("worker:2:y"))
        assert (turn.partial, turn.grows_from) == ("Once upon", 4)
        await steps.write(lease, turn, " a time")
        await lease.finish(turn, "length")
        assert await steps.texts() == ["hello", "Once upon a time"]

    @pytest.mark.parametrize("begun", [True, False])
    async def test_stopped_before_a_new_word_the_reply_stays_as_it_was(self, steps: Steps, begun: bool) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        before = await steps.messages()
        await steps.grow_reply(id)
        await steps.begin() if begun else None
        await steps.stop(id)
        assert await steps.messages() == before
        assert (await steps.look()).reply() is None
        assert (await steps.events())[-1]["message"] == before[1]

    async def test_stopped_after_some_words_it_has_them_all_and_can_grow_again(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        await steps.write(*await steps.begin(), " upon")
        await steps.stop(id)
        assert [m.get("finish_reason") for m in await steps.messages()] == [None, "stopped"]
        await steps.grow_reply(id)
        await steps.answer(" a time")
        assert await steps.texts() == ["hello", "Once upon a time"]

    @pytest.mark.parametrize("words", [(), (" upon",)])
    async def test_that_fails_leaves_the_reply_as_it_was_and_can_be_asked_for_again(
        self, steps: Steps, words: tuple[str, ...]
    ) -> None:
        id = await steps.say("hello")
        first = await steps.answer("Once", finish_reason="length")
        before = await steps.messages()
        await steps.grow_reply(id)
        lease, turn = await steps.begin()
        await steps.write(lease, turn, *words)
        await lease.fail(turn, "code", "detail", True)
        asked, reply = await steps.messages()
        assert reply == before[1]
        assert (asked["failed"]["id"], asked["failed"]["text"]) == (first.reply, "".join(("Once", *words)))
        await steps.grow_reply(id)
        await steps.answer(" again")
        assert await steps.texts() == ["hello", "Once again"]
        assert "failed" not in (await steps.messages())[0]

    async def test_that_cannot_even_begin_fails_all_the_same(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        lease = steps.lease("worker:2:y")
        turn = await lease.next_turn()
        assert turn
        await lease.fail(turn, "internal", "Something went wrong.", True)
        assert (await steps.look()).reply() is None
        assert [message["text"] for message in await steps.messages()] == ["hello", "Once"]

    async def test_that_brings_nothing_more_is_an_end(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        lease, turn = await steps.begin()
        await lease.finish(turn, "stop")
        _, reply = await steps.messages()
        assert (reply["text"], reply["finish_reason"]) == ("Once", "stop")

    async def test_asked_for_twice_it_is_done_once(self, steps: Steps) -> None:
        id = await steps.say("hello")
        await steps.answer("Once", finish_reason="length")
        wish = await steps.grow_reply(id)
        await steps.grow_reply(id, wish)
        await steps.answer(" upon", finish_reason="length")
        await steps.grow_reply(id, wish)
        assert await steps.lease().next_turn() is None

    async def test_an_end_that_is_sent_again_does_not_end_the_next_one(self, steps: Steps) -> None:
        id = await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "Once")
        await lease.finish(turn, "length")
        await steps.grow_reply(id)
        with pytest.raises(LeaseLostError):
            await lease.finish(turn, "length")
        assert (await steps.look()).reply()
        await steps.answer(" upon")
        assert await steps.texts() == ["hello", "Once upon"]

    async def test_a_message_sent_meanwhile_is_answered_after_it(self, steps: Steps) -> None:
        id = await steps.say("one")
        await steps.answer("Once", finish_reason="length")
        await steps.grow_reply(id)
        await steps.say("two")
        await steps.answer(" upon")
        await steps.answer("reply two")
        assert await steps.texts() == ["one", "Once upon", "two", "reply two"]

    async def test_while_something_waits_it_is_refused_as_busy(self, steps: Steps) -> None:
        id = await steps.say("hello")
        with pytest.raises(FrameRejectedError) as rejected:
            await steps.grow_reply(id)
        assert rejected.value.code == "busy"

    async def test_where_nothing_can_grow_it_is_refused(self, steps: Steps) -> None:
        first = await steps.say("one")
        cut = await steps.answer("cut off", finish_reason="length")
        second = await steps.say_and_answer("two", "whole")
        await refused(steps.grow_reply(first), steps.grow_reply(second), steps.grow_reply(cut.reply))
        third = await steps.say("three")
        await steps.stop(third)
        await refused(steps.grow_reply(third))
        fourth = await steps.say("four")
        lease, turn = await steps.begin()
        await lease.fail(turn, "code", "detail", True)
        await refused(steps.grow_reply(fourth))
        await steps.retry(fourth)
        await steps.answer("x" * MAX_CONTINUED_BYTES, finish_reason="length")
        await refused(steps.grow_reply(fourth))

    async def test_by_an_id_that_was_used_it_is_refused_and_its_own_names_nothing_else(self, steps: Steps) -> None:
        first = await steps.say_and_answer("one", "reply one")
        second = await steps.say("two")
        await steps.answer("Once", finish_reason="length")
        await refused(*(steps.grow_reply(second, id) for id in (first, second, reply_id(first), reply_id(second))))
        wish = await steps.grow_reply(second)
        await steps.answer(" upon", finish_reason="length")
        await refused(steps.say("three", wish), steps.retry(second, wish), steps.edit(second, "three", wish))

    async def test_of_an_empty_or_deleted_conversation_there_is_nothing_to_continue(
        self, steps: Steps, redis: RedisClient
    ) -> None:
        await refused(steps.grow_reply(reply_id("x")))
        with pytest.raises(ConversationGoneError):
            await Steps(redis).grow_reply(reply_id("x"))


async def refused(*wishes: Awaitable[object]) -> None:
    """Each of them is a bad frame."""
    for wish in wishes:
        with pytest.raises(FrameRejectedError) as rejected:
            await wish
        assert rejected.value.code == "bad_frame"


class TestRelease:
    async def test_it_lets_the_next_go_on_at_once(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "so far")
        assert await lease.release()
        _, taken = await steps.begin(steps.lease("worker:2:y"))
        assert taken.partial == "so far"

    async def test_of_somebody_elses_lease_it_does_nothing(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        assert not await steps.lease("worker:2:y").release()
        assert (await steps.state())["owner"] == lease.owner

    async def test_sent_again_after_a_lost_answer_it_says_again_that_something_waits(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        assert [await lease.release() for _ in range(2)] == [True, True]
        await steps.answer("Hi")
        assert not await lease.release()


class TestCrash:
    async def test_sent_again_after_a_lost_answer_it_counts_once_and_says_the_same(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        assert [await lease.crash(1000) for _ in range(2)] == [1, 1]
        other, _ = await steps.begin(steps.lease("worker:2:y"))
        assert await lease.crash(1000) == 0
        assert await other.crash(1000) == 2


class TestRenew:
    async def test_it_prolongs_what_is_held_and_says_what_is_lost(self, steps: Steps, redis: RedisClient) -> None:
        async with Steps(redis) as other:
            for each in (steps, other):
                await each.say("hello")
            mine, _ = await steps.begin()
            lost, _ = await other.begin()
            await let_lapse(steps)
            await let_lapse(other)
            await other.begin(other.lease("worker:2:y"))
            await renew(redis, [mine, lost])
            assert (mine.lost, lost.lost) == (False, True)
            assert int((await steps.state())["lease_expires_at"]) > await now_ms(steps)
            assert await steps.lease("worker:3:z").next_turn() is None

    async def test_whoever_lost_it_is_stopped(self, steps: Steps, redis: RedisClient) -> None:
        await steps.say("hello")
        lease, _ = await steps.begin()
        working = asyncio.create_task(asyncio.Event().wait())
        lease.held_by(working)
        await let_lapse(steps)
        await steps.begin(steps.lease("worker:2:y"))
        await renew(redis, [lease])
        with pytest.raises(asyncio.CancelledError):
            await working


class TestClockSetBack:
    """What was written before Redis' clock was set back by a minute lies further ahead than it ever may."""

    async def test_a_lease_from_before_is_over(self, steps: Steps) -> None:
        await steps.say("hello")
        old, turn = await steps.begin()
        await steps.write(old, turn, "so far")
        await steps.redis.command("HINCRBY", steps.keys.state, "lease_expires_at", 60_000)
        assert not (await steps.look()).progress.leased
        taken = await steps.lease("worker:2:y").next_turn()
        assert taken
        assert taken.partial == "so far"

    async def test_a_look_from_before_is_due(self, steps: Steps) -> None:
        await steps.say("hello")
        ahead = await now_ms(steps) + MAX_RECOVERY_DELAY_MS + 60_000
        await steps.redis.command("ZADD", steps.keys.pending_index, ahead, steps.id)
        assert await claim(steps.redis, steps.id)
        assert not await claim(steps.redis, steps.id)


class TestDelete:
    async def test_everything_is_gone_and_the_stream_says_so_for_a_while(self, steps: Steps) -> None:
        await steps.say("hello")
        lease, turn = await steps.begin()
        await steps.write(lease, turn, "so far")
        assert await conversations.delete(steps.redis, steps.id)
        keys = steps.keys
        assert await steps.redis.command("EXISTS", keys.document, keys.state, keys.ids, keys.partial) == 0
        assert await score(steps) is None
        assert (await steps.events())[-1]["type"] == "conversation.deleted"
        assert 0 < await steps.redis.command("TTL", keys.events) <= 60
        with pytest.raises(LeaseLostError):
            await steps.write(lease, turn, " and on")
        assert lease.lost
        assert await steps.redis.command("EXISTS", keys.partial, keys.state) == 0
        assert not await conversations.delete(steps.redis, steps.id)


async def test_at_no_instant_a_key_of_a_conversation_has_no_end(steps: Steps) -> None:
    async def every_key_ends() -> None:
        for name in ("document", "events", "state", "ids", "partial"):
            assert await steps.redis.command("TTL", getattr(steps.keys, name)) in (-2, *range(1, TTL + 1)), name

    id = await steps.say("hello")
    await every_key_ends()
    lease, turn = await steps.begin()
    await steps.write(lease, turn, "Hi")
    await every_key_ends()
    await lease.finish(turn, "stop")
    await every_key_ends()
    await steps.redis.command("DEL", steps.keys.events)
    await steps.retry(id)
    lease, turn = await steps.begin()
    await every_key_ends()
    await steps.pause(lease, turn)
    await steps.write(lease, turn, "Ho")
    await every_key_ends()
    await steps.stop(id)
    await every_key_ends()


async def test_a_reply_in_progress_keeps_every_key_alive_and_after_it_they_live_no_longer_than_the_rest(
    steps: Steps,
) -> None:
    """SESSION_TTL_SECONDS may be shorter than a reply."""
    names = ("document", "events", "state", "ids", "partial")

    async def lives() -> list[int]:
        return [await steps.redis.command("TTL", getattr(steps.keys, name)) for name in names]

    await messages.accept(steps.redis, steps.id, reply_id("x"), "hello", 2)
    lease = Lease(steps.redis, "worker:1:test", steps.id, 2)
    turn = await lease.next_turn()
    assert turn
    await lease.start(turn)
    await steps.write(lease, turn, "Hi")
    assert min(await lives()) > 2
    for name in names:
        await steps.redis.command("EXPIRE", getattr(steps.keys, name), 2)
    await renew(steps.redis, [lease])
    assert min(await lives()) > 2
    await lease.finish(turn, "stop")
    assert all(left <= 2 for left in await lives())


def test_all_keys_of_a_conversation_share_one_slot() -> None:
    keys = ConversationKeys("ab" * 16)
    tags = {
        key[key.index("{") : key.index("}")] for key in (keys.document, keys.events, keys.state, keys.pending_index)
    }
    assert len(tags) == 1


async def test_a_server_that_forgot_the_scripts_is_taught_again(steps: Steps) -> None:
    async def forget() -> None:
        for name in await steps.redis.shards_by_node():
            await steps.redis.node(name).command("SCRIPT", "FLUSH")

    await forget()
    await steps.say("hello")
    await forget()
    await steps.answer("Hi")
    assert await steps.texts() == ["hello", "Hi"]
