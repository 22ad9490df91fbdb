"""Every wait is explained where it happens, and the explanation goes when it is over."""

import re

from playwright.async_api import Locator, expect

from tests.browser.dictation import Dictation
from tests.browser.person import Person
from tests.support.stack import Stack

#: A sentence and the seconds left.
COUNTING = r" Trying again in \d+ s\.$"


async def is_over(note: Locator) -> None:
    """The sentence has gone."""
    await expect(note).to_have_count(0)


async def test_a_reply_that_has_no_words_yet_says_that_it_is_being_written(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Hello")
    reply = await model.asked()
    note = person.reply.get_by_text("Writing…")
    await expect(note).to_be_visible()
    await reply.says("Good")
    await is_over(note)
    await reply.ends(" day.")
    await person.sees_document()


async def test_a_loading_model_is_counted_down(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    model.refuses(503, b'{"error":"Model is currently loading","estimated_time":5.0}')
    await person.says("Hello")
    note = person.reply.locator("p", has_text="The model is loading. This can take a while.")
    await expect(note).to_have_text(re.compile(COUNTING))
    await (await model.asked()).ends("Awake.")
    await is_over(note)
    await person.sees_end()
    await person.sees_document()


async def test_a_model_that_asks_for_a_pause_is_counted_down_also_after_a_reload(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    # Long enough for a busy machine to see it, load the page again, and see it once more.
    model.refuses(429, b"", "Retry-After: 12")
    await person.says("Hello")
    note = person.reply.locator("p", has_text="The model is busy.")
    await expect(note).to_have_text(re.compile(COUNTING))
    await person.page.reload()
    await expect(note).to_have_text(re.compile(COUNTING))
    await (await model.asked()).says("Rested")
    await is_over(note)
    await person.sees_reply("Rested")


async def test_a_reply_that_breaks_off_is_tried_again_and_keeps_its_words_meanwhile(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Hello")
    reply = await model.asked()
    await reply.says("One two")
    await person.sees_reply("One two")
    model.refuses(429, b"", "Retry-After: 3")
    await reply.closes()
    await expect(person.reply.get_by_text(re.compile("model is busy|No answer from the model"))).to_be_visible()
    await person.sees_reply("One two")
    await (await model.asked()).ends(" three.")
    await person.sees_end()
    await person.sees_reply("One two three.")
    await is_over(person.reply.get_by_text(re.compile("model is busy|No answer from the model")))
    await person.sees_document()


async def test_without_a_worker_the_message_waits_and_is_answered_when_one_comes(
    person: Person, own_stack: Stack
) -> None:
    own_stack.start_web()
    own_stack.pace(rate=0)
    await person.comes(own_stack.url)
    await person.says("Is anybody there?")
    note = person.reply.get_by_text("Nobody can answer just now. Your message is kept")
    await expect(note).to_be_visible()
    await person.page.reload()
    await expect(note).to_be_visible()
    own_stack.start_worker()
    await is_over(note)
    await person.sees_end()
    await person.sees_document()


async def test_with_the_storage_away_what_is_said_is_kept_and_goes_out_when_it_is_back(
    person: Person, own_stack: Stack
) -> None:
    own_stack.start_web()
    own_stack.start_worker()
    own_stack.wait_ready()
    # The reply must not be over before the storage is away.
    own_stack.pace(rate=5)
    await person.comes(own_stack.url)
    await person.says("First")
    await expect(person.reply.locator(".prose")).to_be_visible()
    own_stack.redis.kill()
    away = person.reply.get_by_text("The server cannot reach its storage just now.")
    await expect(away).to_be_visible()
    await person.says("Second")
    kept = person.log.get_by_text("The server cannot save messages just now.")
    await expect(kept).to_be_visible()
    own_stack.redis.start()
    own_stack.pace(rate=0)
    await is_over(away)
    await is_over(kept)
    await expect(person.replies).to_have_count(2)
    await person.sees_document()
