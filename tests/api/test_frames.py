"""The wire: what a client may send, what it is told otherwise, and what it is sent."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import frames
from api.frames import (
    MAX_TEXT_BYTES,
    HistoryBefore,
    MessageEdit,
    MessageSend,
    ReplyContinue,
    ReplyRetry,
    ReplyStop,
    check_frame,
    check_text,
    is_cursor,
    snapshot,
)
from tasks.errors import FrameRejectedError
from tasks.storage.conversations import Page, Progress, View

ID = "3f0c9a52-7d0e-4a55-9d6e-0d8f3f1b2a01"
CLIENT_FRAMES = {
    "message.send": MessageSend,
    "message.edit": MessageEdit,
    "reply.stop": ReplyStop,
    "reply.retry": ReplyRetry,
    "reply.continue": ReplyContinue,
    "history.before": HistoryBefore,
}
IDLE = Progress(0, 0, is_retry=False, retry="", phase="", partial="", waiting=None, leased=False)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_each_frame_is_read_as_what_it_is() -> None:
    assert check_frame(json.dumps({"type": "message.send", "id": ID, "text": " x "}), 4000) == MessageSend(ID, " x ")
    assert check_frame(json.dumps({"type": "reply.stop", "to": ID}), 4000) == ReplyStop(ID)
    assert check_frame(json.dumps({"type": "reply.retry", "to": ID, "id": ID}), 4000) == ReplyRetry(ID, ID)
    assert check_frame(json.dumps({"type": "reply.continue", "to": ID, "id": ID}), 4000) == ReplyContinue(ID, ID)
    assert check_frame(json.dumps({"type": "history.before", "before": ID}), 4000) == HistoryBefore(ID)
    edit = {"type": "message.edit", "to": ID, "id": ID, "text": "x"}
    assert check_frame(json.dumps(edit), 4000) == MessageEdit(ID, ID, "x")


def test_without_a_limit_a_text_may_be_of_any_length() -> None:
    assert check_text("x" * MAX_TEXT_BYTES, 0)


@pytest.mark.parametrize(("text", "fits"), [("x" * 10, True), ("x" * 11, False), ("👍" * 10, True), ("👍" * 11, False)])
def test_a_limit_counts_characters(text: str, fits: bool) -> None:
    if fits:
        assert check_text(text, 10) == text
    else:
        with pytest.raises(FrameRejectedError, match="11 characters; 10 are possible"):
            check_text(text, 10)


@pytest.mark.parametrize("limit", [0, 10, 4000, 1_000_000])
@given(text=st.text() | st.text('\x01"\n\U0001f600'), times=st.integers(1, 5000))
def test_what_a_message_costs_in_bytes_is_bounded_at_any_limit(limit: int, text: str, times: int) -> None:
    with contextlib.suppress(FrameRejectedError):
        taken = check_text(text * times, limit)
        assert len(json.dumps(taken, ensure_ascii=False).encode()) - 2 <= min(
            4 * limit or MAX_TEXT_BYTES, MAX_TEXT_BYTES
        )


@pytest.mark.parametrize("text", ["\n" * 3999 + "x", '"' * 4000, "👍" * 4000, "\x01" * 2666])
def test_no_text_that_a_person_writes_is_too_long_in_bytes_alone(text: str) -> None:
    assert check_text(text, 4000) == text


def test_a_text_of_control_characters_is_refused_in_a_sentence() -> None:
    with pytest.raises(FrameRejectedError, match="24,000 bytes to send and 16,000 are possible") as rejected:
        check_text("\x01" * 4000, 4000)
    assert rejected.value.code == "too_long"


@given(st.text() | st.binary())
def test_whatever_comes_is_either_a_frame_or_refused(data: str | bytes) -> None:
    with pytest.raises(FrameRejectedError):
        check_frame(data, 4000)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from([*CLIENT_FRAMES]) | json_values},
        optional={
            **dict.fromkeys(("id", "to", "before"), json_values | st.just(ID)),
            "text": json_values,
        },
    )
)
def test_whatever_stands_in_a_frame_it_is_either_right_or_refused_in_a_sentence(frame: dict[str, object]) -> None:
    try:
        checked = check_frame(json.dumps(frame), 4000)
    except FrameRejectedError as rejected:
        said = json.loads(frames.error(rejected))
        assert said["code"] in ("bad_frame", "empty", "too_long")
        assert said["detail"]
    else:
        assert isinstance(checked, CLIENT_FRAMES[frame["type"]])  # type: ignore[index]


def test_a_refusal_names_what_it_refuses_and_when_to_come_back() -> None:
    rejected = FrameRejectedError("rate_limited", "Slowly.", id=ID, retry_in=1.26)
    expected = {"type": "error", "code": "rate_limited", "detail": "Slowly.", "id": ID, "retry_in": 1.3}
    assert json.loads(frames.error(rejected)) == expected
    assert set(json.loads(frames.error(FrameRejectedError("busy", "No.")))) == {"type", "code", "detail"}


@given(st.dictionaries(st.text(), st.text()), st.lists(st.dictionaries(st.text(), st.text())))
def test_a_snapshot_holds_the_end_of_the_document(about: dict[str, str], messages: list[dict[str, str]]) -> None:
    view = View(about, Page(messages, 7), "5-1", IDLE)
    frame = json.loads(snapshot(view, {"name": "m"}, {"text": 1}))
    assert frame == {
        "type": "snapshot",
        "cursor": "5-1",
        "conversation": {**about, "messages": messages, "earlier": 7},
        "reply": None,
        "model": {"name": "m"},
        "limits": {"text": 1},
    }


@pytest.mark.parametrize("cursor", ["0-0", "1732300000000-12", "9" * 19 + "-0"])
def test_a_cursor_is_two_numbers(cursor: str) -> None:
    assert is_cursor(cursor)


@pytest.mark.parametrize(
    "cursor", ["", "-", "5", "5-", "-5", "5--1", "+5-1", "5-1 ", "5-1\n", "\u0665-\u0661", "1_0-0", "9" * 20 + "-0"]
)
def test_anything_else_is_none(cursor: str) -> None:
    assert not is_cursor(cursor)
