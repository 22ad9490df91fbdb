"""Everybody can use every state of the page: axe, the keyboard alone, fingers, large text, few colours, no motion."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Playwright, Route, expect

from tests.browser.conftest import ARGUMENTS, NewPerson, chromium
from tests.browser.dictation import Dictation
from tests.browser.network import Network
from tests.browser.person import Person, at_rest, comes_true, standing_out, style
from tests.browser.test_text import RICH
from tests.support.missing import missing

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"

#: What a person can press or write into; links within a sentence may be as high as its line.
CONTROLS = "button, input, textarea, a.recent, a.home-link"

#: Of those in sight, the ones that are too small: what they say, and their width and height.
SMALL = """(controls) => controls.filter((control) => control.checkVisibility()).map((control) => {
    const { width, height } = control.getBoundingClientRect();
    return [control.textContent || control.id, width, height];
}).filter(([, width, height]) => width < 43.9 || height < 43.9).map((found) => found.join(' '))"""

TWO_FRAMES = "() => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))"

#: How the focused element shows that it is.
FOCUS = """() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    const frame = getComputedStyle(element.closest('.composer') ?? element);
    const seen = (colour) => !/, 0\\)$|transparent/.test(colour);
    if (element === document.body) return { name: '', visible: true };
    return {
        name: element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent.trim(),
        visible: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 && seen(style.outlineColor))
            || frame.boxShadow !== 'none' || getComputedStyle(element, '::before').outlineStyle !== 'none',
    };
}"""


async def states(person: Person, network: Network, model: Dictation) -> AsyncIterator[str]:
    """Bring the page into one state after the other; yields the name of each."""
    page = person.page
    await page.goto(network.url)
    await expect(person.button("Start chat")).to_be_visible()
    yield "home"
    await person.button("Start chat").click()
    yield "home, a name is missing"
    await person.comes(network.url)
    yield "empty"
    await person.says("Hello, who are you?")
    first = await model.asked()
    yield "waiting"
    await first.says("I am")
    await person.sees_reply("I am")
    yield "streaming"
    await first.ends(" well.\n\n" + RICH)
    await person.sees_end()
    yield "finished"
    await page.keyboard.press("ArrowUp")
    await expect(person.composer).to_have_value("Hello, who are you?")
    yield "editing"
    await page.keyboard.press("Escape")
    await person.says("Stop soon")
    await (await model.asked()).says("Certainly")
    await person.sees_reply("Certainly")
    await person.stop.click()
    await person.sees_end()
    yield "stopped"
    model.refuses(429, b"", "Retry-After: 9999")
    await person.says("Fail")
    await expect(person.button("Retry")).to_be_visible()
    yield "failed"
    await at_rest(page)
    await page.mouse.wheel(0, -400)
    await expect(person.button("Jump to the end")).to_be_visible()
    yield "scrolled up"
    await person.button("Jump to the end").click()
    await person.button("Menu").click()
    await expect(person.button("Copy link")).to_be_visible()
    yield "menu"
    await person.button("Delete conversation").click()
    await expect(person.button("Cancel")).to_be_visible()
    yield "about to be deleted"
    await page.keyboard.press("Escape")
    await person.composer.fill("x" * 4_001)
    await expect(page.get_by_text("1 character over the limit of 4,000")).to_be_visible()
    yield "too long"
    await network.goes(person)
    await person.says("From afar")
    await expect(page.get_by_text("Will be sent when you are back online.")).to_be_visible()
    yield "offline"
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await page.context.set_offline(False)
    await page.reload()
    await expect(page.get_by_text("As last seen")).to_be_visible()
    yield "as last seen"
    await person.button("Edit").click()
    await network.returns(person)
    await page.goto(network.url)
    await person.page.get_by_role("listitem").get_by_role("button").click()
    await expect(person.button("Delete for everyone")).to_be_visible()
    yield "home, with a recent conversation"
    await person.button("Delete for everyone").click()
    await expect(page.get_by_role("listitem")).to_have_count(0)
    await page.goto(f"{network.url}/chat/gone")
    await expect(page.get_by_role("heading", name="This conversation is over.")).to_be_visible()
    yield "gone"
    await page.goto(f"{network.url}/no/such/page")
    await expect(page.get_by_role("heading", name="There is no page")).to_be_visible()
    yield "unknown"


async def axe(page: Page) -> list[str]:
    """What axe finds, in a line each."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = (await page.evaluate("axe.run()"))["violations"]
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@dataclass
class Findings:
    """What is wrong with one state of the page, in lines; all empty where nothing is."""

    light: list[str]
    dark: list[str]
    #: Too small for a finger: words, width, height.
    small: list[str]
    #: Standing out at the sides: as it is, and with text of double size.
    wide: list[str]
    wide_doubled: list[str]


