"""Whatever the network does, the page ends up equal to the document, and says what is going on meanwhile."""

import asyncio
import re

import pytest
from playwright.async_api import WebSocketRoute, expect

from tasks.storage.keys import ConversationKeys, conversation_id
from tests.browser.conftest import NewPerson
from tests.browser.dictation import Dictation
from tests.browser.network import Network
from tests.browser.person import Person, comes_true, halt
from tests.support.servers import connect
from tests.support.stack import Stack

LOST = "Connection lost. Reconnecting… What you write is saved."


async def test_a_short_break_is_not_worth_a_word_and_a_longer_one_is(
    person: Person, network: Network, model: Dictation
) -> None:
    await person.page.clock.install()
    await person.comes(network.url)
    await halt(person.page)
    network.refusing = True
    network.cut()
    await expect(person.page.get_by_role("img", name="Connecting")).to_be_visible()
    banner = person.page.get_by_role("status", name="Connection")
    await person.page.clock.run_for(1_400)
    await expect(banner).to_be_empty()
    await expect(person.page.get_by_role("img", name="Connecting")).to_be_visible()
    await person.page.clock.run_for(200)
    await expect(banner).to_contain_text(LOST)
    await expect(person.page.get_by_role("img", name="Not connected")).to_be_visible()
    # There is none while a try is under way, which would take the button away if it succeeded.
    await expect(person.button("Connect now")).to_be_visible()
    network.refusing = False
    await person.button("Connect now").click()
    await person.is_connected()
    await expect(banner).to_be_empty()


async def test_offline_for_a_while_in_mid_reply(person: Person, network: Network, model: Dictation) -> None:
    await person.comes(network.url)
    await person.says("Tell me")
    reply = await model.asked()
    await reply.says("One")
    await person.sees_reply("One")
    await network.goes(person)
    await reply.says(" two")
    await reply.ends(" three.")
    await person.sees_reply("One")
    await network.returns(person)
    await person.sees_end()
    await person.sees_reply("One two three.")
    await person.sees_document()


async def test_offline_until_another_reply_runs(person: Person, network: Network, url: str, model: Dictation) -> None:
    await person.comes(network.url)
    other = await Person(await person.page.context.new_page()).returns(url, person.token)
    await person.says("First")
    reply = await model.asked()
    await reply.says("On")
    await person.sees_reply("On")
    network.refusing = True
    network.cut()
    await reply.ends("e.")
    await other.says("Second")
    second = await model.asked()
    await second.says("Tw")
    await other.sees_reply("Tw")
    network.refusing = False
    await person.sees_reply("Tw")
    await second.ends("o.")
    await person.sees_end()
    await person.sees_document()
    assert await person.transcript() == await other.transcript()


async def test_a_network_that_says_nothing_any_more_is_left_when_the_browser_finds_another(
    person: Person, network: Network, model: Dictation
) -> None:
    await person.comes(network.url)
    await person.says("Tell me")
    reply = await model.asked()
    await reply.says("One")
    await person.sees_reply("One")
    network.hold()
    await reply.ends(" two.")
    await person.page.context.set_offline(True)
    network.cut()
    network.release()
    await person.page.context.set_offline(False)
    await person.sees_end()
    await person.sees_reply("One two.")
    await person.sees_document()


