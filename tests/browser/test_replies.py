"""What can be done with a reply, and what becomes of one that was stopped or failed."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.dictation import Dictation
from tests.browser.person import Person

#: A refusal that asks for more patience than anyone has, and so fails at once; it may be tried again.
BUSY_FOR_HOURS = (429, b"", "Retry-After: 9999")


async def test_copy_copies_and_says_so(new_person: NewPerson, url: str, model: Dictation) -> None:
    person = await (await new_person(permissions=["clipboard-read", "clipboard-write"])).comes(url)
    await person.says("Hello")
    await (await model.asked()).ends("Some *words* to keep.")
    await person.sees_end()
    await person.button("Copy reply").click()
    await expect(person.button("Copy reply")).to_have_text("Copied")
    await expect(person.reply.get_by_role("status")).to_have_text("Copied.")
    assert await person.page.evaluate("navigator.clipboard.readText()") == "Some *words* to keep."
    await expect(person.button("Copy reply")).to_have_text("Copy")


async def test_regenerate_puts_another_reply_in_the_place_of_the_last(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Say something")
    await (await model.asked()).ends("Something.")
    await person.sees_end()
    await person.button("Regenerate").click()
    second = await model.asked()
    await person.sees_reply("Something.")
    await second.says("Something")
    await person.sees_reply("Something")
    await second.ends(" else.")
    await person.sees_end()
    await person.sees_reply("Something else.")
    await expect(person.replies).to_have_count(1)
    await person.sees_document()
    await person.page.reload()
    await person.sees_reply("Something else.")


async def test_only_the_last_reply_can_be_had_anew(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    for text in ("First", "Second"):
        await person.says(text)
        await (await model.asked()).ends("Yes.")
        await person.sees_end()
    await expect(person.button("Regenerate")).to_have_count(1)
    await expect(person.reply.get_by_role("button", name="Regenerate")).to_be_visible()


async def test_a_stopped_reply_looks_different_and_can_be_retried(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("First")
    await (await model.asked()).ends("Whole.")
    await person.sees_end()
    await person.says("Second")
    await (await model.asked()).says("Hal")
    await person.sees_reply("Hal")
    await person.stop.click()
    await person.sees_end()
    looks = [
        await reply.evaluate("(element) => getComputedStyle(element, '::before').borderLeftStyle")
        for reply in await person.replies.all()
    ]
    assert looks == ["solid", "dashed"]
    await person.reply.get_by_role("button", name="Retry").press("Enter")
    await (await model.asked()).ends("Whole too.")
    await person.sees_end()
    await person.sees_reply("Whole too.")
    await person.sees_document()


@pytest.mark.parametrize("reloaded", [False, True])
async def test_a_failed_reply_says_why_and_can_be_retried_also_after_a_reload(
    person: Person, url: str, model: Dictation, reloaded: bool
) -> None:
    await person.comes(url)
    model.refuses(*BUSY_FOR_HOURS)
    await person.says("Hello?")
    await expect(person.reply).to_contain_text("The model server has more requests than it takes.")
    if reloaded:
        await person.page.reload()
        await expect(person.reply).to_contain_text("The model server has more requests than it takes.")
    await person.button("Retry").click()
    await (await model.asked()).ends("Here I am.")
    await person.sees_end()
    await expect(person.reply).not_to_contain_text("more requests")
    await person.sees_reply("Here I am.")
    await person.sees_document()


async def test_a_failure_can_be_retried_also_where_that_is_unlikely_to_help(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    model.refuses(401)
    await person.says("Hello?")
    await expect(person.reply).to_contain_text("The model is not set up correctly.")
    # The operator has mended it meanwhile.
    await person.button("Retry").click()
    await (await model.asked()).ends("Now.")
    await person.sees_end()
    await person.sees_reply("Now.")


async def test_a_retry_that_fails_leaves_the_first_reply_in_its_place(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Hello")
    await (await model.asked()).ends("Good day.")
    await person.sees_end()
    model.refuses(*BUSY_FOR_HOURS)
    await person.button("Regenerate").click()
    await expect(person.reply).to_contain_text("more requests than it takes")
    await expect(person.reply).to_have_attribute("data-appearance", "whole")
    await person.sees_reply("Good day.")
    await person.page.reload()
    await person.sees_reply("Good day.")
    await expect(person.button("Retry")).to_be_visible()


async def test_a_reply_as_long_as_may_be_says_that_it_was_cut(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Hello")
    reply = await model.asked()
    await reply.says("Good")
    await reply.closes(
        b'data:{"token":{"text":" day","special":false},"generated_text":"Good day",'
        b'"details":{"finish_reason":"length"}}\n\n'
    )
    await expect(person.reply).to_contain_text("Cut off at the length limit.")


async def test_the_last_message_can_be_edited_and_is_answered_anew(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Frist")
    await (await model.asked()).ends("What?")
    await person.sees_end()
    await person.composer.press("ArrowUp")
    await expect(person.composer).to_have_value("Frist")
    await person.says("First")
    await (await model.asked()).ends("I see.")
    await expect(person.messages.locator(".plain")).to_have_text(["First"])
    await person.sees_end()
    await person.sees_reply("I see.")
    await person.sees_document()


async def test_a_reply_that_was_cut_off_can_be_continued(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("Hello")
    reply = await model.asked()
    await reply.says("Good")
    await reply.closes(
        b'data:{"token":{"text":" day","special":false},"generated_text":"Good day",'
        b'"details":{"finish_reason":"length"}}\n\n'
    )
    await person.sees_end()
    await person.button("Continue").click()
    more = await model.asked()
    await more.says(" to")
    await person.sees_reply("Good day to")
    await more.ends(" you.")
    await person.sees_end()
    await person.sees_reply("Good day to you.")
    await person.sees_document()


async def test_another_reply_that_is_stopped_before_its_first_word_leaves_the_first_as_it_was(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Hello")
    await (await model.asked()).ends("Good day.")
    await person.sees_end()
    await person.button("Regenerate").click()
    await model.asked()
    await person.stop.click()
    await person.sees_end()
    await expect(person.reply).not_to_contain_text("Stopped.")
    await person.page.reload()
    await person.sees_reply("Good day.")
    await expect(person.button("Regenerate")).to_be_visible()