async def examined(page: Page) -> Findings:
    """Look at the state in which the page is, and leave it so."""
    # What is half faded in has half its contrast.
    await comes_true(page, "document.getAnimations().every((motion) => motion.playState === 'finished')")
    light = await axe(page)
    await page.emulate_media(color_scheme="dark")
    dark = await axe(page)
    await page.emulate_media(color_scheme="light")
    small: list[str] = await page.locator(CONTROLS).evaluate_all(SMALL)
    wide = await standing_out(page)
    await page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
    doubled = await standing_out(page)
    await page.evaluate("() => { document.documentElement.style.fontSize = ''; }")
    # Once the page has taken its place again, a wheel that is turned moves it from there.
    await page.evaluate(TWO_FRAMES)
    return Findings(light, dark, small, wide, doubled)


#: By width of the window: one walk through all states is enough for all that is looked for.
WALKS: dict[int, dict[str, Findings]] = {}


@pytest_asyncio.fixture(loop_scope="session", params=[1280, 360])
async def findings(
    new_person: NewPerson, network: Network, model: Dictation, request: pytest.FixtureRequest
) -> dict[str, Findings]:
    """What is wrong in each state, on a desk and on a phone."""
    width: int = request.param
    if width not in WALKS:
        if not AXE.exists():
            missing("axe is not installed: npm ci in frontend/.")
        person = await new_person(reduced_motion="reduce", viewport={"width": width, "height": 700})
        WALKS[width] = {state: await examined(person.page) async for state in states(person, network, model)}
    assert len(WALKS[width]) == 18
    return WALKS[width]


async def test_axe_finds_nothing_in_any_state(findings: dict[str, Findings]) -> None:
    assert {state: found.light for state, found in findings.items() if found.light} == {}


async def test_axe_finds_nothing_in_any_state_in_the_dark(findings: dict[str, Findings]) -> None:
    assert {state: found.dark for state, found in findings.items() if found.dark} == {}


async def test_everything_is_large_enough_for_a_finger(findings: dict[str, Findings]) -> None:
    assert {state: found.small for state, found in findings.items() if found.small} == {}


async def test_nothing_stands_out_at_the_sides_in_any_state(findings: dict[str, Findings]) -> None:
    assert {state: found.wide for state, found in findings.items() if found.wide} == {}


async def test_text_of_double_size_fits(findings: dict[str, Findings]) -> None:
    assert {state: found.wide_doubled for state, found in findings.items() if found.wide_doubled} == {}


async def test_who_reads_large_text_on_a_phone_sees_the_reply_and_the_composer_together(
    playwright: Playwright, url: str, model: Dictation
) -> None:
    large = await playwright.chromium.launch(
        executable_path=chromium(), args=[*ARGUMENTS, "--blink-settings=defaultFontSize=32"]
    )
    page = await (await large.new_context(viewport={"width": 360, "height": 640})).new_page()
    person = await Person(page).comes(url)
    assert await style(page.locator("html"), "fontSize") == "32px"
    await person.says("Hello")
    await (await model.asked()).says("A word after a word. " * 40)
    await expect(person.reply).to_contain_text("word")
    await comes_true(page, "scrollY > 0")
    top = await page.evaluate(
        "Math.max(0, document.querySelector('.by-model').getBoundingClientRect().top, "
        "document.querySelector('.header').getBoundingClientRect().bottom)"
    )
    field = await person.composer.bounding_box()
    assert field
    assert field["y"] - top > 640 / 4
    assert field["y"] + field["height"] <= 640
    await large.close()


