"""The lock files, read."""

import re

from tasks.local.processes import ROOT


def pins(file: str) -> dict[str, str]:
    """The lock file's packages, each with its version, marker and hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / file).read_text().strip())
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries), file
    locked: dict[str, str] = {}
    for entry in entries:
        locked[normal(entry)] = locked.get(normal(entry), "") + entry
    return locked


def normal(requirement: str) -> str:
    """A package's name as lock files write it, without extras and versions."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()
