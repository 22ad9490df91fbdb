"""What is measured of the page; every function returns its rows."""

from dataclasses import dataclass
from statistics import median

import redis
from playwright.async_api import Browser

from tests.bench.report import Row
from tests.bench_page.assets import MOST_JAVASCRIPT, Requests, gzipped_javascript
from tests.bench_page.novelist import Novelist, sentence
from tests.bench_page.tab import Tab, new_tab
from tests.bench_page.trace import LONG, Trace
from tests.support.client import history, new_token
from tests.support.past import exchanges, give_past
from tests.support.stack import Stack

#: Not a word of a reply is still to come.
QUIET = "!document.querySelector('.by-model[aria-busy=true]')"
READY = "document.querySelector('textarea') && document.querySelector('.connection-bar')?.dataset.state === 'open'"

#: After how many replies the page has all that it will have for ever, but for compiled code.
WARM = 3
#: After how many the engine has compiled, each time better, all that is used often: from 40 on to here that was 140 KB
#: more of 4.1 MB, in the next hundred nothing.
COMPILED = 140
#: Messages of a conversation that has nothing to hide.
FEW = 20
#: The last few exchanges are laid out wherever one is; those above them only when they come near.
LAID_OUT = 5
#: Replies that stay on the page, by which what one costs is told.
STAYING = 20

#: Marks when the last message is first seen whole in the window, and when all messages are in the document.
WATCH_OPENING = """{
    const look = () => {
        const { bottom = 0 } = document.querySelector('.exchange:last-child .by-model')?.getBoundingClientRect() ?? {};
        if (bottom > 0 && bottom <= innerHeight) performance.mark('bench:shown');
        else afterFrame();
    };
    const afterFrame = () => requestAnimationFrame(() => setTimeout(look));
    const watch = (selector, then) => new MutationObserver((_, watching) => {
        if (!document.querySelector(selector)) return;
        watching.disconnect();
        then();
    }).observe(document, { attributes: true, childList: true, subtree: true });
    watch('.exchange', afterFrame);
    watch('[role=log][aria-busy=false] .exchange', () => performance.mark('bench:filled'));
}"""


@dataclass
class Bench:
    """Where it is measured, and how much."""

    stack: Stack
    model: Novelist
    browser: Browser
    #: Of a reply, and of those a second.
    tokens: int
    rate: float
    #: Kinds of text, see `novelist`.
    shapes: list[str]
    #: Replies made anew, for memory, and their tokens a second.
    replies: int
    replies_rate: float
    #: In the long conversation.
    messages: int
    #: How far one scrolls in it, there and back.
    pixels: int
    #: How often what has a moment is measured; the median counts, for the machine may stand still in any of them.
    rounds: int


async def size(bench: Bench) -> list[Row]:
    """The built JavaScript, and what stands between an empty tab and the first paint."""
    requests = Requests()
    async with new_tab(bench.browser) as tab:
        tab.engine.on("Network.requestWillBeSent", requests.asked)
        tab.engine.on("Network.loadingFinished", requests.came)
        await tab.engine.send("Network.enable")
        await tab.page.goto(bench.stack.url, wait_until="networkidle")
        await tab.until("document.querySelector('form') && performance.getEntriesByType('paint').length === 2")
        paint = await tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    if len(requests.rounds) < 3:
        raise RuntimeError(f"The page asked only for {list(requests.rounds)}")
    scripts = sum(length for address, length in requests.sent.items() if address.endswith(".js"))
    note = f"{scripts / 1e3:.0f} KB over the wire from `web` itself"
    return [
        Row("the page's JavaScript, gzipped", gzipped_javascript() / 1e3, MOST_JAVASCRIPT / 1e3, unit="KB", note=note),
        Row(
            "round trips of assets until the page is there",
            max(requests.rounds.values()),
            1,
            note=f"{len(requests.rounds) - 1} files after the document; first paint after {paint:.0f} ms",
        ),
    ]


async def drawing(bench: Bench) -> list[Row]:
    """Frames while a long reply is written, for each shape of text."""
    rows: list[Row] = []
    bench.model.tokens, bench.model.rate = bench.tokens, bench.rate
    for shape in bench.shapes:
        bench.model.shape = shape
        traces = [await _drawn(bench) for _ in range(bench.rounds)]
        pace = f"{bench.tokens / bench.model.seconds:.0f} tokens/s; main thread busy {traces[-1].busy():.0%}"
        what = f"{bench.tokens:,} tokens, {shape}"
        rows += [
            _longest(f"{what}: longest frame", [trace.longest_frame for trace in traces], traces),
            _long_tasks(f"{what}: long tasks", traces, pace),
        ]
    return rows


