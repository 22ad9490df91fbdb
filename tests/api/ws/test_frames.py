"""The wire: what a client may send, what it is told otherwise, and what it is sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ws.frames import (
    FrameRejected,
    MessageSend,
    ReplyRetry,
    ReplyStop,
    check_frame,
    check_text,
    is_cursor,
    snapshot,
)
from tasks.storage.conversations import Progress, View

ID = "3f0c9a52-7d0e-4a55-9d6e-0d8f3f1b2a01"
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


def test_without_a_limit_a_text_may_be_of_any_length() -> None:
    assert check_text("x" * 100_000, 0)


@pytest.mark.parametrize(("text", "fits"), [("x" * 10, True), ("x" * 11, False), ("👍" * 10, True), ("👍" * 11, False)])
def test_a_limit_counts_characters(text: str, fits: bool) -> None:
    if fits:
        assert check_text(text, 10) == text
    else:
        with pytest.raises(FrameRejected, match="11 characters; 10 are possible"):
            check_text(text, 10)


@given(st.text() | st.binary())
def test_whatever_comes_is_either_a_frame_or_refused(data: str | bytes) -> None:
    with pytest.raises(FrameRejected):
        check_frame(data, 4000)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["message.send", "reply.stop", "reply.retry"]) | json_values},
        optional={"id": json_values | st.just(ID), "to": json_values | st.just(ID), "text": json_values},
    )
)
def test_whatever_stands_in_a_frame_it_is_either_right_or_refused_in_a_sentence(frame: dict[str, object]) -> None:
    try:
        checked = check_frame(json.dumps(frame), 4000)
    except FrameRejected as rejected:
        said = json.loads(rejected.frame())
        assert said["code"] in ("bad_frame", "empty", "too_long")
        assert said["detail"]
    else:
        assert isinstance(checked, MessageSend | ReplyStop | ReplyRetry)


def test_a_refusal_names_what_it_refuses_and_when_to_come_back() -> None:
    rejected = FrameRejected("rate_limited", "Slowly.", id=ID, retry_in=1.26)
    expected = {"type": "error", "code": "rate_limited", "detail": "Slowly.", "id": ID, "retry_in": 1.3}
    assert json.loads(rejected.frame()) == expected
    assert set(json.loads(FrameRejected("busy", "No.").frame())) == {"type", "code", "detail"}


@given(st.dictionaries(st.text(), st.text()))
def test_a_snapshot_holds_the_document_as_it_is_stored(document: dict[str, str]) -> None:
    view = View(json.dumps(document).encode(), "5-1", IDLE)
    frame = json.loads(snapshot(view, {"name": "m"}, {"text": 1}))
    assert frame == {
        "type": "snapshot",
        "cursor": "5-1",
        "conversation": document,
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
