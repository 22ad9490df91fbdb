"""The retry policy of one reply: how long and how often it tries."""

from types import SimpleNamespace

import pytest

from tasks.errors import ModelError
from tasks.model import retry as retry_module
from tasks.model.errors import ModelRequestError
from tasks.model.retry import CONTINUATIONS, FIRST_PAUSE, LAST_PAUSE, RetryPolicy


def busy(delay: float | None = None) -> ModelRequestError:
    """A server that has too much to do, and may say for how long."""
    return ModelRequestError("model_rate_limited", "Wait.", "Too busy.", reason="rate_limited", delay=delay)


BUSY = busy()


def test_pauses_grow_with_jitter_up_to_the_last() -> None:
    retry = RetryPolicy(10_000)
    pauses = [retry.on_failure(BUSY) for _ in range(10)]
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE
    assert all(LAST_PAUSE / 2 <= pause <= LAST_PAUSE for pause in pauses[6:])
    assert len({*pauses}) == 10


def test_the_servers_own_wish_is_followed() -> None:
    assert RetryPolicy(300).on_failure(busy(42)) == 42


def test_a_wish_beyond_the_retry_timeout_fails_at_once_and_says_so() -> None:
    with pytest.raises(ModelError, match=r"Wait\.") as error:
        RetryPolicy(300).on_failure(busy(3600))
    assert error.value.operator == "Too busy. It asks to wait 3600 seconds."
    assert error.value.retryable


def test_the_tries_end_and_say_how_long_it_lasted() -> None:
    retry = RetryPolicy(0)
    with pytest.raises(ModelError) as error:
        retry.on_failure(BUSY)
    assert error.value.operator == "Too busy. It stayed so for 0 seconds."


def test_no_pause_is_longer_than_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # Standing still: a busy machine would take longer from one line to the next than the patience lasts.
    monkeypatch.setattr(retry_module, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    assert RetryPolicy(0.01).on_failure(BUSY) == pytest.approx(0.01)


def test_a_permanent_error_is_not_waited_for() -> None:
    with pytest.raises(ModelError) as error:
        RetryPolicy(300).on_failure(ModelRequestError("model_gone", "Gone.", "Gone."))
    assert (error.value.code, error.value.retryable) == ("model_gone", False)


def test_a_reply_is_continued_a_few_times_and_no_more() -> None:
    retry = RetryPolicy(300)
    for _ in range(CONTINUATIONS):
        assert retry.on_break(BUSY) <= FIRST_PAUSE
    with pytest.raises(ModelError):
        retry.on_break(BUSY)


def test_an_empty_reply_is_asked_for_once_more() -> None:
    retry = RetryPolicy(300)
    retry.on_empty(BUSY)
    with pytest.raises(ModelError):
        retry.on_empty(BUSY)
