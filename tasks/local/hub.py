"""Downloads a model from the hub: goes on where it was broken off, and keeps only what has the right hash.

A file is written under its name with `.part` at the end, and gets its name once its size and its hash are right.
A folder is complete once the file `.complete` in it names the commit. So both can be trusted after any kill.
"""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from tasks.local.computer import free_disk
from tasks.local.errors import DownloadError

#: Where the hub is, unless HF_ENDPOINT, its own client's variable, names a mirror.
ENDPOINT = "https://huggingface.co"

#: Seconds without a byte after which a connection counts as cut.
READ_TIMEOUT = 30.0

#: Seconds before each new try that follows a connection which brought nothing; then the download gives up.
PAUSES = (0.5, 1.0, 2.0)

#: Bytes of a stored part that are read at once.
PIECE = 1 << 20

#: Called with the bytes that are there, and the bytes in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository on the hub, at one commit."""

    repository: str
    commit: str


class _LargeFile(BaseModel):
    oid: str


class RemoteFile(BaseModel):
    """An entry of the hub's listing. `oid` is Git's hash; of a large file, the SHA-256 is in `lfs`."""

    type: str
    path: str
    size: int
    oid: str
    lfs: _LargeFile | None = None


_LISTING = TypeAdapter(list[RemoteFile])


class Part:
    """The part of `file` that is there, in a file of its own."""

    def __init__(self, file: RemoteFile, stored: BinaryIO) -> None:
        self._file = file
        self._stored = stored
        self._begin()
        stored.seek(0)
        while piece := stored.read(PIECE):
            self._count(piece)

    def add(self, piece: bytes) -> None:
        """Store more of it."""
        self._stored.write(piece)
        self._count(piece)

    def restart(self) -> None:
        """Forget what was stored."""
        self._stored.truncate(0)
        self._begin()

    @property
    def right(self) -> bool:
        """Whether all of it is there and is what the hub listed."""
        wanted = self._file.lfs.oid if self._file.lfs else self._file.oid
        return self.size == self._file.size and self._hash.hexdigest() == wanted

    def _begin(self) -> None:
        self.size = 0
        # Git hashes a file with its length in front.
        git = b"blob %d\0" % self._file.size
        self._hash = hashlib.sha256() if self._file.lfs else hashlib.sha1(git, usedforsecurity=False)

    def _count(self, piece: bytes) -> None:
        self.size += len(piece)
        self._hash.update(piece)


def is_complete(hub: Hub, folder: Path) -> bool:
    """Whether all of the model is in `folder`."""
    marker = folder / ".complete"
    return marker.exists() and marker.read_text() == hub.commit


def download(hub: Hub, folder: Path, progress: Progress) -> None:
    """Download what is missing in `folder`; `progress` is called after each piece.

    Raises DownloadError. What has come by then stays and is not downloaded again.
    """
    if is_complete(hub, folder):
        return
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _client() as client:
            _Download(client, hub, folder, progress).run()
        (folder / ".complete").write_text(hub.commit)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DownloadError(
                f"The disk with {folder} is full: free some room and run the same command again; it goes on there."
            ) from None
        raise DownloadError(f"The model cannot be stored in {folder}: {error.strerror}.") from None


def _client() -> httpx.Client:
    return httpx.Client(
        base_url=os.environ.get("HF_ENDPOINT") or ENDPOINT,
        # A compressed answer has other bytes than those that a range counts.
        headers={"Accept-Encoding": "identity"},
        follow_redirects=True,
        timeout=READ_TIMEOUT,
    )


