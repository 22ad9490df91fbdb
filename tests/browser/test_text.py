"""What people and models write: shown safely, whole, and within the window."""

import pytest
from playwright.async_api import Request, expect

from tests.browser.dictation import Dictation
from tests.browser.person import Person, style

#: Each would run, load or lead somewhere if it were taken at its word.
DANGEROUS = (
    "<script>window.harmed = 1</script>",
    "<img src=/harm.png onerror=window.harmed=1>",
    "![a picture](https://harm.test/picture.png)",
    "[press](javascript:window.harmed=1)",
    "[or here](data:text/html,<script>window.harmed=1</script>)",
    "<a href=javascript:window.harmed=1>there</a>",
    "<style>body { display: none }</style>",
    "<iframe src=https://harm.test/></iframe>",
)

STRANGE = {
    "from right to left": "שלום עולם, זה משפט ארוך מספיק כדי להישבר. مرحبا بالعالم",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈🙂" * 200,
    "combining marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘ " * 20,
    "a word of 4,000 letters": "W" * 4_000,
    "an address without a break": "https://example.com/" + "a/b?c=d&" * 300,
    "wide characters": "漢字" * 1_500,
}

RICH = """# Of tides

Some **strong** and *slanted* words, `code`, ~~none~~ and [a place](https://example.com/).

1. one
2. two
   - inner

> A saying.

| moon | tide |
|------|------|
| full | high |

```python
print("a line of code that is far too long for the window of a small phone, and so has to scroll by itself")
```

---

The end."""


async def test_what_a_model_writes_as_html_is_shown_and_never_run(person: Person, url: str, model: Dictation) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    await person.comes(url)
    person.page.on("request", note)
    await person.says("Harm me")
    reply = await model.asked()
    await reply.says("Here:\n\n")
    for text in DANGEROUS:
        await reply.says(text + "\n\n")
    await reply.ends("[a safe one](https://example.com/?a=1&b=2) and <mailto:ada@example.com>.")
    await person.sees_end()
    await expect(person.reply).to_contain_text(DANGEROUS[0])
    await expect(person.reply).to_contain_text("<style>")
    prose = person.reply.locator(".prose")
    assert (
        await prose.evaluate("(prose) => prose.querySelectorAll('script, img, style, iframe, [onerror]').length") == 0
    )
    links = await prose.locator("a").evaluate_all("(links) => links.map((a) => [a.href, a.rel, a.target])")
    assert [link[0] for link in links] == [
        "https://harm.test/picture.png",
        "https://example.com/?a=1&b=2",
        "mailto:ada@example.com",
    ]
    assert all("noopener" in link[1] and "noreferrer" in link[1] and link[2] == "_blank" for link in links)
    await prose.get_by_text("press").click()
    assert await person.page.evaluate("window.harmed") is None
    assert not [address for address in asked if "harm" in address]


async def test_what_a_person_writes_is_plain_text(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    text = "**not bold** <b>nor this</b>\n\n  [no](https://example.com/)"
    await person.says(text)
    await expect(person.messages.locator(".plain")).to_have_text(text, use_inner_text=True)
    assert await person.messages.locator(".plain").evaluate("(plain) => plain.childElementCount") == 0


async def test_markdown_is_drawn_also_while_a_fence_is_open_and_code_can_be_copied(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    await person.says("Write some")
    reply = await model.asked()
    before, after = RICH.split("print")
    await reply.says(before + "print(1")
    await expect(person.reply.locator("pre")).to_have_text("print(1")
    await reply.ends(after[after.index(")") :])
    await person.sees_end()
    await expect(person.reply.locator("pre")).to_have_text("print(1)\n".strip())
    for tag in ("strong", "em", "del", "ol > li", "ul > li", "blockquote", "table", "hr"):
        await expect(person.reply.locator(tag).first).to_be_visible()
    await person.button("Copy code").click()
    await expect(person.button("Copy code")).to_have_text("Copied")


async def test_on_a_phone_no_word_of_a_table_breaks_in_its_middle(phone: Person, url: str, model: Dictation) -> None:
    await phone.comes(url)
    await phone.composer.fill("Tell me")
    await phone.button("Send").tap()
    await (await model.asked()).ends(
        "| Planet | Diameter in kilometres | Distance |\n|:--|--:|:-:|\n| Mercury | 4,879 | incomprehensibly far |"
    )
    await phone.sees_end()
    broken = await phone.reply.locator("th, td").evaluate_all(
        """(cells) => cells.flatMap((cell) => cell.textContent.split(' ').map((word) => {
            const text = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT).nextNode();
            const range = new Range();
            const start = text.data.indexOf(word);
            range.setStart(text, start);
            range.setEnd(text, start + word.length);
            return [word, range.getClientRects().length];
        })).filter(([, lines]) => lines > 1)"""
    )
    assert broken == []
    await phone.fits()


@pytest.mark.parametrize("kind", STRANGE)
async def test_nothing_overflows_on_a_phone_whatever_is_written(
    phone: Person, url: str, model: Dictation, kind: str
) -> None:
    text = STRANGE[kind][:4_000]
    await phone.comes(url, STRANGE[kind][:150])
    await phone.composer.fill(text)
    await phone.fits()
    await phone.button("Send").tap()
    await phone.sees_accepted()
    await (await model.asked()).ends(f"{text}\n\n- {text}\n\n`{text}`\n\n{RICH}")
    await phone.sees_end()
    await phone.fits()
    await phone.page.get_by_role("button", name="Menu").tap()
    await phone.fits()
    await phone.page.goto(url)
    await expect(phone.page.get_by_role("heading", name="Recent conversations")).to_be_visible()
    await phone.fits()


async def test_what_is_written_from_right_to_left_stands_so(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await person.says("שלום עולם")
    await (await model.asked()).ends("مرحبا بالعالم\n\n> اقتباس\n\n- שלום\n\n- עולם")
    await person.sees_end()
    assert await style(person.messages.locator(".plain"), "direction") == "rtl"
    for element in (".prose > p", "blockquote", "ul"):
        assert await style(person.reply.locator(element), "direction") == "rtl"
    await expect(person.composer).to_have_attribute("dir", "auto")
