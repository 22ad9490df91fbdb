"""What the page is made of: the size of its built JavaScript, and how its files call for one another."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUILT = Path(__file__).parents[2] / "frontend" / "dist"

#: Bytes.
MOST_JAVASCRIPT = 90_000


def gzipped_javascript() -> int:
    """Bytes of all built scripts, each compressed as well as gzip can."""
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in BUILT.rglob("*.js"))


@dataclass
class Requests:
    """Every file a page asked for, as Chromium reports them."""

    #: By address: how many answers had to come, one after the other, before it could be asked for.
    rounds: dict[str, int] = field(default_factory=dict)
    #: Bytes that came over the wire, by address.
    sent: dict[str, int] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)

    def asked(self, event: dict[str, Any]) -> None:
        """Network.requestWillBeSent."""
        address = event["request"]["url"]
        self._addresses[event["requestId"]] = address
        self.rounds[address] = self._round(event["initiator"]) if self.rounds else 0

    def came(self, event: dict[str, Any]) -> None:
        """Network.loadingFinished."""
        self.sent[self._addresses[event["requestId"]]] = int(event["encodedDataLength"])

    def _round(self, initiator: dict[str, Any]) -> int:
        """The document and what it names are one answer apart; what a script asks for is one more."""
        calls = initiator.get("stack", {}).get("callFrames", [])
        caller = initiator.get("url") or (calls[0]["url"] if calls else "")
        return self.rounds.get(caller, 0) + 1
