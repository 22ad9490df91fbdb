"""A person at the page: what they do and what they see, in the page's own words."""

import asyncio
from typing import Any, Self

from playwright.async_api import Locator, Page, expect

from tests.support.client import PATIENCE, history


class Person:
    """One tab. Whatever is awaited here waits for the page to get there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.log = page.get_by_role("log", name="Conversation")
        self.messages = self.log.get_by_role("article", name="You")
        self.replies = self.log.get_by_role("article", name="Reply")
        self.composer = page.get_by_role("textbox", name="Send a Message")
        self.stop = page.get_by_role("button", name="Stop")

    @property
    def token(self) -> str:
        """Of the conversation in the address."""
        return self.page.url.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """Where the page came from."""
        return "/".join(self.page.url.split("/")[:3])

    @property
    def reply(self) -> Locator:
        """The last one."""
        return self.replies.last

    def button(self, name: str) -> Locator:
        """The button of exactly this name."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def comes(self, url: str, name: str = "Ada") -> Self:
        """Open the page, say a name, and be connected."""
        await self.page.goto(url)
        await self.page.get_by_label("Enter your name to start chat").fill(name)
        await self.button("Start chat").click()
        await self.is_connected()
        return self

    async def returns(self, url: str, token: str) -> Self:
        """Open a conversation by its address."""
        await self.page.goto(f"{url}/chat/{token}")
        await self.is_connected()
        return self

    async def is_connected(self) -> None:
        """The thin bar says so, and the conversation is there."""
        await expect(self.page.get_by_role("img", name="Connected", exact=True)).to_be_visible()
        await expect(self.page.get_by_text("Opening the conversation")).to_have_count(0)

    async def says(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def sees_reply(self, text: str) -> None:
        """The last reply has exactly these words, so far."""
        await expect(self.reply.locator(".prose")).to_have_text(text)

    async def sees_end(self) -> None:
        """No reply is being written or waited for."""
        await expect(self.replies.and_(self.page.locator("[aria-busy=false]"))).to_have_count(
            await self.messages.count()
        )
        await expect(self.stop).to_have_count(0)

    async def sees_accepted(self) -> None:
        """The server has all that was said."""
        await expect(self.messages.first).to_be_visible()
        await expect(self.page.locator("[data-unsent]")).to_have_count(0)

    async def transcript(self) -> list[str]:
        """What is on the page, oldest first, as the older contract's history would write it."""
        shown: list[str] = await self.log.get_by_role("article").evaluate_all(
            """articles => articles.map((article) => (article.matches('.by-person') ? 'Human: ' : 'Bot: ')
                + (article.querySelector('.plain, .prose')?.textContent ?? ''))"""
        )
        return shown

    async def sees_document(self) -> None:
        """Nothing is under way, and the page shows exactly what the server keeps."""
        await self.sees_end()
        assert await self.transcript() == [message["msg"] for message in await history(self.origin, self.token)]

    async def fits(self) -> None:
        """Nothing stands out at the sides."""
        assert not await standing_out(self.page)


async def standing_out(page: Page) -> list[str]:
    """What stands out at the sides of the window, where it does not scroll by itself."""
    wide: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter((element) => {
            const { left, right, width } = element.getBoundingClientRect();
            const scrolls = element.closest('pre, .table, .visually-hidden');
            return width > 0 && !scrolls && (right > innerWidth + 1 || left < -1);
        }).map((element) => element.outerHTML.slice(0, 120))"""
    )
    if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        wide.append("the page itself")
    return wide


async def comes_true(page: Page, expression: str, argument: Any = None) -> None:
    """Wait until a JavaScript expression is true; the page's policy keeps Playwright from waiting within the page."""
    async with asyncio.timeout(PATIENCE):
        while not await page.evaluate(expression, argument):
            await asyncio.sleep(0.02)


#: Where the page stands, once it has stood there for ten frames.
RESTING_PLACE = """() => new Promise((then) => {
    let [place, frames] = [scrollY, 0];
    const look = () => {
        frames = scrollY === place ? frames + 1 : 0;
        place = scrollY;
        if (frames < 10) requestAnimationFrame(look);
        else then(place);
    };
    requestAnimationFrame(look);
})"""


async def at_rest(page: Page) -> float:
    """Wait until the page stands still, and the part of the browser that turns the wheel knows where; returns where."""
    place: float = await asyncio.wait_for(page.evaluate(RESTING_PLACE), PATIENCE)
    return place


async def halt(page: Page) -> None:
    """Let no time pass on a page whose clock was installed: what it had planned happens now, and then nothing more."""
    # Python's clock counts in seconds. An hour ahead is sure to be later than now.
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 3600"))


async def style(locator: Locator, name: str) -> Any:
    """A computed style of an element."""
    return await locator.evaluate("(element, name) => getComputedStyle(element)[name]", name)
