"""The program in a tree of its own, as `make run` starts it there."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.local.processes import ROOT, Child
from tests.support.ports import own_port
from tests.support.processes import eventually

#: Variables that would change what `make run` does.
SETTINGS = (
    *("REDIS_URL", "REDISCLOUD_URL", "MODEL", "MODEL_URL", "STAND_IN_URL", "HOST", "PORT", "MAKEFLAGS", "MAKELEVEL"),
)


class Tree:
    """A copy of the program, where nothing of the real one is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = own_port()
        self.env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        self.env |= {"PORT": str(self.port), "PYTHONUNBUFFERED": "1"}

    def copy(self, *names: str) -> None:
        for name in names:
            source, target = ROOT / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy2(source, target)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @contextmanager
    def running(self, *command: str, **env: str) -> Iterator[Child]:
        """The command, or `python -m tasks.local.run`, as a process of its own session, like in a terminal."""
        argv = command or (sys.executable, "-m", "tasks.local.run")
        # Child adds its environment to ours, so what must be unset is empty.
        unset = dict.fromkeys(SETTINGS, "")
        with Child("run", argv, {**unset, **self.env, **env}, cwd=self.folder) as child:
            yield child

    def fails(self, **env: str) -> str:
        """What it prints when it does not start."""
        with self.running(**env) as child:
            assert child.wait(60)
        said = text(child)  # of which the last may be read only after its end, and was by now
        assert child.returncode == 1, said
        assert "Traceback" not in said
        return said


def whole_tree(folder: Path) -> Tree:
    """The whole program, the page as it is built here."""
    tree = Tree(folder)
    tree.folder.mkdir()
    tree.copy("tasks", "api", "Procfile")
    if (ROOT / "frontend" / "dist").is_dir():
        tree.copy("frontend/dist")
    return tree


def text(child: Child) -> str:
    return "\n".join(child.lines)


def says(child: Child, words: str) -> bool:
    """Whether it says this before it ends; what it says last may be read a little later."""
    eventually(lambda: words in text(child) or not child.alive, 60)
    return eventually(lambda: words in text(child), 5)


def family(child: Child) -> list[int]:
    """The process and all that it started, and their children."""
    return [child.pid, *(process.pid for process in psutil.Process(child.pid).children(recursive=True))]