async def test_everything_can_be_done_with_the_keyboard_alone_and_the_focus_is_seen(
    person: Person, url: str, model: Dictation
) -> None:
    page = person.page
    keys = page.keyboard

    async def tab_to(name: str) -> list[str]:
        """Press Tab until the focus is there; returns all names on the way. From the last, it goes past the page."""
        walked = [""]
        while walked[-1] != name:
            assert len(walked) < 20, walked
            await keys.press("Tab")
            focus = await page.evaluate(FOCUS)
            assert focus["visible"], focus
            walked.append(focus["name"])
        return [name for name in walked if name]

    await page.goto(url)
    await expect(page.get_by_label("Enter your name to start chat")).to_be_focused()
    assert (await page.evaluate(FOCUS))["visible"]
    await keys.type("Ada")
    await keys.press("Enter")
    await expect(person.composer).to_be_focused()
    assert (await page.evaluate(FOCUS))["visible"]
    await keys.type("Hello")
    await keys.press("Enter")
    await (await model.asked()).ends("Good day.\n\n```\ncode\n```")
    await person.sees_end()
    await tab_to("Menu")
    way = await tab_to("Send a Message")
    assert way == ["Edit", "Copy message", "Copy code", "code", "Copy reply", "Regenerate", "Send a Message"]
    await tab_to("Menu")
    await keys.press("Enter")
    way = await tab_to("Delete conversation")
    assert way == ["New conversation", "Copy link", "Export as Markdown", "Export as JSON", "Delete conversation"]
    await keys.press("Enter")
    await expect(person.button("Cancel")).to_be_focused()
    await keys.press("Escape")
    await expect(person.button("Menu")).to_be_focused()
    await expect(person.button("Menu")).to_have_attribute("aria-expanded", "false")


