"""The page over HTTPS, through Caddy as docker-compose.yml has it."""

from pathlib import Path

from playwright.async_api import expect

from tests.browser.conftest import NewPerson
from tests.support.caddy import caddy
from tests.support.stack import Stack


async def test_a_person_chats_through_caddy_over_https(new_person: NewPerson, stack: Stack, tmp_path: Path) -> None:
    with caddy(stack.ports[0], tmp_path) as url:
        person = await new_person(ignore_https_errors=True)
        await person.comes(url)
        await person.says("Is this line safe?")
        await expect(person.reply).to_contain_text("safe")
        await person.page.reload()
        await person.is_connected()
        await expect(person.reply).to_contain_text("safe")
