"""Somebody at the page who says one thing after another, and how long they had to wait for words."""

import asyncio
import time
from dataclasses import dataclass

from playwright.async_api import Page

from tests.browser.person import Person, comes_true

#: Seconds between two looks at the page.
LOOK = 0.1

#: How many replies have ended, and how many letters all of them have.
SEEN = """() => {
    const replies = [...document.querySelectorAll('article.by-model')];
    const letters = replies.map((reply) => reply.querySelector('.prose')?.textContent.length ?? 0);
    return [replies.filter((reply) => reply.ariaBusy === 'false').length, letters.reduce((a, b) => a + b, 0)];
}"""
#: Shows what is still missing at the top, and is true once nothing is.
SHOW_ALL = "(document.querySelector('.earlier button')?.click(), !document.querySelector('.earlier'))"


@dataclass(frozen=True)
class Pause:
    """A time without a new word although a reply was due: when it began (as `time.time`), and its seconds."""

    began: float
    seconds: float


class Reader:
    """One tab, kept open all the time."""

    def __init__(self, page: Page) -> None:
        self.person = Person(page)
        self.said: list[str] = []
        #: The longest of each message.
        self.pauses: list[Pause] = []
        #: How many sockets the page has opened.
        self.sockets = 0
        #: What went wrong in the page's own code.
        self.errors: list[str] = []
        page.on("websocket", self._count)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def talk(self, over: asyncio.Event) -> None:
        """Say something, wait for the whole reply, and go on until it is over; the last message is said afterwards."""
        last = False
        while not last:
            last = over.is_set()
            self.said.append(f"message {len(self.said) + 1}")
            await self.person.says(self.said[-1])
            await self._read()

    async def transcript(self) -> list[str]:
        """All that is on the page, oldest first."""
        await comes_true(self.person.page, SHOW_ALL)
        return await self.person.transcript()

    async def _read(self) -> None:
        """Wait until everything that was said has its whole reply."""
        ended, before = await self.person.page.evaluate(SEEN)
        began = time.time()
        pause = Pause(began, 0.0)
        try:
            while ended < len(self.said):
                ended, letters = await self.person.page.evaluate(SEEN)
                if (seconds := time.time() - began) > pause.seconds:
                    pause = Pause(began, seconds)
                if letters != before:
                    before, began = letters, time.time()
                await asyncio.sleep(LOOK)
        finally:
            # A reply that never ended has a pause too.
            self.pauses.append(pause)

    def _count(self, _: object) -> None:
        self.sockets += 1
