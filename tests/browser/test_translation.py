"""A page that the browser translates: every word of every kind of Markdown stays, and nothing throws."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.dictation import Dictation
from tests.browser.person import Person, comes_true
from tests.browser.test_text import RICH

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
