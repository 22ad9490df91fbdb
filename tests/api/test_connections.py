"""Requests stand in one line, so that a crowd at the door does not keep those waiting who are inside; and what goes
out to those are frames as the standard wants them."""

import asyncio
from functools import partial

import pytest
from websockets.frames import Frame, Opcode

from api.connections import Line, text_frame


async def test_others_come_in_between_the_steps_of_a_line() -> None:
    loop = asyncio.get_running_loop()
    line, done = Line(), list[object]()

    def somebody_inside() -> None:
        done.append("inside")
        if len(done) < 6:
            loop.call_soon(somebody_inside)

    for number in range(3):
        line.join(partial(done.append, number))
    somebody_inside()
    while len(done) < 6:
        await asyncio.sleep(0)
    assert done[:6] == ["inside", 0, "inside", 1, "inside", 2]


async def test_a_step_that_fails_does_not_hold_up_the_line() -> None:
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    line, served = Line(), asyncio.Event()

    def fails() -> None:
        raise ValueError("This request makes no sense.")

    line.join(fails)
    line.join(served.set)
    await asyncio.wait_for(served.wait(), 5)
    assert [str(failure) for failure in failures] == ["This request makes no sense."]
    served.clear()
    line.join(served.set)
    await asyncio.wait_for(served.wait(), 5)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_text_frame_is_what_websockets_would_make_of_it(size: int) -> None:
    data = b"x" * size
    assert text_frame(data) == Frame(Opcode.TEXT, data).serialize(mask=False)
