"""The patience of one reply: how long and how often it tries."""

from types import SimpleNamespace

import pytest

from tasks.errors import ModelError
from tasks.model import retry as patience
from tasks.model.errors import ModelRequestError
from tasks.model.retry import CONTINUATIONS, FIRST_PAUSE, LAST_PAUSE, RetryPolicy

BUSY = ModelRequestError("model_rate_limited", "Too busy.", "rate_limited")


def test_pauses_grow_with_jitter_up_to_the_last() -> None:
    patience = RetryPolicy(10_000)
    pauses = [patience.on_failure(BUSY) for _ in range(10)]
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE
    assert all(LAST_PAUSE / 2 <= pause <= LAST_PAUSE for pause in pauses[6:])
    assert len({*pauses}) == 10


def test_the_servers_own_wish_is_followed() -> None:
    assert (
        RetryPolicy(300).on_failure(ModelRequestError("model_rate_limited", "Too busy.", "rate_limited", delay=42))
        == 42
    )


def test_a_wish_beyond_all_patience_fails_at_once_and_says_so() -> None:
    with pytest.raises(ModelError, match=r"Too busy\. It asks to wait 3600 seconds\.") as error:
        RetryPolicy(300).on_failure(ModelRequestError("model_rate_limited", "Too busy.", "rate_limited", delay=3600))
    assert error.value.retryable


def test_patience_ends_and_says_how_long_it_lasted() -> None:
    patience = RetryPolicy(0)
    with pytest.raises(ModelError, match=r"It stayed so for 0 seconds\."):
        patience.on_failure(BUSY)


def test_no_pause_is_longer_than_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # Standing still: a busy machine would take longer from one line to the next than the patience lasts.
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    assert RetryPolicy(0.01).on_failure(BUSY) == pytest.approx(0.01)


def test_a_permanent_trouble_is_not_waited_for() -> None:
    with pytest.raises(ModelError) as error:
        RetryPolicy(300).on_failure(ModelRequestError("model_gone", "Gone."))
    assert (error.value.code, error.value.retryable) == ("model_gone", False)


def test_a_reply_is_continued_a_few_times_and_no_more() -> None:
    patience = RetryPolicy(300)
    for _ in range(CONTINUATIONS):
        assert patience.on_break(BUSY) <= FIRST_PAUSE
    with pytest.raises(ModelError):
        patience.on_break(BUSY)


def test_an_empty_reply_is_asked_for_once_more() -> None:
    patience = RetryPolicy(300)
    patience.on_empty(BUSY)
    with pytest.raises(ModelError):
        patience.on_empty(BUSY)
