"""The main job in a real browser: a name, a message, a reply that grows, and the same conversation ever after."""

from pathlib import Path

import httpx
from playwright.async_api import expect

from tasks.local.embedded_redis import start_redis
from tests.browser.conftest import NewPerson
from tests.browser.dictation import Dictation
from tests.browser.person import Person, style
from tests.support.client import PATIENCE
from tests.support.ports import own_port
from tests.support.stack import Stack

#: Notes every text that the last reply has had.
WATCH = """() => {
    window.seen = [];
    new MutationObserver(() => {
        const text = [...document.querySelectorAll('.by-model .prose')].at(-1)?.textContent ?? '';
        if (text && text !== window.seen.at(-1)) window.seen.push(text);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


async def whole_conversation(person: Person, stack: Stack) -> None:
    """From the address to a conversation of two turns that a reload shows again."""
    page = person.page
    await page.goto(stack.url)
    await expect(page.get_by_role("heading", name="Parley")).to_be_visible()
    await expect(page.get_by_text("GPT-J, built with React, FastAPI, Dramatiq and Redis")).to_be_visible()
    await expect(page.get_by_text("hard to predict and may offend")).to_be_visible()
    await person.button("Start chat").click()
    await expect(page.get_by_role("alert")).to_have_text("Please enter a name first.")
    await person.comes(stack.url)
    await expect(page.get_by_role("heading", name="Welcome Ada")).to_be_visible()
    await expect(page.get_by_text("stand-in model")).to_be_visible()
    await expect(page.get_by_text("just now")).to_be_visible()
    await expect(page.get_by_text("hard to predict and may offend")).to_be_visible()
    await page.evaluate(WATCH)
    # Some 45 tokens: a busy machine, which draws rarely, must have the time to draw them several times.
    stack.pace(rate=10)
    await person.says("The tide is late today")
    await person.sees_end()
    await expect(person.reply).to_contain_text("I am a stand-in and not GPT-J")
    await expect(person.reply).to_contain_text("“The tide is late today”.")
    seen: list[str] = await page.evaluate("window.seen")
    assert len(seen) > 5
    assert all(seen[-1].startswith(text) for text in seen)
    stack.pace(rate=0)
    await person.says("Will it still come?")
    await person.sees_end()
    await expect(person.reply).to_contain_text("“Will it still come?”")
    await person.sees_document()
    before = await person.transcript()
    await page.reload()
    await expect(person.replies).to_have_count(2)
    assert await person.transcript() == before


async def test_a_person_gives_a_name_says_something_and_sees_the_reply_grow(person: Person, stack: Stack) -> None:
    await whole_conversation(person, stack)


async def test_the_whole_way_goes_on_fakeredis_too(person: Person, tmp_path: Path) -> None:
    with Stack(start_redis(tmp_path, port=own_port(), kind="fakeredis")) as stack:
        stack.start_web()
        stack.start_worker()
        stack.wait_ready()
        await whole_conversation(person, stack)


async def test_the_persons_words_stand_at_the_right_and_the_models_at_the_left(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Hello")
    await (await model.asked()).ends("Good day.")
    await person.sees_end()
    log, mine, its = [await place.bounding_box() for place in (person.log, person.messages, person.reply)]
    assert log
    assert mine
    assert its
    assert abs(mine["x"] + mine["width"] - log["x"] - log["width"]) < 2
    assert abs(its["x"] - log["x"]) < 2
    assert mine["x"] > its["x"] + 100


async def test_a_reload_in_mid_reply_shows_the_words_so_far_and_goes_on(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Count")
    reply = await model.asked()
    await reply.says("one two")
    await person.sees_reply("one two")
    await person.page.reload()
    await person.sees_reply("one two")
    await reply.says(" three")
    await person.sees_reply("one two three")
    await reply.ends(" four.")
    await person.sees_end()
    await person.sees_reply("one two three four.")
    await person.sees_document()


async def test_two_tabs_show_the_same_whoever_writes(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    other = await Person(await person.page.context.new_page()).returns(url, person.token)
    await person.says("From the first")
    first = await model.asked()
    await first.says("To both")
    for tab in (person, other):
        await expect(tab.messages.locator(".plain")).to_have_text(["From the first"])
        await tab.sees_reply("To both")
    await other.says("From the second")
    await expect(person.messages).to_have_count(2)
    await first.ends(".")
    await (await model.asked()).ends("And again.")
    for tab in (person, other):
        await expect(tab.replies).to_have_count(2)
        await tab.sees_document()
    assert await person.transcript() == await other.transcript()


async def test_stop_keeps_what_was_seen_also_after_a_reload(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Go on for ever")
    reply = await model.asked()
    await reply.says("On and on")
    await person.sees_reply("On and on")
    await person.stop.click()
    await expect(person.reply).to_contain_text("Stopped.")
    await person.sees_reply("On and on")
    await person.page.reload()
    await expect(person.reply).to_contain_text("Stopped.")
    await person.sees_reply("On and on")
    await person.sees_document()
    await expect(person.button("Retry")).to_be_visible()
    assert await style(person.reply, "borderLeftStyle") is not None


async def test_a_message_whose_turn_has_not_come_can_be_stopped(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("First")
    await person.says("Second")
    await (await model.asked()).says("Wait")
    await person.stop.click()
    await expect(person.replies.first).to_contain_text("Stopped.")
    await (await model.asked()).says("Now you")
    await person.sees_reply("Now you")
    await person.stop.click()
    await person.sees_end()
    await person.sees_document()


async def test_an_unknown_conversation_is_said_to_be_over_and_a_new_one_is_offered(
    person: Person, url: str, model: Dictation
) -> None:
    await person.page.goto(f"{url}/chat/{'A' * 43}")
    await expect(person.page.get_by_role("heading", name="This conversation is over.")).to_be_visible()
    await expect(person.page).to_have_title("This conversation is over – Parley")
    await person.page.get_by_label("Enter your name to start chat").fill("Bea")
    await person.button("Start a new chat").click()
    await expect(person.page.get_by_role("heading", name="Welcome Bea")).to_be_visible()
    assert person.token != "A" * 43


async def test_an_address_that_leads_nowhere_leads_home(person: Person, url: str) -> None:
    await person.page.goto(f"{url}/nowhere/at/all")
    await expect(person.page.get_by_role("heading", name="There is no page at this address.")).to_be_visible()
    await person.page.get_by_role("link", name="Start a conversation").click()
    await expect(person.button("Start chat")).to_be_visible()


async def test_a_conversation_deleted_elsewhere_is_over_at_once(person: Person, url: str) -> None:
    await person.comes(url)
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        await http.delete(f"{url}/token", params={"token": person.token})
    await expect(person.page.get_by_role("heading", name="This conversation is over.")).to_be_focused()


async def test_in_the_dark_the_page_is_dark(new_person: NewPerson, url: str, model: Dictation) -> None:
    person = await (await new_person(color_scheme="dark")).comes(url)
    await person.says("Lights out")
    await (await model.asked()).ends("Good night.")
    await person.sees_end()
    ground = await style(person.page.locator("html"), "backgroundColor")
    words = await style(person.reply.locator(".prose"), "color")
    assert brightness(ground) < 40
    assert brightness(words) > 200


def brightness(colour: str) -> float:
    """Of an `rgb(r, g, b)`, from 0 to 255."""
    parts = [float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / 3


async def test_a_phone_shows_all_of_it(phone: Person, url: str, model: Dictation) -> None:
    await phone.page.goto(url)
    await phone.fits()
    await phone.comes(url)
    await phone.fits()
    await phone.composer.fill("A message from a small phone that is long enough to need several lines there")
    await phone.button("Send").click()
    await (await model.asked()).ends("A reply " * 60)
    await phone.sees_end()
    await phone.fits()
    await expect(phone.composer).to_be_in_viewport()
    await phone.page.goto(f"{url}/chat/unknown")
    await expect(phone.page.get_by_role("heading", name="This conversation is over.")).to_be_visible()
    await phone.fits()
