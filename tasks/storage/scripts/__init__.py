"""The scripts that change what is in Redis: each is one step that happens whole or not at all.

They are sent by their hash; a server that does not know them (restarted, failed over) is taught again.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Script:
    """The text of one Lua script."""

    text: bytes


def _load(*names: str) -> Script:
    return Script(b"".join((Path(__file__).parent / f"{name}.lua").read_bytes() for name in names))


ABANDON = _load("abandon")
ACCEPT = _load("notify", "accept")
ADD_METRICS = _load("add_metrics")
HEARTBEAT = _load("heartbeat")
CLAIM = _load("claim")
CRASH = _load("crash")
DELETE = _load("notify", "delete")
FINISH = _load("notify", "finish")
HOLD = _load("hold")
PUBLISH = _load("notify", "publish")
RELEASE = _load("release")
RENEW = _load("renew")
RETRY = _load("retry")
START = _load("notify", "start")
TAKE = _load("take")
