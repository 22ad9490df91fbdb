"""What a process starts with is not searched for garbage while it serves."""

import gc
from collections.abc import Iterator

import pytest

from api.app import create_app
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
