"""Who may import whom: api from tasks and never the other way, no circles, and no part knows the tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules(folder: str) -> dict[str, Path]:
    """The modules of a folder by their names."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports: names of `known` modules where there are such, else of packages."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            base = node.module or ""
            within = {f"{base}.{alias.name}" for alias in node.names} & known.keys()
            found |= within
            if len(within) < len(node.names):
                found.add(base)
    return found


TASKS, API = modules("tasks"), modules("api")
OURS = TASKS | API


@pytest.mark.parametrize("name", TASKS)
def test_tasks_never_import_api_nor_tests(name: str) -> None:
    assert not [found for found in imports(TASKS[name], OURS) if found.split(".")[0] in ("api", "tests", "frontend")]


@pytest.mark.parametrize("name", API)
def test_api_never_imports_tests(name: str) -> None:
    assert not [found for found in imports(API[name], OURS) if found.split(".")[0] in ("tests", "frontend")]


def test_imports_go_in_no_circle() -> None:
    graph = {name: imports(path, OURS) & OURS.keys() - {name} for name, path in OURS.items()}
    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}
    assert not graph, f"these import each other: {sorted(graph)}"


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("from tasks import two\n")
    two.write_text("import tasks.one\n")
    known = {"tasks.one": one, "tasks.two": two}
    assert imports(one, known) == {"tasks.two"}
    assert imports(two, known) == {"tasks.one"}


def test_only_the_actors_set_the_broker() -> None:
    setting = [name for name, path in OURS.items() if "set_broker(" in path.read_text()]
    assert setting == ["tasks.actors"]


def test_the_web_process_does_not_load_what_only_a_worker_needs() -> None:
    for name in ("tasks.actors", "tasks.worker.runtime", "tasks.model.client"):
        users = [user for user, path in API.items() if name in imports(path, OURS)]
        assert users == [], f"{name} is imported by {users}"


def test_the_page_knows_only_the_wire() -> None:
    sources = (ROOT / "frontend" / "src").rglob("*.ts*")
    outside = [path.name for path in sources if any(f"/{name}/" in path.read_text() for name in ("api", "tasks"))]
    assert outside == []
