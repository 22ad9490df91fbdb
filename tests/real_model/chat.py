"""The whole chat against the real server: a page in Chromium, the Procfile's processes, Redis, and the tap between
worker and server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import expect

from tasks.local.embedded_redis import start_redis
from tests.bench_page.tab import chromium
from tests.browser.person import Person
from tests.real_model.server import RealServer
from tests.real_model.tap import Tap
from tests.support.client import Chat
from tests.support.inside import writer_of
from tests.support.stack import Stack

#: Tokens of a reply: seconds of work for the server, so that there is time to interrupt it.
LONG = 1000

#: Characters of a reply that are there before it is interrupted.
BEGUN = 60

#: Seconds that anything may take.
PATIENCE = 180

#: Seconds of CPU in half a second below which the server counts as idle.
IDLE = 0.05


@dataclass
class Whole:
    """Everything, running: no worker yet."""

    server: RealServer
    tap: Tap
    stack: Stack
    person: Person
    #: Seconds of CPU that the server takes for a token; measured by the first check.
    cost: float = field(default=0.0)

    async def document(self) -> list[dict[str, str]]:
        """The messages that the server keeps."""
        async with Chat(self.stack.url, self.person.token) as chat:
            messages: list[dict[str, str]] = (await chat.until("snapshot"))["conversation"]["messages"]
            return messages

    async def copied(self) -> str:
        """The last reply as the page has it, before it is made to look like anything."""
        await self.person.reply.get_by_role("button", name="Copy reply").click()
        await expect(self.person.reply.get_by_role("status")).to_have_text("Copied.")
        text: str = await self.person.page.evaluate("navigator.clipboard.readText()")
        return text

    async def same_on_the_page(self) -> str:
        """The last reply of the document, which the page must have, now as after a reload."""
        text = (await self.document())[-1]["text"]
        shown = await self.person.transcript()
        assert await self.copied() == text
        await self.person.page.reload()
        await self.person.is_connected()
        assert await self.copied() == text
        assert await self.person.transcript() == shown
        return text

    async def begun(self) -> None:
        """Wait until some words of a reply are on the page, and more to come."""
        written = self.person.replies.and_(self.person.page.locator("[aria-busy=true]")).locator(".prose")
        async with asyncio.timeout(PATIENCE):
            while len("".join(await written.all_inner_texts())) < BEGUN:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def whole(server: RealServer, scratch: Path) -> AsyncIterator[Whole]:
    """The stack in front of the server, and a person at the page."""
    expect.set_options(timeout=PATIENCE * 1000)
    async with Tap(server.port) as tap, chromium() as browser:
        stack = Stack(
            start_redis(scratch / "redis", kind="redis"),
            MODEL_URL=tap.url,
            MODEL_PROTOCOL="completions",
            MODEL_NAME=server.name,
            MODEL_CONTEXT="2048",
            MAX_NEW_TOKENS=str(LONG),
        )
        with stack:
            await asyncio.to_thread(stack.start_web)
            context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
            yield Whole(server, tap, stack, Person(await context.new_page()))


async def answers(chat: Whole) -> str:
    """A message typed in the page is answered; page and document agree, also after a reload."""
    chat.stack.start_worker()
    await asyncio.to_thread(chat.stack.wait_ready, PATIENCE)
    await chat.person.comes(chat.stack.url)
    await chat.person.says("Hello, how are you?")
    await chat.begun()
    before, known = chat.server.cpu(), chat.tap.accepted()[-1].answer.count(b"data:")
    await chat.person.sees_end()
    text = await chat.same_on_the_page()
    tokens = chat.tap.accepted()[-1].tokens
    assert tokens
    chat.cost = (chat.server.cpu() - before) / max(tokens - known, 1)
    return f"{len(text)} characters, {tokens} tokens, {chat.cost * 1000:.1f} ms of the server's CPU each"


async def stops(chat: Whole) -> str:
    """Stop ends a running reply: what was shown stays, the request is given up, the server stops generating."""
    await chat.person.says("Tell me a long story.")
    await chat.begun()
    await chat.person.stop.click()
    await chat.person.sees_end()
    spent = await _until_idle(chat.server)
    asked = chat.tap.accepted()[-1]
    assert asked.given_up, "the request went on"
    shown = asked.answer.count(b"data:")
    rest = (LONG - shown) * chat.cost
    assert spent < rest / 2, f"the server worked on for {spent:.1f} s of {rest:.1f}"
    assert (await chat.document())[-1]["finish_reason"] == "stopped"
    text = await chat.same_on_the_page()
    return f"{len(text)} characters kept; after it the server worked {spent:.2f} s, the rest had taken {rest:.2f} s"


async def _until_idle(server: RealServer) -> float:
    """Seconds of CPU that the server still takes until it is idle."""
    start = last = server.cpu()
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.sleep(0.5)
            now = server.cpu()
            if now - last < IDLE:
                return now - start
            last = now


async def is_taken_over(chat: Whole) -> str:
    """A worker is killed (-9) in mid-reply: a second one goes on with the same reply from the words shown."""
    chat.stack.start_worker()
    await asyncio.to_thread(chat.stack.wait_workers, 2, PATIENCE)
    before = len(chat.tap.asked)
    async with Chat(chat.stack.url, chat.person.token) as watcher:
        await watcher.until("snapshot")
        await chat.person.says("And another one, please.")
        await chat.begun()
        chat.stack.kill(await writer_of(chat.stack, chat.person.token))
        async with asyncio.timeout(PATIENCE):
            finished = (await watcher.until("reply.finished"))["message"]
    frames = [frame for frame in watcher.frames if frame.get("id") == finished["id"]]
    assert [frame["type"] for frame in frames].count("reply.started") == 1
    assert "".join(frame["text"] for frame in frames if frame["type"] == "reply.delta") == finished["text"]
    await chat.person.sees_end()
    assert await chat.same_on_the_page() == finished["text"]
    first, second = chat.tap.accepted(before)
    assert first.given_up
    partial = second.prompt.rpartition("\nBot: ")[2]
    assert len(partial) >= BEGUN / 2
    assert finished["text"].startswith(partial)
    assert second.limit < first.limit == LONG
    assert second.prompt.endswith(f"\nAda: And another one, please.\nBot: {partial}")
    return f"{len(partial)} characters before, {len(finished['text']) - len(partial)} after, one reply"


async def outlives_the_server(chat: Whole) -> str:
    """The model server is killed (-9) in mid-reply and starts again: the person is told, the same reply goes on."""
    before = len(chat.tap.asked)
    async with Chat(chat.stack.url, chat.person.token) as watcher:
        await watcher.until("snapshot")
        await chat.person.says("One more.")
        await chat.begun()
        chat.server.process.kill()
        await watcher.until("reply.waiting")
        shown = "".join(frame["text"] for frame in watcher.frames if frame["type"] == "reply.delta")
        await expect(chat.person.reply.get_by_text("No answer from the model.")).to_be_visible()
        await asyncio.to_thread(chat.server.start_again)
        async with asyncio.timeout(PATIENCE):
            finished = (await watcher.until("reply.finished", "reply.failed")).get("message")
    assert finished
    waits = [frame["reason"] for frame in watcher.frames if frame["type"] == "reply.waiting"]
    await chat.person.sees_end()
    assert await chat.same_on_the_page() == finished["text"]
    assert finished["text"].startswith(shown)
    assert len(finished["text"]) > len(shown) >= BEGUN / 2
    assert chat.tap.accepted(before)[-1].prompt.endswith(f"\nBot: {shown.rstrip()}")
    return f"{len(shown)} characters before, {len(finished['text']) - len(shown)} after; told {len(waits)} times"


CHECKS = (answers, stops, is_taken_over, outlives_the_server)