async def test_a_reply_is_stopped_with_the_keyboard(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Go on")
    await (await model.asked()).says("On")
    await person.sees_reply("On")
    await person.page.keyboard.press("Tab")
    await expect(person.stop).to_be_focused()
    await person.page.keyboard.press("Enter")
    await person.sees_end()
    await expect(person.reply).to_contain_text("Stopped.")


#: The longest time that anything on the page moves, in ms.
MOTION = """Math.max(0, ...document.getAnimations({ subtree: true }).map(({ effect }) => {
    const { duration, iterations } = effect.getTiming();
    return duration * iterations;
}))"""


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
async def test_who_wants_no_motion_gets_none(
    new_person: NewPerson, url: str, model: Dictation, wish: str, moves: bool
) -> None:
    person = await (await new_person(reduced_motion=wish)).comes(url)
    await person.says("Wait")
    reply = await model.asked()
    await expect(person.reply).to_contain_text("Writing…")
    assert (await person.page.evaluate(MOTION) > 1) is moves
    await reply.says("word " * 800)
    await expect(person.reply).to_contain_text("word")
    await comes_true(person.page, "scrollY > 0")
    await at_rest(person.page)
    await person.page.mouse.wheel(0, -600)
    await expect(person.button("Jump to the end")).to_be_visible()
    await at_rest(person.page)
    await person.page.evaluate(
        "() => { window.seen = []; addEventListener('scroll', () => window.seen.push(scrollY)); }"
    )
    await person.button("Jump to the end").click()
    await comes_true(person.page, "innerHeight + scrollY > document.documentElement.scrollHeight - 3")
    # Otherwise it glides, over many positions.
    assert (await person.page.evaluate("new Set(window.seen).size") > 1) is moves


async def border(locator: Locator, pseudo: str = "") -> float:
    """The width of an element's left border."""
    width: float = await locator.evaluate(
        "(element, pseudo) => parseFloat(getComputedStyle(element, pseudo).borderLeftWidth)", pseudo
    )
    return width


async def test_in_forced_colours_what_was_said_by_a_background_is_said_by_a_line(
    new_person: NewPerson, url: str, model: Dictation
) -> None:
    person = await (await new_person(forced_colors="active")).comes(url)
    await person.says("Hello")
    reply = await model.asked()
    await expect(person.reply).to_contain_text("Writing…")
    assert await border(person.reply, "::before") > 0
    assert await border(person.messages.locator(".plain")) > 0
    await reply.says("Good")
    await person.sees_reply("Good")
    assert await border(person.reply, "::before") > 0
    square = await person.stop.locator(".stop-icon").evaluate("(square) => getComputedStyle(square).backgroundColor")
    assert square != await person.page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")


async def test_a_slow_script_leaves_no_empty_page(person: Person, url: str, model: Dictation) -> None:
    arrived = asyncio.Event()

    async def late(route: Route) -> None:
        await arrived.wait()
        await route.continue_()

    await person.page.route("**/*.js", late)
    await person.page.add_init_script(
        """window.empty = 0;
        const look = () => {
            if (document.body && !document.body.innerText.trim()) window.empty += 1;
            requestAnimationFrame(look);
        };
        requestAnimationFrame(look);"""
    )
    await person.page.goto(f"{url}/chat/{'A' * 43}", wait_until="commit")
    await expect(person.page.get_by_role("heading", name="Parley")).to_be_visible()
    await expect(person.page.get_by_text("Opening…")).to_be_visible()
    await expect(person.page.locator("html")).to_have_css("background-color", "rgb(247, 245, 239)")
    arrived.set()
    await expect(person.page.get_by_role("heading", name="This conversation is over.")).to_be_visible()
    assert await person.page.evaluate("window.empty") == 0


#: By path.
TITLES = {
    "/": "Parley: talk with GPT-J",
    "/chat/gone": "This conversation is over – Parley",
    "/no/such/page": "Nothing here – Parley",
}


async def test_every_page_has_a_language_a_title_and_its_landmarks(person: Person, url: str, model: Dictation) -> None:
    for path, title in TITLES.items():
        await person.page.goto(url + path)
        await expect(person.page).to_have_title(title)
        await expect(person.page.get_by_role("link").or_(person.page.get_by_role("textbox")).first).to_be_visible()
        await expect(person.page.get_by_role("main")).to_have_count(1)
        await expect(person.page.get_by_role("heading", level=1)).to_have_count(1)
        assert await person.page.locator("html").get_attribute("lang") == "en"
    await person.comes(url)
    await expect(person.page).to_have_title("Ada – Parley")
    await expect(person.page.get_by_role("banner")).to_have_count(1)
    await expect(person.page.get_by_role("main")).to_have_count(1)


LOW = {"landscape": (667, 375), "keyboard": (360, 400), "zoomed": (333, 187)}


@pytest.mark.parametrize("window", LOW)
async def test_in_a_low_window_the_state_of_the_connection_and_the_composer_stay_in_sight(
    new_person: NewPerson, network: Network, model: Dictation, window: str
) -> None:
    width, height = LOW[window]
    person = await (await new_person(viewport={"width": width, "height": height})).comes(network.url)
    await person.says("Tell me a lot")
    await (await model.asked()).ends("word after word " * 200)
    await person.sees_end()
    await at_rest(person.page)
    await person.page.evaluate("scrollBy(0, -400)")
    await at_rest(person.page)
    bar = person.page.locator(".connection-bar")
    await expect(bar).to_be_in_viewport(ratio=1)
    field = await person.page.locator(".composer").bounding_box()
    assert field
    assert field["y"] >= 0
    assert field["y"] + field["height"] <= height
    await network.goes(person)
    await expect(bar).to_be_in_viewport(ratio=1)
    await expect(person.page.get_by_text("You are offline.")).to_be_in_viewport(ratio=1)
    if window != "zoomed":
        await expect(person.button("Menu")).to_be_in_viewport(ratio=1)


async def test_on_paper_there_is_the_conversation_and_nothing_is_cut_off(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Write some")
    await (await model.asked()).ends(RICH)
    await person.sees_end()
    await person.page.emulate_media(media="print")
    for hidden in (person.composer, person.button("Menu"), person.button("Copy code")):
        await expect(hidden).to_be_hidden()
    assert await style(person.page.locator("header").first, "position") == "static"
    assert await person.reply.locator("pre").evaluate("(pre) => pre.scrollWidth <= pre.clientWidth")
    await person.fits()
