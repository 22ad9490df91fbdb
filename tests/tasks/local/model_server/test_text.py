"""From tokens to text: whole characters, and nothing of a stop sequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.local.model_server.text import ReplyText


def said(text: str, stop: tuple[str, ...], cuts: list[int]) -> tuple[list[str], bool]:
    """What is given out of `text`, whose bytes come cut into pieces, up to a stop; and whether one came."""
    reply, content = ReplyText(stop), text.encode()
    ends = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    given_out = []
    for begin, end in zip([0, *ends], ends, strict=False):
        if not reply.stopped:
            given_out.append(reply.add(content[begin:end]))
    return [*given_out, "" if reply.stopped else reply.finish()], reply.stopped


cuts = st.lists(st.integers(0, 60))


@given(st.text(max_size=20), cuts)
def test_every_character_comes_whole_wherever_tokens_are_cut(text: str, cuts: list[int]) -> None:
    given_out, stopped = said(text, (), cuts)
    assert "".join(given_out) == text
    assert not stopped


@given(st.text("ab\n", max_size=20), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3), cuts)
def test_the_text_ends_before_the_first_stop_sequence(text: str, stop: list[str], cuts: list[int]) -> None:
    given_out, stopped = said(text, tuple(stop), cuts)
    shown = "".join(given_out)
    assert stopped == any(one in text for one in stop)
    assert text.startswith(shown)
    assert not any(one in shown for one in stop)
    if not stopped:
        assert shown == text


def test_what_may_become_a_stop_sequence_is_held_back() -> None:
    reply = ReplyText(("\nAda:",))
    assert reply.add(b"Hi.\nAd") == "Hi."
    assert reply.add(b"am") == "\nAdam"
    assert reply.add(b"\nAda:") == ""
    assert reply.stopped


@pytest.mark.parametrize("broken", [b"\xff", "é".encode()[:1]])
def test_bytes_that_are_no_character_do_not_break_it(broken: bytes) -> None:
    reply = ReplyText(())
    assert reply.add(b"a" + broken) + reply.finish() == "a\ufffd"
