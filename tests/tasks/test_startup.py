"""The log stays short in a trouble that everybody has, and what a process starts with is not searched for garbage."""

import gc
import logging
from collections.abc import Iterator

import pytest

from api.app import create_app
from tasks import startup
from tasks.local.embedded_redis import EmbeddedRedis
from tasks.settings import Settings


@pytest.fixture
def thawed() -> Iterator[None]:
    """What a test has kept for ever is given back."""
    yield
    gc.unfreeze()


async def test_once_a_web_process_serves_a_search_leaves_out_what_it_started_with(
    thawed: None, real_redis: EmbeddedRedis
) -> None:
    app = create_app(Settings(redis_url=real_redis.url))
    before = gc.get_freeze_count()
    async with app.router.lifespan_context(app):
        assert gc.get_freeze_count() > before + 10_000


def test_the_same_line_is_written_once_in_a_while_and_another_one_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("tasks.startup.time.monotonic", lambda: now)
    log = logging.getLogger("parley.a_test")
    log.addFilter(startup.OncePerWhile())
    for type in ("MessageSend", "MessageSend", "ReplyStop", "MessageSend"):
        log.warning("frame.unavailable type=%s", type)
    now += startup.REPEAT_SECONDS
    log.warning("frame.unavailable type=%s", "MessageSend")
    assert [line.rpartition("=")[2] for line in caplog.messages] == ["MessageSend", "ReplyStop", "MessageSend"]
