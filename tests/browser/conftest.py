"""A browser for all tests, a context for each, and two stacks: one with the stand-in, one whose model is dictated."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Playwright, async_playwright, expect

from tasks.errors import StorageError
from tasks.storage.client import RedisClient
from tasks.storage.keys import SHARDS, pending_index_key
from tests.browser.dictation import Dictation
from tests.browser.network import Network
from tests.browser.person import Person
from tests.support.client import PATIENCE
from tests.support.missing import missing
from tests.support.servers import start_server
from tests.support.stack import Stack

DIST = Path(__file__).parents[2] / "frontend" / "dist" / "index.html"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    # A name that is no loopback address to the browser, and so an insecure origin.
    "--host-resolver-rules=MAP parley.test 127.0.0.1",
)  # fmt: skip

#: What a browser says of a connection that a test took away,
#: and of a header that counts only where nobody listens in.
EXPECTED = (
    # Playwright lets a page pass whose certificate nobody has signed, but not its service worker.
    "An SSL certificate error occurred when fetching the script.",
    "WebSocket connection to",
    "Failed to load resource",
    "The Cross-Origin-Opener-Policy header has been ignored",
)

#: Milliseconds in which the page gets there; a busy machine may need many, and where all is well they cost nothing.
LONGEST = PATIENCE * 1000

expect.set_options(timeout=LONGEST)

HERE = Path(__file__).parent

#: Makes a tab of a new browser context; takes the options of Playwright's `new_context`.
NewPerson = Callable[..., Awaitable[Person]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share one event loop, as they share the browser."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def chromium() -> str | None:
    """Where the machine's Chromium is."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    """What drives a browser, where there is one and a page for it."""
    if chromium() is None:
        missing("There is no Chromium on this machine.")
    if not DIST.exists():
        missing("The page is not built.")
    async with async_playwright() as driver:
        yield driver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(playwright: Playwright) -> AsyncIterator[Browser]:
    """The machine's Chromium."""
    running = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
    yield running
    await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_person(browser: Browser) -> AsyncIterator[NewPerson]:
    """Somebody with a browser of their own; nothing may go wrong in their console until the end of the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            wrong.append(message.text)

    async def come(**options: Any) -> Person:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        contexts.append(context)
        context.set_default_timeout(LONGEST)
        context.on("console", hear)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        return Person(await context.new_page())

    yield come
    for context in contexts:
        await context.close()
    assert not wrong


@pytest_asyncio.fixture(loop_scope="session")
async def person(new_person: NewPerson) -> Person:
    """Somebody at a desk."""
    return await new_person()


@pytest_asyncio.fixture(loop_scope="session")
async def phone(new_person: NewPerson) -> Person:
    """Somebody with a small phone."""
    return await new_person(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)


@pytest.fixture(scope="session")
def dictated_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose model nobody has started yet."""
    try:
        redis = start_server(tmp_path_factory.mktemp("dictated"))
    except StorageError as error:
        missing(str(error))
    # A test may look at a reply for long before it dictates more of it.
    with Stack(redis, MAX_NEW_TOKENS="1500", MODEL_CONTEXT="16384", MODEL_READ_TIMEOUT="300") as stack:
        stack.stand_in.stop()
        stack.start_web()
        stack.start_worker()
        stack.wait_ready()
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dictation(dictated_stack: Stack) -> AsyncIterator[Dictation]:
    """The model of that stack, for all tests."""
    model = Dictation()
    await model.start(dictated_stack.model_port)
    yield model
    model.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def model(dictated_stack: Stack, dictation: Dictation) -> AsyncIterator[Dictation]:
    """A model that says what this test dictates; nothing of it is left for the next test to hear."""
    dictation.listen()
    yield dictation
    await dictation.let_go()
    client = RedisClient(dictated_stack.redis.url, max_connections=1)
    async with asyncio.timeout(PATIENCE):
        while any([await client.command("ZCARD", pending_index_key(shard)) for shard in range(SHARDS)]):
            await asyncio.sleep(0.01)
    await client.aclose()


@pytest.fixture
def url(dictated_stack: Stack, model: Dictation) -> str:
    """Where Parley is, answering with `model`'s words."""
    return dictated_stack.url


@pytest_asyncio.fixture(loop_scope="session")
async def network(dictated_stack: Stack, model: Dictation) -> AsyncIterator[Network]:
    """A network between the browser and Parley, to be harmed."""
    async with Network(dictated_stack.ports[0]) as network:
        yield network
