"""The README and CONTRIBUTING say what the code does: settings, frames, commands, close codes."""

import json
import re
from pathlib import Path

import pytest

from api import frames
from tasks.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def settings_table() -> dict[str, tuple[str, str]]:
    """Name to (default, meaning), as the README has them."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in rows}


def default_of(name: str) -> str:
    """A setting's default as the README writes it."""
    value = Settings.model_fields[name].default
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value}`"


def test_every_setting_stands_in_the_readme_with_its_default_and_meaning() -> None:
    expected = {name.upper(): (default_of(name), field.description) for name, field in Settings.model_fields.items()}
    assert settings_table() == expected


@pytest.mark.parametrize("side", ["server", "client"])
def test_every_frame_of_the_examples_stands_in_contributing(side: str) -> None:
    examples = json.loads((ROOT / "tests" / "wire" / f"{side}.json").read_text())
    types = {example["frame"]["type"] for example in examples if isinstance(example["frame"], dict)}
    assert types
    assert [type for type in types if f"`{type}`" not in CONTRIBUTING] == []


def test_every_close_code_stands_in_contributing() -> None:
    codes = {value for value in vars(frames).values() if isinstance(value, int) and 1000 <= value < 5000}
    assert codes
    assert [code for code in codes if str(code) not in CONTRIBUTING] == []


def test_every_room_stands_in_contributing() -> None:
    rooms = [path.stem for folder in ("tasks", "api") for path in (ROOT / folder).glob("*.py")]
    assert [room for room in rooms if room != "__init__" and f"`{room}`" not in CONTRIBUTING] == []


def test_every_package_that_is_needed_stands_in_the_readme_with_its_reason() -> None:
    needed = re.findall(
        r'^  "([a-z-]+)', (ROOT / "pyproject.toml").read_text().split("# What the tests")[0], re.MULTILINE
    )
    page = json.loads((ROOT / "frontend" / "package.json").read_text())["dependencies"]
    table = README.split("## What it is built on")[1].split("\n## ")[0]
    assert [name for name in (*needed, *page) if name not in table] == []


def test_every_command_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README + CONTRIBUTING)) | set(
        re.findall(r"^make ([a-z-]+)", README, re.M)
    )
    assert named
    assert named - targets == set()
