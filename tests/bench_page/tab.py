"""A tab of the machine's Chromium that is measured only from outside: by tracing, and by what the engine counts.

Nothing here looks for roles: that would have the browser style even what the page spares it.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from tests.bench_page.trace import BEGIN, CATEGORIES, END, Trace

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: Seconds between two looks at the page.
LOOK = 0.1


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium, without a window. Raises SystemExit if there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        raise SystemExit("There is no Chromium on this machine.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@dataclass
class Recording:
    """Holds its trace once it is over."""

    trace: Trace = field(init=False)


@dataclass(frozen=True)
class Heap:
    """Bytes in use after everything unused was thrown away: by scripts, and by the document with its styles.

    Of the scripts', `compiled` is what the engine made of their source; the rest is what they hold.
    """

    scripts: int
    compiled: int
    document: int

    @property
    def held(self) -> int:
        """What the scripts hold themselves."""
        return self.scripts - self.compiled


class Tab:
    """One tab."""

    def __init__(self, browser: Browser, page: Page, engine: CDPSession) -> None:
        self.page = page
        self.engine = engine
        self._browser = browser

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return await self.page.evaluate(script)

    async def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression holds. Raises TimeoutError."""
        over = time.monotonic() + seconds
        while not await self.evaluate(condition):
            if time.monotonic() > over:
                raise TimeoutError(f"The page did not get there in {seconds:.0f} seconds: {condition}")
            await asyncio.sleep(LOOK)

    async def says(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.evaluate("document.querySelector('textarea').focus()")
        await self.page.keyboard.insert_text(text)
        await self.page.keyboard.press("Enter")

    async def scroll(self, pixels: int, speed: int) -> None:
        """Turn the mouse wheel over the transcript, up if `pixels` is positive; `speed` in pixels a second."""
        options = {"x": 640, "y": 300, "yDistance": pixels, "speed": speed, "gestureSourceType": "mouse"}
        await self.engine.send("Input.synthesizeScrollGesture", options)

    async def heap(self) -> Heap:
        """What is in use."""
        for _ in range(2):
            await self.engine.send("HeapProfiler.collectGarbage")
        usage = await self.engine.send("Runtime.getHeapUsage")
        return Heap(int(usage["usedSize"]), await self._compiled(), int(usage["embedderHeapUsedSize"]))

    async def _compiled(self) -> int:
        """Bytes of the nodes that the engine calls code, in the format of V8's heap-snapshot-generator.h."""
        pieces: list[str] = []

        def take(event: dict[str, str]) -> None:
            pieces.append(event["chunk"])

        self.engine.on("HeapProfiler.addHeapSnapshotChunk", take)
        await self.engine.send("HeapProfiler.takeHeapSnapshot")
        self.engine.remove_listener("HeapProfiler.addHeapSnapshotChunk", take)
        heap = orjson.loads("".join(pieces))
        meta, nodes = heap["snapshot"]["meta"], heap["nodes"]
        fields = meta["node_fields"]
        kinds = nodes[fields.index("type") :: len(fields)]
        sizes = nodes[fields.index("self_size") :: len(fields)]
        code = meta["node_types"][0].index("code")
        return sum(size for kind, size in zip(kinds, sizes, strict=True) if kind == code)

    @asynccontextmanager
    async def recorded(self, *, from_here: bool = True) -> AsyncIterator[Recording]:
        """Record what happens in the block, or since the page's own beginning if one is opened in it."""
        recording = Recording()
        await self._browser.start_tracing(page=self.page, categories=list(CATEGORIES))
        if from_here:
            await self.evaluate(f"performance.mark('{BEGIN}')")
        yield recording
        await self.evaluate(f"performance.mark('{END}')")
        recording.trace = Trace(await self._browser.stop_tracing())


@asynccontextmanager
async def new_tab(browser: Browser, script: str = "") -> AsyncIterator[Tab]:
    """A tab with nothing in its caches and stores; `script` runs in it before anything of a page."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    if script:
        await context.add_init_script(script)
    page = await context.new_page()
    yield Tab(browser, page, await context.new_cdp_session(page))
    await context.close()
