"""Processes from a Procfile: started as a shell would, heard, and stopped without leaving anything behind."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tasks.local.processes import (
    ROOT,
    Child,
    NotReadyError,
    ProcessError,
    Processes,
    read_procfile,
    stop_all,
    wait_until,
)
from tests.support.processes import eventually, gone

#: Ignores SIGTERM, and so does its child, whose id it prints.
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo $!; while :; do wait; done"]

#: Starts a child that sleeps and prints its id, then sleeps itself.
PARENT = """
import time
from tasks.local.processes import Child
child = Child("sleeper", ["sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def procfile(folder: Path, text: str) -> Path:
    path = folder / "Procfile"
    path.write_text(text)
    return path


def first_line(child: Child) -> str:
    assert eventually(lambda: len(child.lines) > 0)
    return child.lines[0]


def test_a_procfile_is_names_and_commands_in_order(tmp_path: Path) -> None:
    text = "# how to start\n\nweb: exec serve --port ${PORT:-80}\nworker:exec work\n"
    assert read_procfile(procfile(tmp_path, text)) == {
        "web": "exec serve --port ${PORT:-80}",
        "worker": "exec work",
    }
    assert list(read_procfile(procfile(tmp_path, "b: 1\na: 2"))) == ["b", "a"]


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="line 2"):
        read_procfile(procfile(tmp_path, "web: serve\nnonsense\n"))


def test_our_procfile_has_web_and_worker_and_each_replaces_its_shell() -> None:
    commands = read_procfile()
    assert list(commands) == ["web", "worker"]
    assert all(" exec " in f" {command}" for command in commands.values())


def test_a_shell_expands_the_command_with_the_environment_given(tmp_path: Path) -> None:
    lines = procfile(tmp_path, "web: exec echo port ${PORT:-3500} host ${HOST:-none}\n")
    with Processes({"HOST": "here"}, procfile=lines) as processes:
        assert first_line(processes.start("web")) == "port 3500 host here"
        assert first_line(processes.start("web", {"PORT": "80"})) == "port 80 host here"


def test_several_of_a_kind_have_numbers_and_an_unknown_kind_is_an_error(tmp_path: Path) -> None:
    lines = procfile(tmp_path, "worker: exec sleep 1000\n")
    with Processes(procfile=lines) as processes:
        names = [processes.start("worker").name for _ in range(3)]
        assert names == ["worker.1", "worker.2", "worker.3"]
        with pytest.raises(ProcessError, match="no `web`, only worker"):
            processes.start("web")
    assert all(gone(child.pid) for child in processes.children)


def test_every_line_of_output_is_kept_and_passed_on_even_if_it_is_not_utf_8() -> None:
    heard: list[str] = []
    command = r"printf 'one\ntw\377o\n'; echo three >&2"
    with Child("speaker", ["/bin/sh", "-c", command], on_line=lambda child, line: heard.append(line)) as child:
        assert child.wait(20)
    assert heard == list(child.lines) == ["one", "tw\ufffdo", "three"]


def test_a_program_that_does_not_exist_is_an_error_in_one_sentence() -> None:
    with pytest.raises(ProcessError, match=r"^ghost cannot be started: .*nowhere"):
        Child("ghost", ["/nowhere/at/all"])


def test_what_ignores_sigterm_is_killed_with_its_children() -> None:
    child = Child("stubborn", STUBBORN)
    grandchild = int(first_line(child))
    child.stop(grace=0.1)
    assert child.ended == "SIGKILL"
    assert gone(child.pid)
    assert eventually(lambda: gone(grandchild))


def test_what_its_leader_leaves_behind_is_killed_too() -> None:
    child = Child("careless", ["/bin/sh", "-c", "sleep 1000 & echo $!"])
    grandchild = int(first_line(child))
    assert child.wait(20)
    child.stop()
    assert child.returncode == 0
    assert eventually(lambda: gone(grandchild))


def test_a_process_gets_its_grace_to_stop_by_itself() -> None:
    polite = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    child = Child("polite", ["/bin/sh", "-c", polite])
    first_line(child)
    child.stop()
    assert child.ended == "exit code 3"
    assert list(child.lines) == ["up", "bye"]


def test_many_share_one_grace() -> None:
    children = [Child(f"stubborn.{number}", STUBBORN) for number in range(3)]
    for child in children:
        first_line(child)
    stop_all(children, grace=0.1)
    assert [child.ended for child in children] == ["SIGKILL"] * 3


def test_a_killed_process_can_be_started_again_with_the_same_command() -> None:
    with Child("sleeper", ["sleep", "1000"]) as child:
        first = child.pid
        child.kill()
        assert (child.alive, child.returncode) == (False, -signal.SIGKILL)
        child.restart()
        assert child.alive
        assert child.pid != first


def test_a_frozen_process_is_alive_and_can_be_stopped() -> None:
    with Child("sleeper", ["sleep", "1000"]) as child:
        child.signal_group(signal.SIGSTOP)
        assert eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        assert child.alive
        child.stop(grace=0.1)
    assert gone(child.pid)


def test_children_die_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert eventually(lambda: gone(pid))


def test_nothing_is_left_of_the_lifeline_either() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with Child("sleeper", ["sleep", "1000"]):
        pass
    # Of those before, one may have gone by itself.
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def test_waiting_ends_with_the_last_words_of_a_child_that_ended() -> None:
    with (
        Child("loser", ["/bin/sh", "-c", "echo first; echo Out of luck.; exit 7"]) as child,
        pytest.raises(ProcessError, match=r"^loser stopped \(exit code 7\): Out of luck\.$"),
    ):
        wait_until(lambda: False, "It", [child])


def test_waiting_ends_when_the_time_is_over() -> None:
    with pytest.raises(NotReadyError, match="It was not ready"):
        wait_until(lambda: False, "It", timeout=0)


@pytest.mark.parametrize(("kind", "program"), [("web", "uvicorn"), ("worker", "dramatiq")])
def test_a_process_becomes_what_the_procfile_says(kind: str, program: str) -> None:
    become = [sys.executable, "-m", "tasks.local.processes", kind, "--help"]
    said = subprocess.run(become, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"usage: {program}" in said.lower()


def test_becoming_something_unknown_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.local.processes", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "The Procfile has no `nothing`, only web, worker.\n")