async def memory(bench: Bench) -> list[Row]:
    """What the tab holds after many long replies, at a faster rate than anybody's.

    First each takes the place of the one before: what the page holds of those that are gone must be nothing. That is
    told twice: what scripts hold, nearly from the start, and all of their memory, once the engine has compiled them.
    Then each answers a message of its own and stays to be scrolled back to: what that costs has no bar, but is told.
    """
    bench.model.shape, bench.model.tokens, bench.model.rate = "mixed", bench.tokens, bench.replies_rate
    async with new_tab(bench.browser) as tab:
        await _begin(bench, tab)
        await _reply(bench, tab, "Tell me a long story.")
        for number in range(COMPILED + bench.replies):
            if number == WARM:
                early = await tab.heap()
            if number == COMPILED:
                before = await tab.heap()
            await _reply(bench, tab)
        after = await tab.heap()
        staying = min(STAYING, bench.replies)
        for number in range(LAID_OUT + staying):
            if number == LAID_OUT:
                some = await tab.heap()
            await _reply(bench, tab, "Tell me another one.")
        more = await tab.heap()
    growth = (more.scripts - some.scripts) / staying / 1e3
    whole = (more.document - some.document) / staying / 1e3
    text = len(bench.model.text) / 1e3
    return [
        Row(
            f"script memory without compiled code, {COMPILED + bench.replies} replies made anew / after {WARM}",
            after.held / early.held,
            1.05,
            note=f"{after.held / 1e6:.2f} / {early.held / 1e6:.2f} MB, after garbage collection",
        ),
        Row(
            f"script memory, {COMPILED + bench.replies} replies / after {COMPILED}",
            after.scripts / before.scripts,
            1.05,
            note=f"{after.scripts / 1e6:.2f} / {before.scripts / 1e6:.2f}; after {WARM}: {early.scripts / 1e6:.2f} MB",
        ),
        Row(
            "document memory, likewise",
            after.document / before.document,
            1.05,
            note=f"{after.document / 1e6:.2f} / {before.document / 1e6:.2f} MB",
        ),
        Row(
            "script memory of one more reply that stays on the page",
            growth,
            unit="KB",
            note=f"over {staying} replies of {text:.0f} KB of text; its document: {whole:.0f} KB",
        ),
    ]


async def length(bench: Bench) -> list[Row]:
    """A long conversation: opened in tabs that never saw it, then scrolled through."""
    few = min(FEW, bench.messages)
    token = await _conversation(bench, few)
    async with new_tab(bench.browser, WATCH_OPENING) as tab:
        short = await _open(bench, tab, token)
    token = await _conversation(bench, bench.messages)
    shown: list[float] = []
    filled: list[float] = []
    openings: list[Trace] = []
    scrollings: list[Trace] = []
    for _ in range(bench.rounds):
        async with new_tab(bench.browser, WATCH_OPENING) as tab:
            openings.append(await _open(bench, tab, token))
            shown.append(await _marked(tab, "shown"))
            filled.append(await _marked(tab, "filled"))
            await _show_all(tab, bench.messages)
            async with tab.recorded() as scrolling:
                await _scroll_through(bench, tab)
            scrollings.append(scrolling.trace)
    what = f"{bench.messages:,} messages"
    once = [opening.longest_frame_since("bench:shown") for opening in openings]
    whole = [scrolling.longest_frame for scrolling in scrollings]
    jump = "the wheel up, a jump to the start, the wheel down"
    return [
        Row(f"{what}: until the end is shown", median(shown), unit="ms", note=f"{bench.rounds} openings, median"),
        Row(f"{what}: until all of the last ones are in the document", median(filled), unit="ms"),
        Row(
            f"{what}: the first drawing, nothing to be seen before",
            median(opening.longest_frame for opening in openings),
            unit="ms",
            note=f"the longest frame of the opening; of {few} messages {short.longest_frame:.0f} ms",
        ),
        _longest(f"{what}: longest frame once the end is shown", once, openings),
        _longest(f"{what}: longest frame, scrolling", whole, scrollings),
        _long_tasks(f"{what}: long tasks, scrolling", scrollings, jump),
    ]


