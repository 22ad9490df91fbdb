"""Background tasks: none is lost quietly."""

import asyncio
import contextlib
import logging

import pytest

from tasks.monitoring import background as supervise
from tasks.monitoring.background import Background, cancel_and_wait


class Work:
    """A background task that can be made to go wrong."""

    def __init__(self) -> None:
        self.starts = 0
        self.begun = asyncio.Event()
        self.wrong: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until told otherwise."""
        self.starts += 1
        self.begun.set()
        await self.wrong

    async def again(self) -> None:
        """Wait for another start."""
        self.wrong = asyncio.get_running_loop().create_future()
        self.begun.clear()
        async with asyncio.timeout(20):
            await self.begun.wait()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not slower than needed."""
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(supervise, "MAX_PAUSE", 0.001)
    monkeypatch.setattr(supervise, "CANCEL_AGAIN_SECONDS", 0.01)


async def test_a_task_that_fails_is_started_again_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    background, work = Background(), Work()
    background.run_forever("the work", work.run)
    await work.begun.wait()
    work.wrong.set_exception(ValueError("oh"))
    await work.again()
    assert work.starts == 2
    assert "task.failed task=the work" in caplog.text
    await background.stop()


async def test_a_task_that_ends_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    background, work = Background(), Work()
    background.run_forever("the work", work.run)
    await work.begun.wait()
    work.wrong.set_result(None)
    await work.again()
    assert "task.ended task=the work" in caplog.text
    await background.stop()


async def test_a_task_that_is_cancelled_by_mistake_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    background, work = Background(), Work()
    background.run_forever("the work", work.run)
    await work.begun.wait()
    work.wrong.cancel()
    await work.again()
    assert work.starts == 2
    assert "task.cancelled task=the work" in caplog.text
    await background.stop()


async def test_after_the_stop_nothing_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    background, work = Background(), Work()
    with caplog.at_level(logging.DEBUG, "parley"):
        background.run_forever("the work", work.run)
        await work.begun.wait()
        await background.stop()
    assert (work.starts, caplog.text) == (1, "")


async def test_who_waits_for_tasks_and_is_cancelled_as_well_ends_after_them() -> None:
    async def swallows() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    work = asyncio.create_task(swallows())
    waits = asyncio.create_task(cancel_and_wait([work]))
    await asyncio.sleep(0)
    await cancel_and_wait([waits])
    assert waits.cancelled()
    assert work.cancelled()


async def test_a_task_that_swallows_its_cancelling_is_asked_again() -> None:
    asked: list[str] = []

    async def deaf() -> None:
        while len(asked) < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                asked.append("again")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await cancel_and_wait([task])
    assert len(asked) == 3
