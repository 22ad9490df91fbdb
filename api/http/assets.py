"""The page's scripts and styles. Their names change with what is in them, so browsers keep them for ever."""

import gzip
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOR_EVER = "public, max-age=31536000, immutable"
#: Share of a file's size below which its compressed form is worth sending.
WORTH_IT = 0.9


@dataclass(frozen=True)
class Asset:
    """A file, its compressed form if that is smaller, and its media type."""

    plain: bytes
    compressed: bytes | None
    media_type: str | None


class Assets:
    """All files of a folder, in memory and compressed once.

    To compress a script for each visitor takes 10 ms, in which the event loop serves nobody else.
    """

    def __init__(self, folder: Path) -> None:
        self._assets = {file.name: _read(file) for file in folder.iterdir() if file.is_file()}

    def response(self, name: str, request: Request) -> Response:
        """The answer to a GET of this file."""
        asset = self._assets.get(name)
        if asset is None:
            return Response(status_code=404)
        headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.plain, media_type=asset.media_type, headers=headers)


def _read(file: Path) -> Asset:
    plain = file.read_bytes()
    compressed = gzip.compress(plain, mtime=0)
    media_type, _ = mimetypes.guess_type(file.name)
    return Asset(plain, compressed if len(compressed) < WORTH_IT * len(plain) else None, media_type)
