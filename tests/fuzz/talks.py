"""A stranger's conversation with everything in it, and what must be true of it afterwards."""

import uuid
from collections import Counter

import httpx

from tests.support.client import Chat, Frame, LegacyChat, history, new_token, replay


async def send_all(url: str, sequence: list[str | bytes]) -> int:
    """Send a sequence of frames on a new conversation; returns how many were refused.

    The socket stays usable: a good message at the end is answered, each frame of ours has had its effect once, and
    what a live client ends up with is the document.
    """
    token = await new_token(url)
    async with Chat(url, token) as chat:
        for frame in sequence:
            await chat.socket.send(frame)
        last = await chat.send("Is all well?", str(uuid.uuid4()))
        while (await chat.until("reply.finished"))["message"]["to"] != last:
            pass
        check_events(chat.frames)
        async with Chat(url, token) as newcomer:
            snapshot = await newcomer.until("snapshot")
        assert snapshot["conversation"]["messages"] == replay(chat.frames)["messages"]
        return sum(frame["type"] == "error" for frame in chat.frames)


def check_events(frames: list[Frame]) -> None:
    """Nothing was accepted twice or left unanswered, and every frame is one that clients know."""
    said = [frame["message"] for frame in frames if frame["type"] == "message.accepted"]
    asked = {message["id"]: message for message in said}
    assert all(asked[message["id"]] == message for message in said)
    ended = Counter(
        frame["message"]["to"] if frame["type"] == "reply.finished" else frame["to"]
        for frame in frames
        if frame["type"] in ("reply.finished", "reply.failed")
    )
    assert asked.keys() <= ended.keys()
    messages = replay(frames)["messages"]
    assert len({message["id"] for message in messages}) == len(messages)
    for frame in frames:
        if frame["type"] == "error":
            assert frame["code"] in ("bad_frame", "too_long", "empty", "busy", "rate_limited")
            assert frame["detail"]


async def type_all(url: str, texts: list[str | bytes]) -> None:
    """Type into the older client: for each text exactly one answer, and the history has what was said, as it was."""
    token = await new_token(url)
    async with LegacyChat(url, token) as chat:
        for text in texts:
            await chat.send(text)
        answers = [await chat.next() for _ in texts]
        assert await chat.ask("Is all well?")
    assert len({answer["id"] for answer in answers}) == len(texts)
    said = [message["msg"] for message in await history(url, token) if message["msg"].startswith("Human: ")]
    good = [text for text in texts if isinstance(text, str) and text.strip() and len(text) <= 4000]
    assert said == [f"Human: {text}" for text in [*good, "Is all well?"]]


async def call_itself(url: str, name: str) -> None:
    """Take any name and say any text: both come back as they were."""
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.post("/token", params={"name": name})
        fits = 0 < len(name.strip()) <= 200
        assert answer.status_code == (200 if fits else 400)
        if not fits:
            return
        session = answer.json()
        assert session["name"] == name.strip()
        async with Chat(url, session["token"]) as chat:
            assert (await chat.next())["conversation"]["name"] == name.strip()
            await chat.send("Who am I?")
            await chat.until("reply.finished")


async def come_with(url: str, token: str, cursor: str) -> int:
    """Try a token and a cursor; returns the close code. Nobody gets in, and nobody learns why."""
    # Longer ones are no request: the headers, which the address is part of, have a bound.
    token, cursor = token[:200], cursor[:200]
    async with httpx.AsyncClient(base_url=url) as http:
        answers = [
            await http.get("/refresh_token", params={"token": token}),
            await http.delete("/token", params={"token": token}),
        ]
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    query = httpx.QueryParams(token=token, after=cursor)
    async with Chat(url, f"&{query}") as chat:
        code = await chat.closed_with()
    assert not chat.frames
    return code
