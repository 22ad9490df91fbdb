"""The conversations of this browser: found again on home, begun anew, taken away, and carried out of the page."""

import json
from pathlib import Path

import httpx
from playwright.async_api import Locator, expect

from tests.browser.conftest import NewPerson
from tests.browser.dictation import Dictation
from tests.browser.person import Person
from tests.support.client import PATIENCE


async def status(url: str, token: str) -> int:
    """What the server says of a conversation."""
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        return (await http.get(f"{url}/refresh_token", params={"token": token})).status_code


async def talks(person: Person, model: Dictation, text: str) -> None:
    """Say something and have an answer."""
    await person.says(text)
    await (await model.asked()).ends(f"Yes, {text}.")
    await person.sees_end()


def recents(person: Person) -> Locator:
    """The list on home."""
    return person.page.get_by_role("region", name="Recent conversations").get_by_role("listitem")


async def test_a_new_conversation_does_not_lose_the_old_one(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    old = person.token
    await talks(person, model, "About the sea")
    await person.button("Menu").click()
    await person.button("New conversation").click()
    await expect(person.page.get_by_text("Say something to begin.")).to_be_visible()
    await expect(person.page.get_by_role("heading", name="Welcome Ada")).to_be_visible()
    assert person.token != old
    await talks(person, model, "About the hills")
    await person.page.goto(url)
    await expect(recents(person)).to_have_count(2)
    await expect(recents(person).first).to_contain_text("About the hills")
    await person.page.get_by_role("link", name="About the sea").click()
    await expect(person.messages).to_contain_text("About the sea")
    assert person.token == old


async def test_back_leads_to_the_conversation_before(person: Person, url: str, model: Dictation) -> None:
    await person.comes(url)
    await talks(person, model, "About the sea")
    await person.button("Menu").click()
    await person.button("New conversation").click()
    await expect(person.messages).to_have_count(0)
    await person.page.go_back()
    await expect(person.messages).to_contain_text("About the sea")


async def test_the_list_is_of_this_browser_only(
    person: Person, new_person: NewPerson, url: str, model: Dictation
) -> None:
    await person.comes(url)
    other = await new_person()
    await other.page.goto(url)
    await expect(recents(other)).to_have_count(0)
    await person.page.goto(url)
    await expect(recents(person)).to_have_count(1)


async def test_a_conversation_can_be_taken_from_the_list_or_deleted_for_everyone(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    kept = person.token
    await talks(person, model, "To be forgotten")
    await person.comes(url)
    deleted = person.token
    await talks(person, model, "To be deleted")
    await person.page.goto(url)
    await recents(person).filter(has_text="forgotten").get_by_role("button").click()
    await expect(person.button("Cancel")).to_be_focused()
    await person.button("Cancel").click()
    await recents(person).filter(has_text="forgotten").get_by_role("button").click()
    await person.button("Remove from this list").click()
    await expect(recents(person)).to_have_count(1)
    await recents(person).get_by_role("button").click()
    await person.button("Delete for everyone").click()
    await expect(recents(person)).to_have_count(0)
    await person.page.reload()
    await expect(person.button("Start chat")).to_be_visible()
    await expect(recents(person)).to_have_count(0)
    assert [await status(url, token) for token in (kept, deleted)] == [200, 400]


async def test_a_conversation_can_be_deleted_from_within_and_its_other_tabs_say_so(
    person: Person, url: str, model: Dictation
) -> None:
    await person.comes(url)
    token = person.token
    await talks(person, model, "Secret")
    other = await Person(await person.page.context.new_page()).returns(url, token)
    await person.button("Menu").click()
    await person.button("Delete conversation").click()
    await expect(person.page.get_by_role("group", name="Delete for everyone?")).to_be_visible()
    await person.button("Delete").click()
    await expect(person.button("Start chat")).to_be_visible()
    await expect(recents(person)).to_have_count(0)
    await expect(other.page.get_by_role("heading", name="This conversation is over.")).to_be_visible()
    assert await status(url, token) == 400


async def test_a_conversation_can_be_exported_as_markdown_and_as_json(
    person: Person, url: str, model: Dictation, tmp_path: Path
) -> None:
    await person.comes(url)
    await talks(person, model, "Of *stars* 🙂")
    texts = {}
    for kind in ("Markdown", "JSON"):
        await person.button("Menu").click()
        async with person.page.expect_download() as downloading:
            await person.button(f"Export as {kind}").click()
        download = await downloading.value
        await download.save_as(tmp_path / download.suggested_filename)
        texts[download.suggested_filename] = (tmp_path / download.suggested_filename).read_text()
    assert set(texts) == {"parley.md", "parley.json"}
    exported = json.loads(texts["parley.json"])
    assert exported["name"] == "Ada"
    assert [message["text"] for message in exported["messages"]] == ["Of *stars* 🙂", "Yes, Of *stars* 🙂."]
    assert texts["parley.md"].startswith("# Ada and ")
    assert texts["parley.md"].index("\nOf *stars* 🙂\n") < texts["parley.md"].index("\nYes, Of *stars* 🙂.\n")
    assert person.token not in "".join(texts.values())


async def test_the_link_can_be_copied_and_what_it_means_is_said(new_person: NewPerson, url: str) -> None:
    person = await (await new_person(permissions=["clipboard-read", "clipboard-write"])).comes(url)
    await person.button("Menu").click()
    await expect(person.page.get_by_text("Whoever has this link can read and write here.")).to_be_visible()
    await person.button("Copy link").click()
    await expect(person.page.get_by_text("Copied.")).to_be_visible()
    assert await person.page.evaluate("navigator.clipboard.readText()") == f"{url}/chat/{person.token}"


async def test_a_name_that_the_server_refuses_is_explained_in_its_words(person: Person, url: str) -> None:
    await person.page.goto(url)
    await person.page.get_by_label("Enter your name to start chat").fill("x" * 201)
    await person.button("Start chat").click()
    await expect(person.page.get_by_role("alert")).to_contain_text("200")
    await expect(person.button("Start chat")).to_be_enabled()
