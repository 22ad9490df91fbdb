"""A page that the browser translates: every word of every kind of Markdown stays, and nothing throws."""

import re

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import NewPerson
from tests.browser.dictation import Dictation
from tests.browser.person import Person, comes_true
from tests.browser.test_text import RICH
from tests.support.stack import Stack

#: What translators do: each text node gives way to elements of their own, and so does each one that comes later.
#: Upper case is the foreign language.
TRANSLATE = """() => {
    const replace = (node) => {
        if (node.nodeType !== Node.TEXT_NODE) {
            for (const child of [...node.childNodes]) replace(child);
            return;
        }
        if (!node.data.trim() || !node.parentElement || node.parentElement.closest('font, textarea, script')) return;
        const outer = document.createElement('font');
        outer.append(document.createElement('font'));
        outer.firstChild.textContent = node.data.toUpperCase();
        node.replaceWith(outer);
    };
    replace(document.body);
    new MutationObserver((records) => {
        for (const { type, target, addedNodes } of records) {
            if (type === 'characterData') replace(target);
            else for (const node of addedNodes) replace(node);
        }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""

EVERY_KIND = (
    RICH.replace("print(", "# not a heading\nprint(")
    + """

Two  \nlines and <b>no tag</b>, 1 &lt; 2, ![a cat](https://example.com/cat.png).

- [x] done
- [ ] open, see [the end][1]

| left | right |
|:-----|------:|
| **a** | `b` |

[1]: https://example.com/end

Over."""
)

PROSE = "(prose) => prose.innerText.replaceAll(/\\s+/g, ' ').toUpperCase()"


#: The reply as it stands in the page.
MARKUP = "(document.querySelector('.prose')?.innerHTML ?? '')"


@pytest.mark.parametrize("translated", ["before the first word", "after a reload"])
async def test_a_translated_page_misses_no_word(person: Person, url: str, model: Dictation, translated: str) -> None:
    await person.comes(url)
    if translated == "before the first word":
        await person.page.evaluate(TRANSLATE)
    await person.composer.fill("Tell me all")
    await person.composer.press("Enter")
    reply = await model.asked()
    for piece in re.findall(r"[^a-zA-Z]*[a-zA-Z]+|[^a-zA-Z]+$", EVERY_KIND):
        before = await person.page.evaluate(MARKUP)
        await reply.says(piece)
        # Each piece is drawn, and translated, before the next one comes.
        await comes_true(person.page, f"(before) => {MARKUP} !== before", before)
    await reply.ends(" End.")
    prose = person.page.locator(".by-model[aria-busy=false] .prose")
    await expect(prose).to_contain_text("end.", ignore_case=True)
    seen = await prose.evaluate(PROSE)
    await person.page.reload()
    await expect(prose).to_contain_text("End.")
    wanted = await prose.evaluate(PROSE)
    if translated == "after a reload":
        await person.page.evaluate(TRANSLATE)
        await comes_true(person.page, "document.querySelector('.prose').innerText.includes('END.')")
        seen = await prose.evaluate(PROSE)
        await person.composer.fill("And on")
        await person.composer.press("Enter")
        reply = await model.asked()
        await reply.says("- more **to")
        await expect(person.reply).to_contain_text("MORE")
        await reply.ends("** say.")
        await expect(prose.last).to_contain_text("MORE TO SAY.")
    assert seen == wanted
    await expect(person.page.get_by_text("Something went wrong")).to_have_count(0)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"LIMIT_MESSAGES_PER_MINUTE": "1"}, "TOO MANY MESSAGES IN A SHORT TIME. SENDING AGAIN IN"),
        ({"LIMIT_MESSAGES": "2"}, "NOT SENT. THIS CONVERSATION IS FULL."),
    ],
)
async def test_on_a_translated_page_a_message_that_is_not_sent_says_why(
    person: Person, dictated_stack: Stack, model: Dictation, limit: dict[str, str], said: str
) -> None:
    with dictated_stack.another_web(**limit) as url:
        await person.comes(url)
        await person.page.evaluate(TRANSLATE)
        await person.says("One")
        await (await model.asked()).ends("Over.")
        await shows(person.reply.locator(".prose"), "Over.")
        await person.says("Two")
        note = person.log.locator(".delivery-note")
        await expect(note).to_contain_text(said)
        await expect(note).not_to_contain_text("SENDING…")
    await expect(person.page.get_by_text("Something went wrong", exact=False)).to_have_count(0)


async def test_the_header_leaves_the_window_to_the_conversation_however_long_the_words_of_a_language_are(
    new_person: NewPerson, url: str
) -> None:
    phone = await new_person(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    await phone.comes(url)
    header = phone.page.locator("header.header")
    usual = await header.evaluate("(header) => header.offsetHeight")
    await button(phone, "Menu").evaluate("(button) => { button.textContent = 'Speisekarte'; }")
    await phone.page.locator("h1").evaluate("(title) => { title.textContent = 'Herzlich willkommen, Ada'; }")
    assert await header.evaluate("(header) => header.offsetHeight") < usual + 80
    await expect(phone.page.locator(".home-link [translate=no]")).to_have_text("Parley")


#: A language that is written from right to left, as Chromium's translator sets it.
TO_THE_LEFT = """() => {
    document.documentElement.classList.add('translated-rtl');
    const texts = document.createTreeWalker(document.querySelector('.prose'), NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    for (const text of found) {
        if (text.parentElement.closest('[translate=no]')) continue;
        const font = document.createElement('font');
        font.dir = 'auto';
        font.textContent = '\u0627\u0644\u0633\u0644\u0627\u0645';
        text.replaceWith(font);
    }
}"""


async def test_a_language_from_right_to_left_stands_so_and_code_stays_as_it_is(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Both, please")
    await (await model.asked()).ends("Plain, **bold** and `code`.\n\n- one\n\n```\nx = 1\n```\n")
    await expect(person.reply.locator("pre")).to_have_text("x = 1\n")
    await person.page.evaluate(TO_THE_LEFT)
    for place in (".prose > p", ".prose > ul"):
        await expect(person.reply.locator(place)).to_have_css("direction", "rtl")
    await expect(person.reply.locator("pre")).to_have_css("direction", "ltr")
    await expect(person.reply.locator("p code")).to_have_text("code")


def button(person: Person, name: str) -> Locator:
    """The last button of this name, in either language."""
    return person.page.get_by_role("button", name=re.compile(f"^{name}$", re.IGNORECASE)).last


async def shows(place: Locator, text: str) -> None:
    """Wait until it shows these words, in the foreign language alone."""
    await expect(place).to_have_text(text.upper())


async def test_on_a_translated_page_every_control_does_its_work_and_says_so_in_the_foreign_language(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.page.evaluate(TRANSLATE)
    prose, status = person.reply.locator(".prose"), person.reply.locator(".reply-status")

    await person.says("Hello")
    reply = await model.asked()
    await shows(status, "Writing…")
    await reply.says("Good")
    await shows(prose, "Good")
    await reply.closes(
        b'data:{"token":{"text":" day","special":false},"generated_text":"Good day",'
        b'"details":{"finish_reason":"length"}}\n\n'
    )
    await shows(prose, "Good day")
    await expect(person.reply).to_contain_text("CUT OFF AT THE LENGTH LIMIT.")
    await button(person, "Continue").click()
    await (await model.asked()).ends(" to you.")
    await shows(prose, "Good day to you.")
    await expect(person.reply).not_to_contain_text("CUT OFF")

    await button(person, "Regenerate").click()
    reply = await model.asked()
    await reply.says("Bye")
    await shows(prose, "Bye")
    await button(person, "Stop").click()
    await expect(person.reply).to_contain_text("STOPPED.")
    await button(person, "Retry").click()
    await (await model.asked()).ends("Hello again.")
    await shows(prose, "Hello again.")
    await expect(person.reply).not_to_contain_text("STOPPED.")

    await button(person, "Edit").click()
    await expect(person.composer).to_have_value("Hello")
    await person.says("Hello there")
    model_says = await model.asked()
    await shows(person.messages.locator(".plain"), "Hello there")
    await model_says.ends("There.")
    await shows(prose, "There.")

    model.refuses(503, b'{"error": "Model is loading", "estimated_time": 3}')
    await person.says("And?")
    await shows(status.locator("span").first, "The model is loading. This can take a while.")
    seconds = status.locator(".countdown")
    await expect(seconds).to_have_text(re.compile(r"^ TRYING AGAIN IN \d+ S\.$"))
    before = await seconds.text_content()
    await expect(seconds).not_to_have_text(before or "")
    await (await model.asked()).ends("Now.")
    await shows(prose, "Now.")
    await expect(person.page.get_by_text("Something went wrong", exact=False)).to_have_count(0)

    await button(person, "Menu").click()
    await button(person, "Delete conversation").click()
    await button(person, "Delete").click()
    await expect(button(person, "Start chat")).to_be_visible()
