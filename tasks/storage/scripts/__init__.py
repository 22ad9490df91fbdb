"""The scripts that change what is in Redis: each is one step that happens whole or not at all.

They are sent by their hash; a server that does not know them (restarted, failed over) is taught again. Each file's
header names its keys, arguments and result; `common.lua` and `end_reply.lua` hold functions that several of them share.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Script:
    """The text of one Lua script, and the hash by which a server knows it."""

    text: bytes
    sha: str


def _load(*names: str) -> Script:
    text = b"".join((Path(__file__).parent / f"{name}.lua").read_bytes() for name in names)
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


ABANDON = _load("abandon")
ACCEPT = _load("common", "accept")
ADD_METRICS = _load("add_metrics")
CHECK_CHANNEL = _load("check_channel")
CLAIM = _load("common", "claim")
CONTINUE = _load("common", "continue")
CRASH = _load("common", "crash")
CREATE = _load("create")
DELETE = _load("common", "delete")
DUE = _load("common", "due")
EDIT = _load("common", "edit")
FINISH = _load("common", "end_reply", "finish")
HEARTBEAT = _load("heartbeat")
HISTORY = _load("common", "history")
OPEN = _load("common", "open")
RESERVE_SOCKETS = _load("reserve_sockets")
PUBLISH = _load("common", "publish")
RELEASE = _load("common", "release")
RENEW = _load("common", "renew")
RETRY = _load("common", "retry")
START = _load("common", "start")
STOP = _load("common", "end_reply", "stop")
TAKE = _load("common", "take")
