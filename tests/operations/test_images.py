"""What the image holds is all that its commands need: each command that a platform names runs from it.

There may be no Docker engine here, so a folder is made as the last stage of the Dockerfile makes it: the packages of
requirements.txt alone, the same copies, no other environment, nothing that can be written.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tasks.local.processes import ROOT, Child, read_procfile, wait_until
from tests.support.client import Chat, new_token
from tests.support.missing import missing
from tests.support.ports import own_port
from tests.support.stack import Stack, answers

#: An image's user is nobody; so is the user here, where this Python can be run by others than its owner.
NOBODY = 65534


def last_stage() -> list[str]:
    """The instructions of the Dockerfile's last stage, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    first = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return [line for line in lines[first + 1 :] if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder that the image's WORKDIR would be."""
    if not (ROOT / "frontend" / "dist").is_dir():
        missing("The page is not built.")
    folder = Path(tempfile.mkdtemp(prefix="image"))
    folder.chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    install = [f"{folder}/.venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
    done = subprocess.run([*install, str(ROOT / "requirements.txt")], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"requirements.txt cannot be installed here: {done.stderr[-500:]}")
    for line in last_stage():
        match shlex.split(line):
            case ["COPY", "--from=packages", *_]:
                continue  # the packages, which are installed above
            case ["COPY", "--from=page", _, target]:
                shutil.copytree(ROOT / "frontend" / "dist", folder / target)
            case ["COPY", source, target]:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, folder / target)
            case ["RUN", *command]:
                subprocess.run(command, cwd=folder, env=environment(folder), check=True)
    yield folder
    shutil.rmtree(folder)


def environment(folder: Path) -> dict[str, str]:
    """The image's own variables and no other."""
    path = f"{folder}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}


def cleared(command: list[str], folder: Path, env: dict[str, str]) -> list[str]:
    """The command in the image's folder and environment, as nobody if possible."""
    variables = [f"{name}={value}" for name, value in {**environment(folder), **env}.items()]
    able = os.geteuid() == 0 and shutil.which("setpriv") is not None
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # Through `env`: a process that gives up its rights has them until it becomes another program.
    tried = [*drop, "env", f"{folder}/.venv/bin/python", "-c", ""]
    works = able and not subprocess.run(tried, capture_output=True, check=False).returncode
    return [*(drop if works else ()), "env", "-i", "-C", str(folder), *variables, *command]


def compose() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def commands(kind: str) -> dict[str, list[str]]:
    """Every command that starts web or worker, by who names it."""
    render = {service["name"]: service for service in yaml.safe_load((ROOT / "render.yaml").read_text())["services"]}
    given = {
        "compose": compose()[kind]["command"],
        "Render": shlex.split(render["parley" if kind == "web" else "parley-worker"]["dockerCommand"]),
        "Heroku": ["/bin/sh", "-c", read_procfile()[kind]],
    }
    if kind == "web":
        (own,) = [line.removeprefix("CMD ") for line in last_stage() if line.startswith("CMD ")]
        given["Dockerfile"] = json.loads(own)
    return given


def settings_of(who: str, stack: Stack, **more: str) -> dict[str, str]:
    """What each platform gives its processes, with this test's addresses in place of its own."""
    env = {"MODEL_URL": stack.model_url, "STAND_IN_URL": stack.model_url, "HOST": "127.0.0.1", **more}
    match who:
        case "Render":
            node = getattr(stack.redis, "nodes", [stack.redis])[0]
            return {**env, "REDIS_HOSTPORT": f"127.0.0.1:{node.port}"}
        case "Heroku":
            return {**env, "REDISCLOUD_URL": stack.redis.url}
        case _:
            return {**env, "REDIS_URL": stack.redis.url}


@pytest.mark.parametrize("who", commands("web"))
async def test_web_and_worker_run_from_what_the_image_holds_as_each_platform_starts_them(
    own_stack: Stack, image: Path, who: str
) -> None:
    port = own_port()
    start = {kind: commands(kind).get(who, commands(kind)["compose"]) for kind in ("web", "worker")}
    env = settings_of(who, own_stack, PORT=str(port), WORKER_CONCURRENCY="8")
    with (
        Child("web", cleared(start["web"], image, env), cwd=image) as web,
        Child("worker", cleared(start["worker"], image, env), cwd=image) as worker,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/readyz"), "the image", [web, worker])
        async with Chat(url, await new_token(url)) as chat:
            await chat.send("Does the image work?")
            await chat.until("reply.finished")
        assert answers(f"{url}/")
        if who == "compose":
            assert health_of("web", 3500, image, port) == 0
            web.stop()
            assert health_of("web", 3500, image, port) != 0


def test_the_stand_in_runs_from_what_the_image_holds(image: Path) -> None:
    port = own_port()
    command = [str(port) if word == "8000" else word for word in compose()["standin"]["command"]]
    with Child("stand-in", cleared(command, image, {}), cwd=image) as child:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "the stand-in", [child])


@pytest.mark.parametrize("service", ["local", "gptj"])
def test_the_health_check_of_a_model_server_passes_only_while_it_answers(service: str, image: Path) -> None:
    """The stand-in has the address that both servers have."""
    port = own_port()
    command = [str(port) if word == "8000" else word for word in compose()["standin"]["command"]]
    with Child("stand-in", cleared(command, image, {}), cwd=image) as child:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "the stand-in", [child])
        assert health_of(service, 8000, image, port) == 0
    assert health_of(service, 8000, image, port) != 0


def test_the_health_check_of_redis_passes_only_while_it_carries_out_commands(single_stack: Stack) -> None:
    program, *rest = compose()["redis"]["healthcheck"]["test"][1:]
    if shutil.which(program) is None:
        missing(f"There is no {program} here.")
    asked = [program, "-p", str(single_stack.redis.port), *rest]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
    with redis.Redis.from_url(single_stack.redis.url) as client:
        client.config_set("requirepass", "secret")
        assert subprocess.run(asked, capture_output=True, check=False).returncode != 0
        client.config_set("requirepass", "")
    single_stack.redis.kill()
    assert subprocess.run(asked, capture_output=True, check=False).returncode != 0


def health_of(service: str, own: int, image: Path, port: int) -> int:
    """The exit code of a container's health check, asked at another port than the container's own."""
    kind, *command = compose()[service]["healthcheck"]["test"]
    assert kind == "CMD"
    asked = [word.replace(f"127.0.0.1:{own}", f"127.0.0.1:{port}") for word in command]
    return subprocess.run(cleared(asked, image, {}), capture_output=True, check=False).returncode
