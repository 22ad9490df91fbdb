"""The rules of lease, accept, edit, retry, continue, stop and finish, checked as a state machine on a real Redis: any
interleaving of what people, workers and deaths can do leaves every conversation true."""

import asyncio
import json
import random
import secrets
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from api import messages
from tasks.errors import FrameRejectedError, LeaseLostError
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.storage import conversations, events, scripts
from tasks.storage.client import RedisClient
from tasks.storage.conversations import (
    LEASE_MS,
    MAX_RECOVERY_DELAY_MS,
    WINDOW_MESSAGES,
    Message,
    View,
    read_slice,
    reply_id,
)
from tasks.storage.keys import ConversationKeys, conversation_id
from tasks.worker.lease import Lease, Turn, renew
from tasks.worker.recovery import claim
from tests.support.client import Frame, replay

TTL = 600
CONVERSATIONS = 2
#: Snapshots of each conversation that some reader has kept since.
READERS = 6
#: Time that may go by between two looks at Redis' clock, here (ms).
SLACK_MS = 1000

T = TypeVar("T")


@dataclass(eq=False)
class Hand:
    """What one worker holds, or believes to hold, of one conversation."""

    lease: Lease
    turn: Turn
    begun: bool = False
    #: Its last publishing: offset and text.
    sent: tuple[int, str] | None = None


@dataclass
class Talk:
    """One conversation as its people know it."""

    keys: ConversationKeys
    #: Messages that fit in it; 0 for any number.
    maximum: int = 0
    said: list[str] = field(default_factory=list)
    #: Messages that an edit has replaced.
    replaced: list[str] = field(default_factory=list)
    edits: list[tuple[str, str]] = field(default_factory=list)
    retries: list[tuple[str, str]] = field(default_factory=list)
    continues: list[tuple[str, str]] = field(default_factory=list)
    #: Replies that were granted: one for each message, edit, retry and continue.
    turns: int = 0
    #: What readers saw at some time, as snapshot frames.
    snapshots: list[Frame] = field(default_factory=list)
    hands: list[Hand] = field(default_factory=list)
    #: Messages that were stopped before their turn came.
    doomed: set[str] = field(default_factory=set)
    #: All that anybody tried to stop, and nobody wished to be answered again since.
    stopped: set[str] = field(default_factory=set)
    #: Ids that a client who means harm would use again.
    ids: list[str] = field(default_factory=list)
    #: The id of a message that is yet to come.
    chosen: str = field(default_factory=lambda: str(uuid.uuid4()))

    def learn(self, id: str) -> None:
        """A message was sent: its id, its reply's, and those of the chosen one are worth trying."""
        self.ids = [*self.ids[-7:], id, reply_id(id), self.chosen, reply_id(self.chosen), reply_id(reply_id(id))]

    @property
    def id(self) -> str:
        return self.keys.conversation


#: Words of one, two and three bytes a letter.
TEXTS = ("one ", "zwölf ", "x", "€ ")