class _Download:
    """One run of a download."""

    def __init__(self, client: httpx.Client, hub: Hub, folder: Path, progress: Progress) -> None:
        self._client = client
        self._hub = hub
        self._folder = folder
        self._progress = progress

    def run(self) -> None:
        """Download all that is missing. Raises DownloadError and OSError."""
        files = self._list()
        total = sum(file.size for file in files)
        done = sum(_size(self._target(file)) + _size(_part(self._target(file))) for file in files)
        self._check_disk(total - done)
        done = 0
        for file in files:
            if not self._target(file).exists():
                self._fetch(file, partial(self._tell, done, total))
            done += file.size
            self._progress(done, total)

    def _tell(self, before: int, total: int, size: int) -> None:
        self._progress(before + size, total)

    def _list(self) -> list[RemoteFile]:
        try:
            response = self._client.get(
                f"/api/models/{self._hub.repository}/tree/{self._hub.commit}", params={"recursive": "true"}
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code != 200:
            raise self._refused(response.status_code)
        try:
            return [file for file in _LISTING.validate_json(response.content) if file.type == "file"]
        except ValidationError:
            raise DownloadError(
                f"{self._client.base_url} does not answer as the hub does: check HF_ENDPOINT."
            ) from None

    def _target(self, file: RemoteFile) -> Path:
        target = self._folder / file.path
        if not target.resolve().is_relative_to(self._folder.resolve()):
            raise DownloadError(f"The hub lists {file.path!r}, which lies outside the model's folder.")
        return target

    def _check_disk(self, missing: int) -> None:
        free = free_disk(self._folder)
        if free < missing:
            raise DownloadError(
                f"The model needs {missing / 1e9:.1f} GB more on the disk with {self._folder}; {free / 1e9:.1f} are "
                "free: free some room, or set LOCAL_MODEL_FOLDER to another disk."
            )

    def _fetch(self, file: RemoteFile, progress: Callable[[int], None]) -> None:
        target = self._target(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part(target).open("ab+") as stored:
            part = Part(file, stored)
            self._complete(file, part, progress)
            # A power cut must not leave an empty file under a name that says it is whole.
            stored.flush()
            os.fsync(stored.fileno())
        if not part.right:
            _part(target).unlink()
            raise DownloadError(
                f"{file.path} came damaged, so it was deleted: run the same command again to download it anew."
            )
        _part(target).rename(target)

    def _complete(self, file: RemoteFile, part: Part, progress: Callable[[int], None]) -> None:
        """Add what is missing to `part`, over as many connections as that takes."""
        pauses = iter(PAUSES)
        while part.size < file.size:
            before = part.size
            try:
                trouble = self._append(file, part, progress)
            except httpx.HTTPError as error:
                trouble = str(error)
            if part.size > before:
                pauses = iter(PAUSES)
            elif (pause := next(pauses, None)) is not None:
                time.sleep(pause)
            else:
                raise DownloadError(
                    f"The download broke off ({trouble}): run the same command again; it goes on where it was."
                )

    def _append(self, file: RemoteFile, part: Part, progress: Callable[[int], None]) -> str:
        """Add what one connection brings; why it may have brought nothing."""
        address = f"/{self._hub.repository}/resolve/{self._hub.commit}/{quote(file.path)}"
        with self._client.stream("GET", address, headers={"Range": f"bytes={part.size}-"}) as response:
            if response.status_code in (200, 416):
                part.restart()  # the server knows no ranges, or the file is shorter than its part
            elif response.status_code != 206 and not _passing(response.status_code):
                raise self._refused(response.status_code)
            if response.is_success:
                for piece in response.iter_bytes():
                    part.add(piece)
                    progress(part.size)
            return f"the hub answered with status {response.status_code}"

    def _unreachable(self, error: httpx.HTTPError) -> DownloadError:
        return DownloadError(
            f"{self._client.base_url.host} cannot be reached ({error}): connect this computer to the network, or set "
            "HTTPS_PROXY or HF_ENDPOINT. MODEL=smollm2 needs only the Python package index."
        )

    def _refused(self, status: int) -> DownloadError:
        if status == 429 or status >= 500:
            return DownloadError(
                f"The hub is busy or out of order (status {status}): run the same command again later."
            )
        return DownloadError(
            f"The hub does not give out {self._hub.repository} (status {status}): it was moved, or a mirror in "
            "HF_ENDPOINT does not have it."
        )


def _passing(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status == 429 or status >= 500


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
