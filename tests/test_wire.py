"""The example frames of tests/wire/, which the page's tests read too: what is really sent looks like them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import frames
from api import state as state
from api.frames import check_frame
from tasks.errors import FrameRejectedError
from tests.support.client import Chat, Frame, new_token, replay
from tests.support.stack import Stack

WIRE = Path(__file__).parent / "wire"
SERVER: list[dict[str, Any]] = json.loads((WIRE / "server.json").read_text())
CLIENT: list[dict[str, Any]] = json.loads((WIRE / "client.json").read_text())

Shape = tuple[str, frozenset[str]]


def shapes(frame: Frame) -> Iterator[Shape]:
    """The fields of a frame and of each object in it, each under what it is."""
    yield frame["type"], frozenset(frame)
    messages = (*frame.get("conversation", {}).get("messages", []), *frame.get("messages", []), frame.get("message"))
    for message in messages:
        if message:
            yield message["role"], frozenset(message) - {"failed"}
            if "failed" in message:
                yield "failed", frozenset(message["failed"])
    for name in ("conversation", "model", "limits"):
        if name in frame:
            yield name, frozenset(frame[name])
    if frame.get("reply"):
        yield f"reply {frame['reply']['state']}", frozenset(frame["reply"])


KNOWN = {shape for example in SERVER for shape in shapes(example["frame"])}


@pytest.mark.parametrize("example", CLIENT, ids=[example["name"] for example in CLIENT])
def test_every_example_of_a_client_is_taken_or_refused_as_it_says(example: dict[str, Any]) -> None:
    data = json.dumps(example["frame"], ensure_ascii=False)
    if "refused" in example:
        with pytest.raises(FrameRejectedError) as rejected:
            check_frame(data, 4000)
        assert rejected.value.code == example["refused"]
    else:
        checked = check_frame(data, 4000)
        assert vars(checked) == {name: value for name, value in example["frame"].items() if name != "type"}


def test_every_kind_of_client_frame_has_an_example() -> None:
    assert {example["frame"]["type"] for example in CLIENT} == {
        *("message.send", "message.edit", "reply.stop", "reply.retry", "reply.continue", "history.before"),
    }


def unlike(frames: list[Frame]) -> set[Shape]:
    """What was sent and looks like no example."""
    return {shape for frame in frames for shape in shapes(frame)} - KNOWN


async def test_every_frame_that_is_really_sent_looks_like_an_example(stack: Stack) -> None:
    token = await new_token(stack.url)
    stack.fault(mode="loading", retry_after=2)
    stack.fault(mode="cut", after=3)
    stack.fault(mode="status", status=403)
    seen: list[Frame] = []
    async with Chat(stack.url, token) as chat:
        await chat.next()
        failing = await chat.send("waits, then fails")
        for event in ("message.accepted", "reply.waiting", "reply.failed"):
            await chat.until(event)
            async with Chat(stack.url, token) as newcomer:
                seen.append(await newcomer.next())
        await chat.send_frame({"type": "nonsense"})
        await chat.send("", failing)
        await chat.until("error")
        await chat.until("error")
        await chat.retry(failing)
        await chat.until("reply.delta")
        async with Chat(stack.url, token) as newcomer:
            seen.append(await newcomer.next())
        await chat.until("reply.finished")
        async with Chat(stack.url, token) as newcomer:
            seen.append(await newcomer.next())
        stack.pace(rate=20)
        edited = await chat.edit(failing, "edited")
        await chat.until("reply.delta")
        await chat.stop(edited)
        await chat.until("reply.finished")
        await chat.continue_reply(edited)
        await chat.until("reply.delta")
        async with Chat(stack.url, token) as newcomer:
            seen.append(await newcomer.next())
        await chat.stop(edited)
        await chat.until("reply.finished")
        await chat.send("one more")
        last = (await chat.until("message.accepted"))["message"]["id"]
        await chat.stop(last)
        await chat.until("reply.finished")
        await chat.history(last)
        await chat.history(edited)
        await chat.until("alive")
        async with httpx.AsyncClient() as http:
            await http.delete(f"{stack.url}/token", params={"token": token})
        await chat.closed_with()
    seen += chat.frames
    sent = {frame["type"] for frame in seen}
    # A busy machine's worker may be missed for a moment, and a message may wait for it.
    rare = {"service", "queue"}
    assert sent - rare == {example["frame"]["type"] for example in SERVER} - rare
    assert unlike(seen) == set()


def test_a_field_that_no_example_has_would_be_found() -> None:
    odd = {"type": "reply.delta", "cursor": "1-0", "id": "r", "text": "", "colour": "blue"}
    assert unlike([odd]) == {("reply.delta", frozenset(odd))}


@pytest.mark.parametrize("state", [state.OK, state.NO_WORKER, state.STORAGE_AWAY])
def test_what_is_said_of_the_service_is_an_example(state: str) -> None:
    assert json.loads(frames.service(state)) in [example["frame"] for example in SERVER]


def test_every_code_of_a_refusal_has_an_example() -> None:
    sources = "".join(path.read_text() for path in (WIRE.parent.parent / "api").rglob("*.py"))
    used = set(re.findall(r'(?:FrameRejectedError\(\s*|b"\w+": \()"(\w+)"', sources))
    assert len(used) > 4
    assert used <= {example["frame"]["code"] for example in SERVER if example["frame"]["type"] == "error"}


def test_every_snapshot_and_the_frames_after_it_can_be_replayed() -> None:
    for example in SERVER:
        if example["frame"]["type"] == "snapshot":
            state = replay([example["frame"]])
            assert state["messages"] == example["frame"]["conversation"]["messages"]