class Machine(RuleBasedStateMachine):
    """What can happen; `url` is set by the test."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._redis = RedisClient(self.url, max_connections=2)
        self._talks: list[Talk] = []
        #: The conversation that the last step was about; the others are as they were.
        self._touched: list[Talk] = []

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    @initialize()
    def begin(self) -> None:
        """Two people come."""
        for name, maximum in (("Ada", 0), ("Bob", 12)):
            token = secrets.token_urlsafe(32)
            self._run(conversations.create(self._redis, token, name, TTL))
            self._talks.append(Talk(ConversationKeys(conversation_id(token)), maximum))

    @rule(number=st.integers(0, CONVERSATIONS - 1), chance=st.integers(0, 2**32 - 1))
    def something_happens(self, number: int, chance: int) -> None:
        """One of the things that can happen in a conversation right now.

        Drawn from a list Hypothesis would choose the same few again and again, and seldom get far.
        """
        talk = self._talks[number]
        self._touched = [talk]
        acts, rng = self._possible(talk), random.Random(f"{chance} {len(talk.said)}")
        (act,) = rng.choices(list(acts), list(acts.values()))
        getattr(self, act)(talk, rng.randrange(100))

    def _possible(self, talk: Talk) -> dict[str, int]:
        """What is worth trying, and how often: what leads on more often than what undoes it."""
        state = self._state(talk)
        waits = int(state.get("pending", 0))
        begun = sum(hand.begun for hand in talk.hands)
        acts = {"say": 6, "sweep": 2, "look": 2}
        if talk.said:
            acts |= dict.fromkeys(("say_again", "expire", "stop", "take", "retry", "edit", "grow", "scroll"), 1)
            acts |= {"say_badly": 2, "wish_badly": 3}
        if talk.retries or talk.edits or talk.continues:
            acts |= {"wish_again": 2}
        if waits:
            acts |= {"take": 20, "stop": 2 + waits}
        elif "failed" in state or (talk.said and talk.said[-1] in talk.doomed):
            acts |= {"retry": 20, "edit": 8}
        elif self._can_grow(talk):
            acts |= {"retry": 8, "edit": 4, "grow": 30}
        elif talk.said:
            acts |= {"retry": 8, "edit": 4}
        if talk.hands:
            acts |= {"sweep": 4, "hand_over": 2, "prolong": 2, "crash": 2, "set_clock_back": 1}
        if begun < len(talk.hands):
            acts |= {"start": 40}
        if begun:
            acts |= {"publish": 30, "finish": 14, "fail": 6}
        if begun > len({"owner"} & state.keys()):
            acts |= {"wake_up": 10}
        if any(hand.sent for hand in talk.hands):
            acts |= {"publish_again": 6, "forget": 4, "overtake": 6}
        return acts

    def _can_grow(self, talk: Talk) -> bool:
        """Whether the last reply was cut off or stopped after some words."""
        last = (self._document(talk) or [{}])[-1]
        return last.get("finish_reason") in ("length", "stopped") and last["text"] != ""

    # people

    def say(self, talk: Talk, which: int) -> None:
        """A new message."""
        try:
            self._run(self._say(talk))
        except FrameRejectedError as rejected:
            if rejected.code != "full":
                raise
            state = self._state(talk)
            due = int(state.get("pending", 0)) - int(state.get("is_retry", 0))
            assert 0 < talk.maximum < int(state["count"]) + due + 2, "there is room"

    async def _say(self, talk: Talk) -> None:
        # Some messages have the id that was chosen beforehand, whose reply's id a bad client has used perhaps.
        id = talk.chosen if len(talk.said) % 2 else str(uuid.uuid4())
        try:
            assert not (await messages.accept(self._redis, talk.id, id, "Hello", TTL, talk.maximum)).known
        except FrameRejectedError as rejected:
            if (rejected.code, id) != ("bad_frame", talk.chosen):
                raise
            id = str(uuid.uuid4())
            assert not (await messages.accept(self._redis, talk.id, id, "Hello", TTL, talk.maximum)).known
            talk.chosen = str(uuid.uuid4())
        self._was_said(talk, id)

    def _was_said(self, talk: Talk, id: str) -> None:
        talk.said.append(id)
        talk.turns += 1
        talk.learn(id)
        if id == talk.chosen:
            talk.chosen = str(uuid.uuid4())

    def say_again(self, talk: Talk, which: int) -> None:
        """The same message once more, whatever has become of it."""
        sent = [id for id in (*talk.said, *talk.replaced) if id not in {id for _, id in talk.edits}]
        if sent:
            assert self._run(messages.accept(self._redis, talk.id, _pick(sent, which), "Hello", TTL)).known

    def say_badly(self, talk: Talk, which: int) -> None:
        """A new message by an id that was used before, or that another one can have."""
        id = _pick(talk.ids, which)
        if id in talk.said or id in talk.replaced:
            return
        try:
            assert not self._run(messages.accept(self._redis, talk.id, id, "Hello", TTL, talk.maximum)).known
        except FrameRejectedError as rejected:
            if rejected.code not in ("bad_frame", "full"):
                raise
        else:
            self._was_said(talk, id)

    def wish_badly(self, talk: Talk, which: int) -> None:
        """An edit, another answer or more of one by such an id, or for such a message."""
        wish = (self._edit, self._retry, self._grow)[which % 3]
        to, id = talk.said[-1] if talk.said else _pick(talk.ids, which), _pick(talk.ids, which // 3)
        if which % 2:
            to, id = id, str(uuid.uuid4())
        wish(talk, to, id)

    def wish_again(self, talk: Talk, which: int) -> None:
        """The same wish once more: it is granted only once."""
        wishes = [(wish, *ids) for wish, some in self._granted(talk) for ids in some]
        wish, to, id = _pick(wishes, which)
        turns = talk.turns
        wish(talk, to, id)
        assert talk.turns == turns

    def _granted(self, talk: Talk) -> list[tuple[Callable[..., None], list[tuple[str, str]]]]:
        return [(self._edit, talk.edits), (self._retry, talk.retries), (self._grow, talk.continues)]

    def edit(self, talk: Talk, which: int) -> None:
        """The last message is replaced."""
        self._edit(talk, talk.said[-1], talk.chosen if which % 4 == 0 else str(uuid.uuid4()))

    def retry(self, talk: Talk, which: int) -> None:
        """Another answer to the last message."""
        self._retry(talk, talk.said[-1], str(uuid.uuid4()))

    def grow(self, talk: Talk, which: int) -> None:
        """More of the last reply."""
        self._grow(talk, talk.said[-1], str(uuid.uuid4()))

    def _edit(self, talk: Talk, to: str, id: str) -> None:
        waits, last = self._waiting(talk), talk.said[-1:]
        try:
            edited = self._run(messages.edit(self._redis, talk.id, to, id, "Changed", TTL))
        except FrameRejectedError:
            return
        assert edited.known == ((to, id) in talk.edits)
        if not edited.known:
            assert not waits, "a message is replaced while a reply is due"
            assert last == [to], "another one than the last message is replaced"
            talk.edits.append((to, id))
            talk.replaced.append(talk.said.pop())
            self._was_said(talk, id)

    def _retry(self, talk: Talk, to: str, id: str) -> None:
        if self._is_granted(talk, messages.retry(self._redis, talk.id, to, id, TTL), talk.retries, to, id):
            talk.learn(id)
            talk.doomed.discard(to)
            talk.stopped.discard(to)

    def _grow(self, talk: Talk, to: str, id: str) -> None:
        document = self._document(talk)
        if self._is_granted(talk, messages.grow(self._redis, talk.id, to, id, TTL), talk.continues, to, id):
            assert document[-1]["finish_reason"] in ("length", "stopped")
            assert document[-1]["text"] == self._partial(talk).decode() != ""
            talk.learn(id)
            talk.stopped.discard(to)

    def _is_granted(
        self, talk: Talk, wish: Coroutine[Any, Any, None], known: list[tuple[str, str]], to: str, id: str
    ) -> bool:
        """Whether a wish is granted now, and was not before."""
        waits = self._waiting(talk)
        try:
            self._run(wish)
        except FrameRejectedError:
            return False
        if (to, id) in known:
            return False
        assert not waits, "a wish is granted while a reply is due"
        assert talk.said[-1:] == [to], "a wish is granted for another one than the last message"
        known.append((to, id))
        talk.turns += 1
        return True

    def scroll(self, talk: Talk, which: int) -> None:
        """Somebody asks for what is before a message or a reply, or before an id that may be anything."""
        document = self._document(talk)
        ids = [message["id"] for message in document]
        before = _pick([*ids, *talk.ids, *talk.replaced], which)
        try:
            page = self._run(messages.read_history(self._redis, talk.id, before))
        except FrameRejectedError:
            assert before not in ids
            return
        earlier = document[: ids.index(before)][-WINDOW_MESSAGES:]
        assert page.messages == earlier[len(earlier) - len(page.messages) :]
        assert [message["role"] for message in page.messages[:1]] == ["human"][: len(earlier)]
        assert page.earlier == ids.index(before) - len(page.messages)

    def stop(self, talk: Talk, which: int) -> None:
        """Stop one of the last messages' replies."""
        to = _pick(talk.said[:-4:-1], which)
        talk.stopped.add(to)
        queued = [message["id"] for message in self._waiting(talk)[1:]]
        self._run(messages.stop(self._redis, talk.id, to, TTL))
        assert not self._waiting(talk) or self._waiting(talk)[0]["id"] != to, "it goes on"
        if to in queued:
            talk.doomed.add(to)

    def look(self, talk: Talk, which: int) -> None:
        """Somebody opens the page and keeps what they see."""
        talk.snapshots = [*talk.snapshots, self._snapshot(talk)][-READERS:]

    # workers

    def take(self, talk: Talk, which: int) -> None:
        """A worker got the conversation from the queue, or got it a second time."""
        lease = Lease(self._redis, "worker:1:test", talk.id, TTL)
        until = self._held_until(talk)
        turn = self._run(lease.next_turn())
        # A machine that is busy may get here after the end of the lease.
        assert turn is None or until <= self._now(), "a live lease was taken away"
        if turn:
            assert self._held(talk), "a lease ends as it begins"
            assert turn.partial.encode() == self._partial(talk), "the words shown are not gone on from"
            talk.hands.append(Hand(lease, turn))

    def overtake(self, talk: Talk, which: int) -> None:
        """A worker stands still until another one has taken over; it does not know when it wakes up."""
        self.expire(talk, which)
        self.take(talk, which)

    def wake_up(self, talk: Talk, which: int) -> None:
        """One that stood still goes on with what it was at; its lease may be gone."""
        owner = self._state(talk).get("owner")
        asleep = [hand for hand in talk.hands if hand.begun and hand.lease.owner != owner]
        if asleep:
            hand = _pick(asleep, which)
            self._attempt(
                talk, hand, self._finish(hand, which, twice=False) if which % 2 else self._fail(hand, twice=False)
            )

    def start(self, talk: Talk, which: int) -> None:
        """It begins, unless the reply was stopped before its turn: then it ends it, and somebody may ask again."""
        hand = _pick([hand for hand in talk.hands if not hand.begun], which)
        self._attempt(talk, hand, self._start(hand, talk.stopped))
        if hand not in talk.hands and which % 2:
            self.retry(talk, which)

    async def _start(self, hand: Hand, stopped: set[str]) -> None:
        hand.begun = await hand.lease.start(hand.turn)
        assert not hand.begun or await hand.lease.start(hand.turn), "starting twice is starting once"
        if not hand.begun:
            assert hand.turn.to in stopped, "a reply is withheld that nobody stopped"
            await hand.lease.finish(hand.turn, "stopped")
            raise LeaseLostError("done with")

    def publish(self, talk: Talk, which: int) -> None:
        """Some words; now and then twice, because Redis' answer was lost."""
        hand = _pick([hand for hand in talk.hands if hand.begun], which)
        text = _pick(TEXTS, which)
        hand.sent = (hand.lease.written, text)
        if all(self._publish(talk, hand) for _ in range(1 + (which % 3 == 0))):
            hand.lease.written += len(text.encode())
        else:
            talk.hands.remove(hand)

    def publish_again(self, talk: Talk, which: int) -> None:
        """The same words once more, much later."""
        self._publish(talk, _pick([hand for hand in talk.hands if hand.sent], which))

    def forget(self, talk: Talk, which: int) -> None:
        """Redis loses its last words; whoever saw them gets a new snapshot, and who wrote them goes on unknowing."""
        last = self._command("XREVRANGE", talk.keys.events, "+", "-", "COUNT", 1)
        event = json.loads(events.frame(last[0][0], last[0][1][events.FIELD])) if last else {"type": "none"}
        partial, grows_from = self._partial(talk), int(self._state(talk).get("grows_from", 0))
        # A continued reply's first words came with its beginning, in one step.
        if event["type"] == "reply.delta" and len(partial) > grows_from:
            self._command("SET", talk.keys.partial, partial[: -len(event["text"].encode())], "KEEPTTL")
            self._command("XDEL", talk.keys.events, event["cursor"])
            talk.snapshots = [kept for kept in talk.snapshots if kept["cursor"] != event["cursor"]]
            self.publish(talk, which)

    def _publish(self, talk: Talk, hand: Hand) -> bool:
        assert hand.sent
        offset, text = hand.sent
        owner, before = self._state(talk).get("owner"), self._partial(talk)
        keys = (talk.keys.state, talk.keys.events, talk.keys.partial)
        delta = events.delta(hand.turn.reply, text)
        args = (talk.id, hand.lease.owner, offset, text.encode(), delta, b"")
        (done,) = self._run(self._redis.script(scripts.PUBLISH, keys, args))
        assert not done or owner == hand.lease.owner, "somebody wrote without the lease"
        wanted = before[:offset] + text.encode() if done else before
        assert self._partial(talk) == wanted, "words are lost or there twice"
        return bool(done)

    def finish(self, talk: Talk, which: int) -> None:
        """The reply is whole; `twice`, because Redis' answer was lost. The worker goes on to the next message."""
        hand = _pick([hand for hand in talk.hands if hand.begun], which)
        self._attempt(talk, hand, self._finish(hand, which, twice=which % 3 == 0))

    async def _finish(self, hand: Hand, which: int, twice: bool) -> None:
        for _ in range(1 + twice):
            await hand.lease.finish(hand.turn, "length" if which % 4 else "stop")
        await self._next(hand)

    def fail(self, talk: Talk, which: int) -> None:
        """The model gave up; now and then somebody asks again at once."""
        hand = _pick([hand for hand in talk.hands if hand.begun], which)
        self._attempt(talk, hand, self._fail(hand, twice=which % 3 == 0))
        if which % 2:
            self.retry(talk, which)

    async def _fail(self, hand: Hand, twice: bool) -> None:
        for _ in range(1 + twice):
            await hand.lease.fail(hand.turn, "model_cut", "It broke.", True)
        await self._next(hand)

    async def _next(self, hand: Hand) -> None:
        turn = await hand.lease.next_turn()
        if turn is None:
            raise LeaseLostError("nothing left")
        hand.turn, hand.begun, hand.sent = turn, False, None

    def _attempt(self, talk: Talk, hand: Hand, work: Coroutine[Any, Any, None]) -> None:
        """A step that ends the hand if the lease is lost, and then changes nothing."""
        allowed, before = self._state(talk).get("owner") == hand.lease.owner, self._written(talk)
        try:
            self._run(work)
        except LeaseLostError:
            talk.hands.remove(hand)
        assert allowed or self._written(talk) == before, "somebody wrote without the lease"

    def hand_over(self, talk: Talk, which: int) -> None:
        """A worker is told to go."""
        hand = _pick(talk.hands, which)
        talk.hands.remove(hand)
        before = self._state(talk)
        mine = before.get("owner") == hand.lease.owner
        nobodys = "owner" not in before and int(before.get("pending", 0)) > 0
        given = self._run(hand.lease.release())
        assert given == (mine or nobodys), "somebody gave back what was not theirs"
        if mine:
            assert not self._held(talk), "the lease stays"
            assert self._run(claim(self._redis, talk.id)), "the next one has to wait"

    def prolong(self, talk: Talk, which: int) -> None:
        """A worker's beat."""
        hand, now = _pick(talk.hands, which), self._now()
        self._run(renew(self._redis, [hand.lease]))
        if hand.lease.lost:
            talk.hands.remove(hand)
        else:
            state = self._state(talk)
            assert state["owner"] == hand.lease.owner, "somebody prolonged what was not theirs"
            assert int(state["lease_expires_at"]) >= now + LEASE_MS, "a lease ends in spite of the beat"

    def crash(self, talk: Talk, which: int) -> None:
        """A worker dies; nobody is told."""
        talk.hands.remove(_pick(talk.hands, which))

    # time, and those who look

    def expire(self, talk: Talk, which: int) -> None:
        """Longer than a lease and every patience goes by without a beat."""
        self._run(self._pass_time(talk))

    async def _pass_time(self, talk: Talk) -> None:
        if await self._redis.command("HEXISTS", talk.keys.state, "lease_expires_at"):
            await self._redis.command("HSET", talk.keys.state, "lease_expires_at", 1)
        await self._redis.command("ZADD", talk.keys.pending_index, "XX", 1, talk.id)

    def sweep(self, talk: Talk, which: int) -> None:
        """Somebody looks for what nobody answers, and now and then for what needs no look, whatever the index says."""
        if which % 2 == 0:
            self._command("ZADD", talk.keys.pending_index, 1, talk.id)
        waits, until = int(self._state(talk).get("pending", 0)) > 0, self._held_until(talk)
        due, now = self._command("ZSCORE", talk.keys.pending_index, talk.id), self._now()
        if self._run(claim(self._redis, talk.id)):
            assert waits, "what is answered was enqueued again"
            assert until <= self._now(), "what is being answered was enqueued again"
            too_far = float(due) > now + MAX_RECOVERY_DELAY_MS
            assert too_far or float(due) <= now + SLACK_MS, "what may be answered yet was enqueued again"
            assert not self._run(claim(self._redis, talk.id)), "everybody who looks enqueues it"

    def set_clock_back(self, talk: Talk, which: int) -> None:
        """Redis' clock is set back by more than any time that is written there."""
        back = 2 * MAX_RECOVERY_DELAY_MS
        if "lease_expires_at" in self._state(talk):
            self._command("HINCRBY", talk.keys.state, "lease_expires_at", back)
        score = self._command("ZSCORE", talk.keys.pending_index, talk.id)
        if score is not None:
            self._command("ZADD", talk.keys.pending_index, float(score) + back, talk.id)

    # what must be true

    @invariant()
    def every_conversation_is_true(self) -> None:
        """After every step."""
        for talk in self._touched:
            view = self._run(conversations.load(self._redis, talk.id, TTL))
            self._check_document(talk, view)
            self._check_index(talk, view)
            self._check_readers(talk, view)

    def _check_document(self, talk: Talk, view: View) -> None:
        """Each message once and in order, each reply once and right behind its message."""
        document = self._document(talk)
        assert not talk.maximum or len(document) <= talk.maximum
        assert [message["id"] for message in document if message["role"] == "human"] == talk.said
        for before, message in zip([{}, *document], document, strict=False):
            if message["role"] == "bot":
                assert message["to"] == before["id"]
        answered = [message["to"] for message in document if message["role"] == "bot"]
        assert len(answered) == len(set(answered))
        assert view.progress.count == len(document)

    def _check_index(self, talk: Talk, view: View) -> None:
        """Whoever looks finds what waits; what does not wait holds nothing."""
        state = self._state(talk)
        score = self._command("ZSCORE", talk.keys.pending_index, talk.id)
        if view.progress.pending:
            assert score is not None, "nobody will find this conversation"
        else:
            assert score is None, "what is answered is looked for"
            assert not state.keys() - {"count", "pending", "pending_since", "failed", "last"}
            assert not self._command("EXISTS", talk.keys.partial)

    def _check_readers(self, talk: Talk, view: View) -> None:
        """Whatever a reader saw at some time, with the events since then it is what the document says now."""
        entries = self._command("XRANGE", talk.keys.events, "-", "+")
        frames: list[Frame] = [json.loads(events.frame(cursor, fields[events.FIELD])) for cursor, fields in entries]
        nothing = {"messages": [], "earlier": 0}
        first: Frame = {"type": "snapshot", "cursor": "0-0", "conversation": nothing, "reply": None}
        document = self._document(talk)
        for snapshot in (first, *talk.snapshots):
            seen = replay([snapshot, *frames])
            assert seen["messages"] == document[seen["earlier"] :]
            self._check_reply(view.reply(), seen["reply"])
        self._check_texts(talk, frames, view)

    def _check_reply(self, reply: dict[str, Any] | None, seen: dict[str, Any] | None) -> None:
        """The words on the screen are the words in Redis; one that has not begun need not be known."""
        if reply is None or reply["state"] == "queued":
            assert seen is None or (reply and seen["text"] in ("", reply["text"]))
        else:
            assert seen is not None
            assert (seen["id"], seen["to"], seen["text"]) == (reply["id"], reply["to"], reply["text"])

    def _check_texts(self, talk: Talk, frames: list[Frame], view: View) -> None:
        """A reply ends with exactly the words that were shown, or leaves the earlier one alone."""
        begun = sum(frame["type"] == "reply.started" for frame in frames)
        ended = sum(frame["type"] in ("reply.finished", "reply.failed") for frame in frames)
        assert ended == talk.turns - view.progress.pending, "a reply ended twice, or not at all"
        assert begun <= talk.turns, "a reply began twice"
        assert not talk.doomed & {frame["to"] for frame in frames if frame["type"] == "reply.started"}
        whole = _whole(frames)
        retries = {id: to for to, id in talk.retries}
        for message in self._document(talk):
            if message["role"] == "bot":
                assert retries.get(message["id"], message["to"]) == message["to"], "another message's retry"
                assert message == whole[message["id"]]

    def teardown(self) -> None:
        """Then peace: somebody looks, a worker comes, and everything is answered exactly once."""
        for talk in self._talks:
            self._run(self._pass_time(talk))
            if int(self._state(talk).get("pending", 0)):
                assert self._run(claim(self._redis, talk.id)), "nobody enqueues it again"
            self._run(self._answer_all(talk))
            view = self._run(conversations.load(self._redis, talk.id, TTL))
            self._check_document(talk, view)
            self._check_index(talk, view)
            assert view.progress.pending == 0
            document = self._document(talk)
            answered = {message["to"] for message in document if message["role"] == "bot"}
            failed = {message["id"] for message in document if "failed" in message}
            assert set(talk.said) <= answered | failed
        self._run(self._redis.aclose())
        self._runner.close()

    async def _answer_all(self, talk: Talk) -> None:
        lease = Lease(self._redis, "worker:last", talk.id, TTL)
        for _ in range(len(talk.said) + 2):
            if not (turn := await lease.next_turn()):
                return
            await lease.finish(turn, "stop" if await lease.start(turn) else "stopped")

    # looking

    def _snapshot(self, talk: Talk) -> Frame:
        view = self._run(conversations.load(self._redis, talk.id, TTL))
        document = view.conversation()
        return {"type": "snapshot", "cursor": view.cursor, "conversation": document, "reply": view.reply()}

    def _document(self, talk: Talk) -> list[Message]:
        """All messages."""
        return self._run(read_slice(self._redis, talk.id, 0, 10_000))

    def _state(self, talk: Talk) -> dict[str, str]:
        fields = self._command("HGETALL", talk.keys.state)
        return {name.decode(): value.decode() for name, value in fields.items()}

    def _written(self, talk: Talk) -> list[Any]:
        """All that readers can see."""
        keys = talk.keys
        last = ("XREVRANGE", keys.events, "+", "-", "COUNT", 1)
        return self._run(self._redis.pipeline(("JSON.GET", keys.document), ("GET", keys.partial), last))

    def _partial(self, talk: Talk) -> bytes:
        """What is shown of the reply in turn."""
        return self._command("GET", talk.keys.partial) or b""

    def _held(self, talk: Talk) -> bool:
        """Whether a lease is live."""
        return self._held_until(talk) > 0

    def _held_until(self, talk: Talk) -> int:
        """When the live lease ends by Redis' time (ms); 0 if there is none."""
        state = self._state(talk)
        until = int(state["lease_expires_at"]) if "owner" in state else 0
        return until if 0 < until - self._now() <= 2 * LEASE_MS else 0

    def _now(self) -> int:
        """Redis' time (ms)."""
        seconds, micros = map(int, self._command("TIME"))
        return seconds * 1000 + micros // 1000

    def _waiting(self, talk: Talk) -> list[Message]:
        """The messages without an answer, the one in turn first."""
        view = self._run(conversations.load(self._redis, talk.id, TTL))
        document, progress = self._document(talk), view.progress
        return document[progress.index :] if progress.pending else []

    def _command(self, *command: Any) -> Any:
        return self._run(self._redis.command(*command))


def _pick(some: Sequence[T], which: int) -> T:
    return some[which % len(some)]


def _whole(frames: list[Frame]) -> dict[str, Frame]:
    """Each finished reply as its last event has it; checks that it is what was shown, or was there before."""
    whole: dict[str, Frame] = {}
    shown: dict[str, str] = {}
    for frame in frames:
        match frame["type"]:
            case "reply.started":
                shown = {frame["id"]: ""}
            case "reply.delta":
                shown[frame["id"]] += frame["text"]
            case "reply.finished":
                message = frame["message"]
                earlier = whole.get(message["id"])
                # What a retry shows is new from its first word, what a continue shows from the end of the reply.
                had = {message["id"]: message["text"]}
                if message != earlier or any(text != had.get(id, "") for id, text in shown.items()):
                    assert message["text"] == shown.get(message["id"], ""), "a reply is not what was shown"
                whole[message["id"]] = message
                shown = {}
            case "reply.failed":
                shown = {}
    return whole


def test_any_interleaving_keeps_every_conversation_true(real_redis: EmbeddedRedis) -> None:
    machine = type("Bound", (Machine,), {"url": real_redis.url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
