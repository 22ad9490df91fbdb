"""Downloading a model: it goes on where it was broken off, and only what has the right hash is kept."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tasks.local import hub as downloading
from tasks.local.errors import DownloadError
from tasks.local.hub import Hub, download, is_complete
from tasks.local.processes import ROOT
from tests.support.hub import COMMIT, REPOSITORY, SmallHub, small_hub

HUB = Hub(REPOSITORY, COMMIT)
WEIGHTS = random.Random(1).randbytes(1_000_000)
FILES = {"config.json": b'{"layers": 28}', "openvino_model.bin": WEIGHTS, "folder/merges and more.txt": b"a b\n"}

#: Downloads as `make run MODEL=…` does, from the hub in the environment into the folder given.
CHILD = f"""
import sys
from pathlib import Path
from tasks.local.hub import Hub, download
download(Hub({REPOSITORY!r}, {COMMIT!r}), Path(sys.argv[1]), lambda done, total: print(done, flush=True))
"""


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    monkeypatch.setattr(downloading, "PAUSES", (0.0, 0.0))
    with small_hub(FILES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def get(folder: Path) -> list[tuple[int, int]]:
    """Download; what the progress was told."""
    told: list[tuple[int, int]] = []
    download(HUB, folder, lambda done, total: told.append((done, total)))
    return told


def stored(folder: Path) -> dict[str, bytes]:
    """What lies in the folder, besides the mark that it is complete."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".complete"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_all_files_of_the_commit_come(remote: SmallHub, tmp_path: Path) -> None:
    told = get(tmp_path)
    assert stored(tmp_path) == FILES
    assert is_complete(HUB, tmp_path)
    total = sum(map(len, FILES.values()))
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_official_client_reads_our_hub_as_we_do(remote: SmallHub) -> None:
    entries = HfApi(endpoint=remote.url).list_repo_tree(REPOSITORY, revision=COMMIT, recursive=True)
    sizes = {entry.path: entry.size for entry in entries if hasattr(entry, "size")}
    assert sizes == {path: len(content) for path, content in FILES.items()}


def test_a_complete_model_needs_no_network(remote: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    get(tmp_path)
    assert stored(tmp_path) == FILES


def test_another_commit_is_not_taken_for_this_one(remote: SmallHub, tmp_path: Path) -> None:
    get(tmp_path)
    assert not is_complete(Hub(REPOSITORY, "another"), tmp_path)


def test_a_connection_that_breaks_is_made_again_where_it_was(remote: SmallHub, tmp_path: Path) -> None:
    remote.cut_after = [300_000, 200_000, 0]
    get(tmp_path)
    assert stored(tmp_path) == FILES
    assert [begin for name, begin in remote.asked if name == "openvino_model.bin"] == [0, 300_000, 500_000, 500_000]


def test_a_download_that_was_killed_goes_on_where_it_was(remote: SmallHub, tmp_path: Path) -> None:
    remote.pace = 0.05
    part = tmp_path / "openvino_model.bin.part"
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout
        while int(child.stdout.readline()) < 200_000:
            pass
        os.kill(child.pid, signal.SIGKILL)
    came = part.stat().st_size
    assert 0 < came < len(WEIGHTS)
    remote.asked.clear()
    remote.pace = 0
    get(tmp_path)
    assert stored(tmp_path) == FILES
    assert ("openvino_model.bin", came) in remote.asked
    assert all(name != "config.json" for name, _ in remote.asked)


def test_a_hub_that_knows_no_ranges_is_read_from_the_start(remote: SmallHub, tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin.part").write_bytes(WEIGHTS[:1000])
    remote.ranges = False
    get(tmp_path)
    assert stored(tmp_path) == FILES


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(remote: SmallHub, tmp_path: Path) -> None:
    remote.statuses = [503, 429]
    get(tmp_path)
    assert stored(tmp_path) == FILES


def test_a_damaged_file_is_deleted_and_comes_anew(remote: SmallHub, tmp_path: Path) -> None:
    remote.damaged = {"openvino_model.bin"}
    with pytest.raises(DownloadError, match=r"openvino_model\.bin came damaged.*again"):
        get(tmp_path)
    assert "openvino_model.bin" not in stored(tmp_path)
    assert not is_complete(HUB, tmp_path)
    remote.damaged.clear()
    get(tmp_path)
    assert stored(tmp_path) == FILES


def test_a_small_file_is_checked_too(remote: SmallHub, tmp_path: Path) -> None:
    remote.damaged = {"config.json"}
    with pytest.raises(DownloadError, match=r"config\.json came damaged"):
        get(tmp_path)


def test_a_part_of_something_else_is_not_taken(remote: SmallHub, tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin.part").write_bytes(b"x" * 5000)
    with pytest.raises(DownloadError, match="came damaged"):
        get(tmp_path)
    get(tmp_path)
    assert stored(tmp_path) == FILES


def test_a_hub_that_brings_nothing_ends_it_in_a_sentence(remote: SmallHub, tmp_path: Path) -> None:
    remote.cut_after = [0] * 10
    with pytest.raises(DownloadError, match=r"broke off.*run the same command again; it goes on where it was"):
        get(tmp_path)


def test_without_a_network_it_says_what_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached.*MODEL=smollm2"):
        get(tmp_path)


def test_a_model_that_was_moved_is_told(remote: SmallHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"does not give out someone/other \(status 404\)"):
        download(Hub("someone/other", COMMIT), tmp_path, lambda done, total: None)


def test_a_listing_cannot_write_outside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_hub({"../outside.txt": b"x"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(DownloadError, match="outside the model's folder"):
            get(tmp_path / "model")
    assert not (tmp_path / "outside.txt").exists()


def test_too_little_room_is_told_before_anything_comes(
    remote: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "free_disk", lambda folder: 1000)
    with pytest.raises(DownloadError, match=r"needs 0\.0 GB more.*LOCAL_MODEL_FOLDER"):
        get(tmp_path)
    assert stored(tmp_path) == {}


def test_a_disk_that_fills_up_is_told_and_what_came_is_kept(remote: SmallHub, tmp_path: Path) -> None:
    """On a real file system of its own, too small by half."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a file system: {mounted.stderr.strip()}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Another program takes the room after it was looked for.
            patch.setattr(downloading, "free_disk", lambda folder: 10**9)
            with pytest.raises(DownloadError, match=r"The disk with .* is full: free some room.*goes on there"):
                get(folder)
        shutil.copytree(folder, tmp_path / "larger")
        assert (folder / "openvino_model.bin.part").stat().st_size > 0
    finally:
        subprocess.run(["umount", folder], check=True)
    get(tmp_path / "larger")
    assert stored(tmp_path / "larger") == FILES
