"""Writing a message: the keys, the draft, and the way to the server."""

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.async_api import WebSocket, expect

from tests.browser.dictation import Dictation
from tests.browser.network import Network
from tests.browser.person import Person, at_rest
from tests.support.client import PATIENCE
from tests.support.stack import Stack

#: An Enter that belongs to an input method: the modern sign of it, and the one that Safari gives.
COMPOSING = {
    "isComposing": "{ key: 'Enter', isComposing: true, bubbles: true, cancelable: true }",
    "keyCode 229": "{ key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }",
}


async def test_enter_sends_and_shift_enter_breaks_the_line(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.composer.press_sequentially("one")
    await person.composer.press("Shift+Enter")
    await person.composer.press_sequentially("two")
    await expect(person.composer).to_have_value("one\ntwo")
    await expect(person.messages).to_have_count(0)
    await person.composer.press("Enter")
    await expect(person.composer).to_have_value("")
    await expect(person.messages.locator(".plain")).to_have_text("one\ntwo")


@pytest.mark.parametrize("sign", COMPOSING)
async def test_enter_never_sends_while_an_input_method_is_composing(
    person: Person, url: str, model: Dictation, sign: str
) -> None:
    await person.comes(url)
    await person.composer.fill("にほん")
    prevented = await person.composer.evaluate(
        f"(field) => !field.dispatchEvent(new KeyboardEvent('keydown', {COMPOSING[sign]}))"
    )
    assert not prevented
    await expect(person.composer).to_have_value("にほん")
    await person.composer.press("Enter")
    await expect(person.messages).to_have_count(1)


async def test_on_glass_enter_breaks_the_line_and_the_button_sends_without_bringing_the_keyboard_back(
    phone: Person, url: str, model: Dictation
) -> None:
    await phone.comes(url)
    await expect(phone.composer).not_to_be_focused()
    await phone.composer.tap()
    await phone.composer.press_sequentially("one")
    await phone.composer.press("Enter")
    await phone.composer.press_sequentially("two")
    await expect(phone.composer).to_have_value("one\ntwo")
    await phone.button("Send").tap()
    await expect(phone.messages).to_have_count(1)
    await expect(phone.composer).not_to_be_focused()


async def test_the_box_has_the_focus_when_the_page_opens_and_again_after_sending(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await expect(person.composer).to_be_focused()
    await person.composer.fill("Hello")
    await person.button("Send").click()
    await expect(person.messages).to_have_count(1)
    await expect(person.composer).to_be_focused()


async def test_a_blank_message_is_not_sent(person: Person, url: str) -> None:
    await person.comes(url)
    await person.says("  \n ")
    await person.button("Send").dispatch_event("click")
    await expect(person.composer).to_have_value("  \n ")
    await expect(person.messages).to_have_count(0)


async def test_the_draft_survives_a_reload_in_its_own_conversation_and_goes_once_sent(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    first = person.token
    await person.composer.fill("Not finished yet")
    await person.comes(url, "Bea")
    await expect(person.composer).to_have_value("")
    await person.returns(url, first)
    await expect(person.composer).to_have_value("Not finished yet")
    await person.composer.press("Enter")
    await person.sees_accepted()
    await person.page.reload()
    await expect(person.messages).to_have_count(1)
    await expect(person.composer).to_have_value("")


async def test_two_tabs_keep_their_own_drafts(person: Person, url: str) -> None:
    await person.comes(url)
    other = await Person(await person.page.context.new_page()).returns(url, person.token)
    await person.composer.fill("Mine")
    await other.composer.fill("Another")
    for tab, draft in ((person, "Mine"), (other, "Another")):
        await tab.page.reload()
        await expect(tab.composer).to_have_value(draft)


async def test_a_message_that_no_server_can_read_comes_back_and_holds_up_no_other(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.composer.fill("A half: ")
    await person.composer.evaluate("(field) => field.setRangeText('\\ud83d', 8, 8, 'end')")
    await person.composer.press("!")
    await person.composer.press("Enter")
    await expect(person.messages.first).to_contain_text("Not sent. It contains a broken character.")
    await person.says("Whole")
    await (await model.asked()).ends("Yes.")
    await person.sees_reply("Yes.")
    await person.button("Edit").click()
    await expect(person.messages).to_have_count(1)
    await person.sees_document()


async def test_one_can_write_and_send_while_a_reply_runs(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("First")
    first = await model.asked()
    await first.says("Well")
    await person.sees_reply("Well")
    await expect(person.composer).to_be_editable()
    await person.says("Second")
    await expect(person.messages).to_have_count(2)
    await expect(person.reply).to_contain_text("Waiting for a free slot")
    await first.ends(".")
    await (await model.asked()).ends("And second.")
    await expect(person.replies.locator(".prose")).to_have_text(["Well.", "And second."])
    await person.sees_document()


async def test_a_message_stands_there_at_once_and_says_so_if_it_takes_long_to_be_accepted(
    person: Person, network: Network, model: Dictation
) -> None:
    await person.comes(network.url)
    network.hold()
    await person.says("Slowly")
    await expect(person.messages).to_have_count(1)
    await expect(person.log.get_by_text("Sending…")).to_be_visible()
    network.release()
    await person.sees_accepted()
    await (await model.asked()).ends("Here.")
    await person.sees_document()


async def test_nothing_moves_when_a_message_is_accepted(person: Person, network: Network, model: Dictation) -> None:
    await person.comes(network.url)
    network.hold()
    await person.says("Slowly")
    await expect(person.messages).to_have_attribute("data-unsent", "true")
    await at_rest(person.page)
    bubble = person.messages.locator(".plain")
    before = await bubble.bounding_box()
    network.release()
    await person.sees_accepted()
    assert await bubble.bounding_box() == before


async def test_what_is_said_offline_waits_and_goes_out_by_itself(
    person: Person, network: Network, model: Dictation
) -> None:
    await person.comes(network.url)
    await network.goes(person)
    await expect(person.composer).to_be_editable()
    await person.says("From the tunnel")
    await person.says("Still in the tunnel")
    await expect(person.log.get_by_text("Saved. Will be sent when you are back online.")).to_have_count(2)
    await person.composer.fill("and a draft")
    await network.returns(person)
    await person.sees_accepted()
    await (await model.asked()).ends("One.")
    await (await model.asked()).ends("Two.")
    await expect(person.replies.locator(".prose")).to_have_text(["One.", "Two."])
    await expect(person.composer).to_have_value("and a draft")
    await person.sees_document()


async def test_what_waits_to_be_sent_survives_a_reload(person: Person, network: Network, model: Dictation) -> None:
    await person.comes(network.url)
    network.refuses_upgrade = True
    network.cut()
    await person.says("Keep this")
    await expect(person.log.get_by_text("Will be sent when you are back online.")).to_be_visible()
    await person.page.reload()
    await expect(person.messages).to_contain_text("Keep this")
    network.refuses_upgrade = False
    await person.sees_accepted()
    await (await model.asked()).ends("Kept.")
    await person.sees_document()


async def test_what_waits_to_be_sent_can_be_taken_back(person: Person, network: Network) -> None:
    await person.comes(network.url)
    await network.goes(person)
    await person.says("A word too much")
    await person.button("Edit").click()
    await expect(person.messages).to_have_count(0)
    await expect(person.composer).to_have_value("A word too much")
    await expect(person.composer).to_be_focused()


async def test_the_limit_is_shown_near_it_and_holds(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.composer.fill("x" * 3_950)
    await expect(person.page.get_by_text("50 characters left.")).to_be_visible()
    await person.says("x" * 4_003)
    await expect(person.page.get_by_text("3 characters over the limit of 4,000")).to_be_visible()
    await expect(person.messages).to_have_count(0)
    # An emoji is one character for the server, and so for the page.
    await person.says("🙂" * 4_000)
    await person.sees_accepted()


async def test_too_much_in_a_short_time_waits_for_its_seconds(
    person: Person, dictated_stack: Stack, model: Dictation
) -> None:
    with dictated_stack.another_web(LIMIT_MESSAGES_PER_MINUTE="1") as url:
        await person.comes(url)
        await person.says("First")
        await person.sees_accepted()
        await person.says("Second")
        note = person.log.locator(".delivery-note", has_text="Too many messages in a short time.")
        await expect(note).to_have_text(re.compile(r"Sending again in \d+ s\."))
        await expect(person.composer).to_be_editable()
        await person.button("Edit").click()
        await expect(note).to_have_count(0)


@pytest.fixture(scope="module")
def strict_url(dictated_stack: Stack) -> Iterator[str]:
    """Parley with room for one message and its reply, and for two tabs: one that is loaded again may be two for
    a moment."""
    with dictated_stack.another_web(LIMIT_MESSAGES="2", LIMIT_SOCKETS_PER_SESSION="2") as url:
        yield url


async def test_a_message_that_is_refused_stays_with_the_reason_and_can_be_sent_again_or_edited(
    person: Person, strict_url: str, model: Dictation
) -> None:
    await person.comes(strict_url)
    await person.says("First")
    await (await model.asked()).ends("Yes.")
    await person.sees_end()
    await person.says("Second")
    note = person.messages.last.get_by_text("Not sent. This conversation is full. Please start a new one.")
    await expect(note).to_be_visible()
    sent: list[str | bytes] = []

    def overhear(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame))  # a list's own method cannot be given to it

    person.page.on("websocket", overhear)
    await person.page.reload()
    await expect(note).to_be_visible()
    await person.button("Send again").click()
    async with asyncio.timeout(PATIENCE):
        while not sent:
            await asyncio.sleep(0.02)
    await expect(note).to_be_visible()
    await person.button("Edit").click()
    await expect(person.composer).to_have_value("Second")
    await expect(person.messages).to_have_count(1)


async def test_a_tab_too_many_says_so_and_comes_in_by_itself_when_another_is_closed(
    person: Person, strict_url: str, model: Dictation
) -> None:
    await person.comes(strict_url)
    second, third = [Person(await person.page.context.new_page()) for _ in range(2)]
    await second.returns(strict_url, person.token)
    await third.page.goto(person.page.url)
    crowded = third.page.get_by_text("Too many tabs are open. Close another tab")
    await expect(crowded).to_be_visible()
    await person.page.close()
    await expect(third.page.get_by_text("Say something to begin.")).to_be_visible(timeout=PATIENCE * 1000)
    await third.is_connected()


async def test_it_all_works_on_an_insecure_origin(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url.replace("127.0.0.1", "parley.test"))
    assert not await person.page.evaluate("isSecureContext")
    await person.says("Hello")
    await (await model.asked()).ends("Good day.")
    await person.sees_end()
    await person.button("Copy reply").click()
    await expect(person.button("Copy reply")).to_have_text("Copied")
    await person.composer.press("ControlOrMeta+v")
    await expect(person.composer).to_have_value("Good day.")
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        said = (await http.get(f"{url}/refresh_token", params={"token": person.token})).json()["messages"]
    assert [message["msg"] for message in said] == ["Human: Hello", "Bot: Good day."]
