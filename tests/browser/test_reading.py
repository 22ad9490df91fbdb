"""Reading a reply while it grows: where the page stands, what it shows, and what a screen reader hears."""

import json
import re

from playwright.async_api import Page, WebSocketRoute, expect

from tests.browser.dictation import Dictation
from tests.browser.person import Person, at_rest, comes_true

#: Far more than the window holds.
LONG = "word after word " * 200

#: Pixels from the lower edge of the window to the end of the page.
GAP = "document.documentElement.scrollHeight - document.documentElement.clientHeight - scrollY"

#: Notes everything that the announcements' region says.
LISTEN = """() => {
    const region = document.querySelector('[role=status][aria-label=Announcements]');
    window.heard = [];
    new MutationObserver(() => region.textContent && window.heard.push(region.textContent))
        .observe(region, { subtree: true, childList: true, characterData: true });
}"""

#: Notes every height that the transcript has had.
MEASURE = """() => {
    window.heights = [];
    new ResizeObserver(([{ contentRect }]) => window.heights.push(contentRect.height))
        .observe(document.querySelector('[role=log]'));
}"""

#: As a browser does for a tab behind another one; Chromium without a window shows all of them.
HIDE = """(hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    Object.defineProperty(document, 'visibilityState', { value: hidden ? 'hidden' : 'visible', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


async def at_end(page: Page) -> None:
    """Wait until the end of the page is in sight."""
    await comes_true(page, f"{GAP} <= 3")


async def fills_the_window(person: Person) -> None:
    """Wait until a long reply is there, and its end is in sight."""
    await expect(person.reply).to_contain_text("word after word")
    await comes_true(person.page, "scrollY > 0")
    await at_end(person.page)


async def scrolled_up(person: Person, pixels: int = 300) -> float:
    """Turn the wheel; returns where the page stands then."""
    await person.page.mouse.move(400, 300)
    # A wheel that is turned while the page is still being moved may not move it.
    before = await at_rest(person.page)
    await person.page.mouse.wheel(0, -pixels)
    await comes_true(person.page, "(before) => scrollY < before", before)
    await expect(person.page.get_by_role("button", name="ump to the end")).to_be_visible()
    return await at_rest(person.page)


async def test_the_page_follows_a_growing_reply_while_one_is_at_its_end(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Tell me a lot")
    reply = await model.asked()
    for part in ("First ", "second ", "third "):
        await reply.says(part + LONG)
        await expect(person.reply).to_contain_text(part)
        await at_end(person.page)
    await reply.ends("last.")
    await person.sees_end()
    await at_end(person.page)
    await expect(person.page.get_by_role("button", name="ump to the end")).to_have_count(0)


async def test_scrolling_up_lets_go_and_a_button_says_what_is_new_and_takes_one_back(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Tell me a lot")
    reply = await model.asked()
    await reply.says(LONG)
    await fills_the_window(person)
    there = await scrolled_up(person)
    await reply.says("more " + LONG)
    await expect(person.reply).to_contain_text("more")
    assert await person.page.evaluate("scrollY") == there
    await reply.ends("the end.")
    await person.sees_end()
    assert await person.page.evaluate("scrollY") == there
    jump = person.button("1 new, jump to the end")
    await expect(jump).to_have_text("1 new ↓")
    await jump.click()
    await at_end(person.page)
    await expect(jump).to_have_count(0)
    await person.says("And on")
    await (await model.asked()).says("again " + LONG)
    await expect(person.reply).to_contain_text("again")
    await at_end(person.page)


async def test_a_few_pixels_up_are_enough_to_let_go(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Tell me a lot")
    reply = await model.asked()
    await reply.says(LONG)
    await fills_the_window(person)
    there = await scrolled_up(person, 8)
    await reply.says("more " + LONG)
    await expect(person.reply).to_contain_text("more")
    assert await person.page.evaluate("scrollY") == there


#: The wheel is turned; the page changes a little before it moves, and again in the frame in which it does.
WHEEL_AND_CHANGE = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const dock = document.querySelector('.dock');
    dispatchEvent(new WheelEvent('wheel', { deltaY: -100 }));
    dock.style.paddingTop = '1px';
    for (let count = 0; count < 3; count += 1) await frame();
    dock.style.paddingTop = '2px';
    scrollBy({ top: -100, behavior: 'instant' });
    for (let count = 0; count < 3; count += 1) await frame();
}"""