async def with_signs_of_life(person: Person) -> None:
    """The server gives a sign of life at once, so that no test has to wait for one."""

    def routed(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            socket.send(message)
            socket.send('{"type":"alive"}')

        server.on_message(pass_on)

    await person.page.route_web_socket(re.compile("/chat"), routed)


@pytest.mark.parametrize(("under_way", "seconds"), [(True, 16), (False, 30)])
async def test_a_network_that_swallows_everything_is_noticed_and_the_conversation_goes_on(
    person: Person, new_person: NewPerson, network: Network, model: Dictation, under_way: bool, seconds: int
) -> None:
    await with_signs_of_life(person)
    await person.page.clock.install()
    await person.comes(network.url)
    await person.says("Tell me")
    reply = await model.asked()
    await reply.says("One")
    await person.sees_reply("One")
    if not under_way:
        await reply.ends(".")
        await person.sees_end()
    network.swallow()
    # From another browser: this one would ask for the page over a connection that is swallowed as well.
    other = await (await new_person()).returns(network.url, person.token)
    if under_way:
        await reply.ends(" two.")
    else:
        await other.says("Again")
        await (await model.asked()).ends("Two.")
    await other.sees_end()
    await expect(person.page.get_by_role("img", name="Connected", exact=True)).to_be_visible()
    await person.page.clock.run_for(seconds * 1000)
    await expect(person.messages).to_have_count(1 if under_way else 2)
    await person.sees_end()
    await person.sees_document()


async def test_a_message_that_redis_forgot_is_sent_again(
    person: Person, network: Network, dictated_stack: Stack, model: Dictation
) -> None:
    """A Redis that lost its last second: the message was accepted, and then it was not there any more."""
    await person.comes(network.url)
    await person.says("First")
    await (await model.asked()).ends("Yes.")
    await person.sees_end()
    keys = ConversationKeys(conversation_id(person.token))
    names = (keys.document, keys.state, keys.events, keys.ids)
    with connect(dictated_stack.redis.url) as client:
        saved = {name: client.dump(name) for name in names}
        await person.says("Precious")
        await person.sees_accepted()
        await (await model.asked()).says("Half")
        network.refusing = True
        network.cut()
        for name, value in saved.items():
            client.restore(name, 0, value or b"", replace=True)
    network.refusing = False
    await (await model.asked()).ends("Whole.")
    await expect(person.messages).to_have_count(2)
    await person.sees_end()
    await expect(person.reply).to_contain_text("Whole.")
    await person.sees_document()


async def test_a_reload_without_a_network_shows_the_conversation_as_last_seen(
    person: Person, network: Network, model: Dictation
) -> None:
    page = person.page
    await person.comes(network.url)
    token = person.token
    await person.says("Remember this")
    await (await model.asked()).ends("I shall.")
    await person.sees_end()
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await comes_true(page, "Object.keys(localStorage).some((key) => key.startsWith('parley:seen:'))")
    network.refusing = True
    network.cut()
    await page.reload()
    await expect(page.get_by_text("As last seen")).to_be_visible()
    await expect(person.messages.locator(".plain")).to_have_text(["Remember this"])
    await person.sees_reply("I shall.")
    await person.says("Meanwhile")
    await expect(person.log.get_by_text("Saved. Will be sent when you are back online.")).to_be_visible()
    network.refusing = False
    await (await model.asked()).ends("Later.")
    await expect(person.messages).to_have_count(2)
    await person.sees_end()
    await expect(page.get_by_text("As last seen")).to_have_count(0)
    await person.sees_document()
    await person.button("Menu").click()
    await person.button("Delete conversation").click()
    await person.button("Delete").click()
    await expect(person.button("Start chat")).to_be_visible()
    kept: list[str] = await page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    assert not [key for key in kept if token in key]


async def test_a_phone_that_slept_catches_up(phone: Person, network: Network, model: Dictation) -> None:
    await phone.comes(network.url)
    await phone.composer.fill("Good night")
    await phone.button("Send").tap()
    reply = await model.asked()
    await reply.says("Sleep")
    await phone.sees_reply("Sleep")
    session = await phone.page.context.new_cdp_session(phone.page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    network.cut()
    await reply.ends(" well.")
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await phone.sees_end()
    await phone.sees_reply("Sleep well.")
    await phone.sees_document()


async def test_a_server_that_restarts_is_named_so_and_the_page_comes_back_by_itself(
    person: Person, dictated_stack: Stack, model: Dictation
) -> None:
    web = dictated_stack.start_web()
    url = f"http://127.0.0.1:{dictated_stack.ports.pop()}"
    try:
        await person.comes(url)
        await person.says("Tell me")
        reply = await model.asked()
        await reply.says("One")
        await person.sees_reply("One")
        await asyncio.to_thread(web.stop)
        await expect(person.page.get_by_text("The server is restarting.")).to_be_visible()
        await person.says("Meanwhile")
        await reply.ends(" two.")
        await asyncio.to_thread(web.restart)
        # It tries at least every 15 seconds, and a busy machine takes its time to start a server.
        await expect(person.page.get_by_role("img", name="Connected", exact=True)).to_be_visible()
        await (await model.asked()).ends("Later.")
        await expect(person.replies.locator(".prose")).to_have_text(["One two.", "Later."])
        await person.sees_document()
    finally:
        await person.page.close()
        await asyncio.to_thread(web.stop)


async def test_a_proxy_that_lets_no_websocket_pass_is_named_in_a_sentence(
    person: Person, network: Network, model: Dictation
) -> None:
    network.refuses_upgrade = True
    await person.page.clock.install()
    await person.page.goto(network.url)
    await person.page.get_by_label("Enter your name to start chat").fill("Ada")
    await person.button("Start chat").click()
    banner = person.page.get_by_role("status", name="Connection")
    await expect(banner).to_contain_text("must let WebSockets pass")
    await expect(banner).not_to_contain_text("JSON")
    await person.says("Can you hear me?")
    # A try of its own that succeeded would take the button away before it is pressed.
    await halt(person.page)
    await expect(person.button("Connect now")).to_be_visible()
    network.refuses_upgrade = False
    await person.button("Connect now").click()
    await person.page.clock.resume()
    await (await model.asked()).ends("I can.")
    await person.sees_end()
    await expect(banner).to_be_empty()
    await person.sees_document()


async def test_a_conversation_that_expires_in_mid_use_offers_to_start_anew_with_what_was_written(
    person: Person, url: str, dictated_stack: Stack, model: Dictation
) -> None:
    await person.comes(url)
    old = person.token
    await person.says("Hello")
    await (await model.asked()).ends("Good day.")
    await person.sees_end()
    keys = ConversationKeys(conversation_id(old))
    with connect(dictated_stack.redis.url) as client:
        client.delete(keys.document, keys.state, keys.events, keys.ids)
    await person.says("Are you still there?")
    await expect(person.page.get_by_role("heading", name="This conversation is over.")).to_be_focused()
    await expect(person.page.get_by_role("region", name="What you had not sent")).to_contain_text(
        "Are you still there?"
    )
    await expect(person.page.get_by_label("Enter your name to start chat")).to_have_value("Ada")
    await person.button("Start a new chat").click()
    await person.is_connected()
    await expect(person.composer).to_have_value("Are you still there?")
    assert person.token != old
    await person.composer.press("Enter")
    await (await model.asked()).ends("I am.")
    await person.sees_end()
    await person.sees_document()


async def test_ten_tabs_end_equal_to_the_document(person: Person, network: Network, model: Dictation) -> None:
    await person.comes(network.url)
    tabs = [Person(await person.page.context.new_page()) for _ in range(9)]
    await asyncio.gather(*[tab.returns(network.url, person.token) for tab in tabs])
    tabs.append(person)
    for number, tab in enumerate(tabs[:3]):
        await tab.says(f"Message {number}")
        await expect(person.messages).to_have_count(number + 1)
    first = await model.asked()
    await first.says("One")
    network.cut()
    await first.says(" two")
    await asyncio.gather(*[tab.page.reload() for tab in tabs[::3]])
    await first.ends(" three.")
    second = await model.asked()
    await second.says("Half")
    for tab in tabs:
        await expect(tab.replies.nth(1)).to_contain_text("Half")
    await tabs[5].stop.click()
    await (await model.asked()).ends("All.")
    for tab in tabs:
        await expect(tab.replies.locator(".prose")).to_have_text(["One two three.", "Half", "All."])
        await tab.sees_document()


async def test_nothing_is_lost_of_what_slow_and_quick_tabs_say_at_once(
    person: Person, url: str, model: Dictation
) -> None:
    await model.let_go()
    await person.comes(url)
    tabs = [person, *[Person(await person.page.context.new_page()) for _ in range(3)]]
    for number, tab in enumerate(tabs):
        session = await tab.page.context.new_cdp_session(tab.page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": 1 if number % 2 else 10})
        await tab.returns(url, person.token)
    said = [[f"{name}{number}" for number in range(8)] for name in "ABCD"]

    async def say(tab: Person, texts: list[str]) -> None:
        for text in texts:
            await tab.says(text)

    await asyncio.gather(*map(say, tabs, said))
    for tab in tabs:
        await expect(tab.messages).to_have_count(32)
        await tab.sees_accepted()
        await tab.sees_document()
    shown = await person.messages.locator(".plain").all_text_contents()
    assert [[text for text in shown if text[0] == name] for name in "ABCD"] == said
