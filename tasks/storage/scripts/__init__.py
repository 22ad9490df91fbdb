"""The scripts that change what is in Redis: each is one step that happens whole or not at all.

They are sent by their hash; a server that does not know them (restarted, failed over) is taught again.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Script:
    """One Lua script: its text, and the hash that Redis knows it by."""

    text: bytes
    sha: str


def _load(*names: str) -> Script:
    text = b"".join((Path(__file__).parent / f"{name}.lua").read_bytes() for name in names)
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


ABANDON = _load("abandon")
ACCEPT = _load("notify", "accept")
INTERVAL = _load("beat")
CLAIM = _load("claim")
DELETE = _load("notify", "delete")
FETCH = _load("fetch")
FINISH = _load("notify", "finish")
HOLD = _load("hold")
PUBLISH = _load("notify", "publish")
RELEASE = _load("release")
RENEW = _load("renew")
RETRY = _load("retry")
START = _load("notify", "start")
TAKE = _load("take")

ALL = (ABANDON, ACCEPT, INTERVAL, CLAIM, DELETE, FETCH, FINISH, HOLD, PUBLISH, RELEASE, RENEW, RETRY, START, TAKE)