async def test_the_wheel_wins_against_a_page_that_changes_at_the_same_time(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Tell me a lot")
    await (await model.asked()).says(LONG)
    await fills_the_window(person)
    # What the page is still to hear of its own last move must not come after the wheel.
    await at_rest(person.page)
    await person.page.evaluate(WHEEL_AND_CHANGE)
    assert await person.page.evaluate(GAP) > 50
    await expect(person.page.get_by_role("button", name="ump to the end")).to_be_visible()


async def test_what_one_says_goes_up_so_that_the_reply_grows_into_view(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("First")
    await (await model.asked()).ends(LONG)
    await person.sees_end()
    await scrolled_up(person)
    await person.says("Second")
    await (await model.asked()).says("Here")
    await expect(person.reply).to_contain_text("Here")
    await at_end(person.page)
    head = await person.page.locator("header").first.bounding_box()
    mine = await person.messages.last.bounding_box()
    assert head
    assert mine
    assert 0 <= mine["y"] - head["y"] - head["height"] < 60


async def test_nothing_blanks_or_shrinks_while_a_reply_grows(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("First")
    await (await model.asked()).ends(LONG)
    await person.sees_end()
    await person.says("Second")
    reply = await model.asked()
    await reply.says("Here")
    await person.sees_reply("Here")
    await person.page.evaluate(MEASURE)
    for piece in (" it", " goes", LONG, "\n\n- a\n- b\n\n```py\ncode"):
        await reply.says(piece)
        await expect(person.reply).to_contain_text(piece.split()[-1])
    await reply.ends("\n```\n\nThe end.")
    await person.sees_end()
    heights: list[float] = await person.page.evaluate("window.heights")
    assert len(heights) > 2
    assert heights == sorted(heights)


async def test_a_selection_stays_while_the_paragraph_grows(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Speak")
    reply = await model.asked()
    await reply.says("One two three")
    await person.sees_reply("One two three")
    await person.reply.locator(".prose p").dblclick(position={"x": 5, "y": 12})
    assert (await person.page.evaluate("String(getSelection())")).strip() == "One"
    for word in (" four", " *five*", " six"):
        await reply.says(word)
        await expect(person.reply).to_contain_text(word.strip(" *"))
    assert (await person.page.evaluate("String(getSelection())")).strip() == "One"


async def test_a_screen_reader_hears_that_a_reply_begins_and_the_whole_of_it_never_its_words(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await expect(person.log).to_have_attribute("aria-live", "off")
    await person.page.evaluate(LISTEN)
    await person.says("Speak")
    reply = await model.asked()
    for word in ("One", " two", " three"):
        await reply.says(word)
        await expect(person.reply).to_contain_text(word.strip())
    await reply.ends(" four.")
    await person.sees_end()
    await comes_true(person.page, "window.heard.length === 2")
    assert await person.page.evaluate("window.heard") == ["The reply has begun.", "Reply: One two three four."]


async def test_a_screen_reader_hears_that_a_reply_was_stopped_and_that_one_failed(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.page.evaluate(LISTEN)
    await person.says("Speak")
    await (await model.asked()).says("One")
    await person.sees_reply("One")
    await person.stop.click()
    await person.sees_end()
    await comes_true(person.page, "window.heard.at(-1) === 'The reply was stopped. One'")
    model.refuses(401)
    await person.says("Again")
    await comes_true(person.page, "window.heard.at(-1).startsWith('The reply failed. ')")


async def test_the_title_tells_that_a_reply_finished_while_one_was_elsewhere(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await expect(person.page).to_have_title("Ada – Parley")
    await person.says("Take your time")
    reply = await model.asked()
    await person.page.evaluate(HIDE, True)
    await reply.ends("Done.")
    await expect(person.page).to_have_title("● Reply ready – Parley")
    await person.page.evaluate(HIDE, False)
    await expect(person.page).to_have_title("Ada – Parley")


async def test_a_long_conversation_opens_at_its_end(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    for number in range(3):
        await person.says(f"Message {number}")
        await (await model.asked()).ends(LONG)
        await person.sees_end()
    await person.page.reload()
    await expect(person.replies).to_have_count(3)
    await at_end(person.page)
    await person.sees_document()


#: Messages and replies of a conversation that is longer than what a snapshot holds.
LONG_TALK = [
    {
        "id": f"{role}{number}",
        "role": role,
        "text": f"{role} {number} " + "word " * 60,
        "timestamp": "2026-11-28T20:00:00Z",
    }
    | ({"to": f"human{number}", "finish_reason": "stop"} if role == "bot" else {})
    for number in range(60)
    for role in ("human", "bot")
]


async def tells_a_long_talk(page: Page) -> None:
    """In place of a server: a snapshot of the last twenty messages, and twenty more each time one asks."""

    def routed(socket: WebSocketRoute) -> None:
        def answer(data: str | bytes) -> None:
            before = json.loads(data)["before"]
            end = next(at for at, message in enumerate(LONG_TALK) if message["id"] == before)
            start = max(0, end - 20)
            part = LONG_TALK[start:end]
            socket.send(json.dumps({"type": "history", "before": before, "messages": part, "earlier": start}))

        socket.on_message(answer)
        conversation = {
            "token": "t", "name": "Ada", "session_start": "2026-11-28T20:00:00Z",
            "messages": LONG_TALK[-20:], "earlier": len(LONG_TALK) - 20,
        }  # fmt: skip
        snapshot = {
            "type": "snapshot", "cursor": "1-0", "conversation": conversation, "reply": None,
            "model": {"name": "gpt-j", "stand_in": False}, "limits": {"text": 4000},
        }  # fmt: skip
        socket.send(json.dumps(snapshot))

    await page.route_web_socket(re.compile("/chat"), routed)


async def test_earlier_messages_come_as_one_scrolls_up_and_what_one_reads_stays_where_it_is(
    person: Person, url: str
) -> None:
    page = person.page
    await tells_a_long_talk(page)
    await page.goto(f"{url}/chat/{'A' * 43}")
    await expect(person.messages).to_have_count(10)
    await at_end(page)
    for expected in (20, 30, 40, 50, 60):
        await page.evaluate("scrollTo(0, 300)")
        await expect(person.messages).to_have_count(expected)
        await at_rest(page)
        assert await page.evaluate("scrollY") > 1000
    await expect(page.get_by_role("button", name="earlier messages")).to_have_count(0)
    await expect(person.messages.first).to_contain_text("human 0")
    # What was seen before is not new.
    await expect(person.button("Jump to the end")).to_be_visible()