def _longest(what: str, frames: list[float], traces: list[Trace]) -> Row:
    """The longest frame of the middle round; all of them in the note."""
    each = ", ".join(f"{frame:.0f}" for frame in frames)
    return Row(what, median(frames), LONG, unit="ms", note=f"median of {each}; the last: {traces[-1].note()}")


def _long_tasks(what: str, traces: list[Trace], note: str) -> Row:
    each = ", ".join(f"{trace.long_tasks}" for trace in traces)
    return Row(what, median(trace.long_tasks for trace in traces), 0, note=f"median of {each}; {note}")


async def _begin(bench: Bench, tab: Tab) -> str:
    """A new conversation, open in the tab; returns its token."""
    token = await new_token(bench.stack.url)
    await tab.page.goto(f"{bench.stack.url}/chat/{token}")
    await tab.until(READY)
    return token


async def _reply(bench: Bench, tab: Tab, text: str = "") -> None:
    """Say something and hear the whole reply; or, saying nothing, hear a new reply to the last message."""
    said = bench.model.replies
    if text:
        await tab.says(text)
    else:
        await tab.evaluate("document.querySelector('.exchange:last-child .actions button:last-child').click()")
    await bench.model.said(said + 1)
    await tab.until(QUIET)


async def _drawn(bench: Bench) -> Trace:
    """What a tab did while one reply was written."""
    async with new_tab(bench.browser) as tab:
        token = await _begin(bench, tab)
        async with tab.recorded() as recording:
            await _reply(bench, tab, "Tell me a long story.")
        await _check_reply(bench, tab, token)
    return recording.trace


async def _check_reply(bench: Bench, tab: Tab, token: str) -> None:
    """It was really there: kept whole, and drawn. Raises RuntimeError."""
    kept = (await history(bench.stack.url, token))[-1]["msg"]
    drawn = await tab.evaluate("document.querySelector('.by-model .prose').textContent.length")
    if kept != f"Bot: {bench.model.text}" or drawn < len(kept) / 2:
        raise RuntimeError(f"Of {len(bench.model.text)} characters {len(kept)} were kept and {drawn} drawn")


async def _open(bench: Bench, tab: Tab, token: str) -> Trace:
    """Open a conversation until all that it opens with is in the document."""
    async with tab.recorded(from_here=False) as opening:
        await tab.page.goto(f"{bench.stack.url}/chat/{token}")
        await tab.until("performance.getEntriesByName('bench:filled').length")
    return opening.trace


async def _show_all(tab: Tab, messages: int) -> None:
    """Have all earlier messages shown too."""
    click = "document.querySelector('.earlier button')?.click()"
    await tab.until(f"({click}, document.querySelectorAll('article').length === {messages})")


async def _conversation(bench: Bench, messages: int) -> str:
    """Write one straight into Redis; returns its token."""
    token = await new_token(bench.stack.url)
    replies = (
        f"{sentence(number)} {sentence(number + 1)}\n\n- {sentence(number + 2)}\n- {sentence(number + 3)}"
        for number in range(messages // 2)
    )
    talk = exchanges((f"What of night {number}?", reply) for number, reply in enumerate(replies))
    with redis.Redis.from_url(bench.stack.redis.url, protocol=2) as client:
        give_past(client, token, talk)
    return token


async def _marked(tab: Tab, what: str) -> float:
    """Milliseconds from the navigation to a mark."""
    return float(await tab.evaluate(f"performance.getEntriesByName('bench:{what}')[0].startTime"))


async def _scroll_through(bench: Bench, tab: Tab) -> None:
    """Up from the end, to the start in one jump, and down again. Raises RuntimeError if the page did not move."""
    end = await tab.evaluate("scrollY")
    await tab.scroll(bench.pixels, 6000)
    up = await tab.evaluate("scrollY")
    await tab.evaluate("scrollTo(0, 0)")
    await tab.scroll(-bench.pixels, 6000)
    down = await tab.evaluate("scrollY")
    if end - up < bench.pixels / 2 or down < bench.pixels / 2:
        raise RuntimeError(f"The page did not scroll: {end:.0f}, {up:.0f}, 0, {down:.0f}")
