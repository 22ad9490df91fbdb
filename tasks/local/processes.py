"""Child processes: what the Procfile says, started, watched and stopped without leaving anything behind.

`python -m tasks.local.processes web` becomes the Procfile's `web` process; images and platforms start it that way.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from tasks.errors import ParleyError

ROOT = Path(__file__).resolve().parents[2]
PROCFILE = ROOT / "Procfile"

#: Seconds between SIGTERM and SIGKILL. Web and worker finish within 8 of their own.
GRACE = 12.0

#: Lines of output kept of each child, for error messages and tests.
KEPT_LINES = 5000

#: Reads until its standard input ends, which happens when this process is gone however it died, and then ends
#: the process group given to it: politely, and after five seconds for good.
LIFELINE = """
read -r _
kill -TERM -$1
left=50
while [ $left -gt 0 ] && kill -0 -$1; do sleep 0.1; left=$((left - 1)); done
kill -KILL -$1
"""

OnLine = Callable[["Child", str], None]


class ProcessError(ParleyError):
    """A process did not start, or ended when it should not have."""


def read_procfile(path: Path = PROCFILE) -> dict[str, str]:
    """The commands of a Procfile by process name, in its order, unexpanded: a shell expands them.

    Raises ProcessError if a line is neither blank, nor a comment, nor `name: command`.
    """
    commands: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(\S.*)", line)
        if not match:
            raise ProcessError(f"{path.name}, line {number}: expected `name: command`.")
        commands[match[1]] = match[2].strip()
    return commands


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment plus `changes`, and this Python's programs (uvicorn, …) found first."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **(changes or {})}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    return env


class NotReadyError(ProcessError):
    """The time to become ready is over."""


class Child:
    """One process in a process group of its own, which dies with this process, however this one dies.

    Its standard output and error are read line by line into `lines` and handed to `on_line`, in a thread.
    A context manager: leaving it stops the process. `restart` starts the same command again.

    Args:
        name: what it is called in errors, and before its lines.
        argv: the command.
        env: what differs from this process's environment.
        cwd: its working directory.
        on_line: called with each line, in a thread.
        pass_fds: file descriptors that it inherits.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path = ROOT,
        on_line: OnLine | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._argv = [str(part) for part in argv]
        self._env = environment(env)
        self._cwd = cwd
        self._on_line = on_line
        self._pass_fds = tuple(pass_fds)
        self.start()

    def start(self) -> None:
        """Start the process. Raises ProcessError if there is no such program."""
        try:
            self._process = subprocess.Popen(
                self._argv,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._pass_fds,
            )
        except OSError as error:
            raise ProcessError(f"{self.name} cannot be started: {error}.") from None
        self._lifeline = subprocess.Popen(
            ["/bin/sh", "-c", LIFELINE, "lifeline", str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started = time.monotonic()
        self._reader = Thread(target=self._read, args=(self._process,), name=f"output of {self.name}", daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip()
                self.lines.append(line)
                if self._on_line:
                    self._on_line(self, line)

    @property
    def pid(self) -> int:
        """The process's id, which is its process group's too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def age(self) -> float:
        """Seconds since its last start."""
        return time.monotonic() - self._started

    @property
    def ended(self) -> str | None:
        """How it ended, in words: `exit code 3` or `SIGKILL`; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it; None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for the end; whether it came."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Ask it to stop: SIGTERM to the process itself, which tells its own children."""
        if self.alive:
            self._process.terminate()

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all its children at once (SIGSTOP freezes a whole worker)."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return

    def kill(self) -> None:
        """End it and all its children at once, with SIGKILL, and wait for that."""
        self.signal_group(signal.SIGKILL)
        self._process.wait()
        self._release()

    def stop(self, grace: float = GRACE) -> None:
        """SIGTERM; after `grace` seconds SIGKILL. Afterwards nothing of it runs. Harmless when it is gone."""
        self.terminate()
        self.wait(grace)
        self.kill()

    def restart(self, grace: float = GRACE) -> None:
        """Stop it if it runs, by SIGKILL after `grace` seconds; then start the same command and environment."""
        self.stop(grace)
        self.start()

    def _release(self) -> None:
        self._lifeline.kill()
        self._lifeline.wait()
        assert self._lifeline.stdin is not None
        self._lifeline.stdin.close()
        # Someone who left the process group may still hold the pipe: what it says is not worth waiting for.
        self._reader.join(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Processes:
    """The Procfile's processes, any number of each, in one environment.

    A context manager: leaving it stops them all, together.
    """

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        procfile: Path = PROCFILE,
        cwd: Path = ROOT,
        on_line: OnLine | None = None,
    ) -> None:
        self.children: list[Child] = []
        self._commands = read_procfile(procfile)
        self._env = dict(env or {})
        self._cwd = cwd
        self._on_line = on_line

    def start(self, kind: str, env: Mapping[str, str] | None = None) -> Child:
        """Start one more `kind` (`web`, `worker`), named `web.1`, `web.2`, …, with `env` on top.

        Raises ProcessError if the Procfile has no such line.
        """
        if kind not in self._commands:
            raise ProcessError(f"The Procfile has no `{kind}`, only {', '.join(self._commands)}.")
        number = sum(child.name.startswith(f"{kind}.") for child in self.children) + 1
        child = Child(
            f"{kind}.{number}",
            ["/bin/sh", "-c", self._commands[kind]],
            {**self._env, **(env or {})},
            cwd=self._cwd,
            on_line=self._on_line,
        )
        self.children.append(child)
        return child

    def stop(self, grace: float = GRACE) -> None:
        """Stop all of them, by SIGKILL those that still run after `grace` seconds."""
        stop_all(self.children, grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop_all(children: Iterable[Child], grace: float = GRACE) -> None:
    """Stop them together: the `grace` (seconds) is shared, not one after the other."""
    children = list(children)
    for child in children:
        child.terminate()
    deadline = time.monotonic() + grace
    for child in children:
        child.stop(max(0.0, deadline - time.monotonic()))


def wait_until(
    ready: Callable[[], bool],
    what: str,
    children: Iterable[Child] = (),
    timeout: float = 60,
    pause: float = 0.05,
) -> None:
    """Return as soon as `ready()` is true; it is asked every `pause` seconds.

    Raises ProcessError with the last words of one of `children` that ends before that, and NotReadyError
    after `timeout` seconds.
    """
    children = list(children)
    deadline = time.monotonic() + timeout
    while not ready():
        for child in children:
            if not child.alive:
                raise ProcessError(last_words(child))
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} was not ready within {timeout:.0f} seconds.")
        time.sleep(pause)


def last_words(child: Child) -> str:
    """One sentence: who ended, how, and the last line it printed."""
    child.kill()  # nothing runs any more; this waits for the rest of its output
    said = next((line.strip() for line in reversed(child.lines) if line.strip()), "it printed nothing")
    return f"{child.name} stopped ({child.ended}): {said}"


def become(kind: str, arguments: Sequence[str] = ()) -> None:
    """Replace this process by the Procfile's `kind`, with `arguments` added to its command."""
    commands = read_procfile()
    if kind not in commands:
        raise ProcessError(f"The Procfile has no `{kind}`, only {', '.join(commands)}.")
    command = " ".join([commands[kind], *map(shlex.quote, arguments)])
    os.chdir(ROOT)
    os.execve("/bin/sh", ["/bin/sh", "-c", command], environment())


if __name__ == "__main__":
    try:
        become(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:])
    except ProcessError as error:
        sys.exit(str(error))
