"""A small hub of our own: lists a repository's files and gives them out, with the faults of real networks."""

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/a-model"

#: Files that are larger are kept as large files, with another hash.
LARGE = 1000


@dataclass
class SmallHub:
    """`files` of `repository` at `commit`, and what goes wrong: `cut_after`: bytes of an answer after which its
    connection is closed, once for each in the list; `pace`: seconds between pieces of 64 KiB; `statuses`: answers
    instead of a file, one for each request; `damaged`: files that come with another byte; `ranges`: whether it knows
    them. `asked`: the paths and first bytes that were asked for."""

    files: Mapping[str, bytes]
    repository: str = REPOSITORY
    commit: str = COMMIT
    cut_after: list[int] = field(default_factory=list)
    pace: float = 0.0
    statuses: list[int] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    ranges: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)
    url: str = ""

    def listing(self) -> list[dict[str, object]]:
        """What the hub's tree call answers."""
        return [{"type": "directory", "oid": "0", "size": 0, "path": "folder"}, *map(self._entry, self.files)]

    def _entry(self, path: str) -> dict[str, object]:
        content = self.files[path]
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, object] = {"type": "file", "oid": git, "size": len(content), "path": path}
        if len(content) > LARGE:
            # There, Git keeps a pointer of this size.
            entry["oid"] = "1" * 40
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: SmallHub

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        files = f"/{self.hub.repository}/resolve/{self.hub.commit}/"
        if path == f"/api/models/{self.hub.repository}/tree/{self.hub.commit}":
            self._answer(200, json.dumps(self.hub.listing()).encode())
        elif path.startswith(files):
            # As the hub does, it sends clients to where large files are kept.
            self.send_response(302)
            self.send_header("Location", path.replace(files, "/store/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.startswith("/store/"):
            self._file(unquote(path.removeprefix("/store/")))
        else:
            self._answer(404, b"")

    def _file(self, name: str) -> None:
        content = self.hub.files[name]
        if name in self.hub.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        wanted = self.headers.get("Range", "bytes=0-")
        begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.hub.asked.append((name, begin))
        if self.hub.statuses:
            self._answer(self.hub.statuses.pop(0), b"")
        elif not self.hub.ranges:
            self._answer(200, content)
        elif begin >= len(content) > 0:
            self._answer(416, b"")
        else:
            self._answer(206, content[begin:], {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        end = self.hub.cut_after.pop(0) if self.hub.cut_after and status in (200, 206) and len(body) > LARGE else None
        for at in range(0, len(body), 1 << 16):
            piece = body[at : at + (1 << 16)]
            if end is not None and at + len(piece) > end:
                self.wfile.write(piece[: end - at])
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(piece)
            time.sleep(self.hub.pace)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def small_hub(files: Mapping[str, bytes], repository: str = REPOSITORY, commit: str = COMMIT) -> Iterator[SmallHub]:
    """The hub, listening while the block lasts."""
    hub = SmallHub(files, repository, commit)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
