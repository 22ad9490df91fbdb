"""Who may import whom: the order that CONTRIBUTING lists, and of other packages only what they show."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SIDES = ("tasks", "api")


def modules(folder: str) -> dict[str, Path]:
    """The modules of a folder by their names."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports: names of `known` modules where there are such, else of packages.

    An import for type checkers alone makes no arrow.
    """
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
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


def promised_order(side: str) -> dict[str, int]:
    """The place of each module in CONTRIBUTING's table for `tasks` or `api`: a module imports only from those above."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.split(f"**{side}/**", 1)[1].split("\n\n**", 1)[0].split("\n## ", 1)[0]
    names: list[str] = []
    for row in re.findall(r"^\| (.+?) \| (.+?) \|", table, re.MULTILINE):
        package = re.findall(r"`([\w/]+)`", row[0])
        prefix = f"{side}." if not package or not package[0].endswith("/") else f"{side}.{package[0][:-1]}."
        listed = row[1] if prefix != f"{side}." else row[0]
        names += [prefix + name for name in re.findall(r"`([a-z_]+)(?:/|\.py)?`", listed)]
    assert len(names) == len(set(names)), f"a module stands in two places: {names}"
    return {name: place for place, name in enumerate(names)}


def arrows_up(graph: dict[str, set[str]], order: dict[str, int]) -> list[str]:
    """The imports of a module that stands below the one it is imported by."""

    def place(module: str) -> int:
        # A package that the table names as one, such as the stand-in, counts as one module.
        return next(order[name] for name in (module, module.rsplit(".", 1)[0]) if name in order)

    return [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if place(other) > place(module)
    ]


TASKS, API = modules("tasks"), modules("api")
OURS = TASKS | API


def packages_and_modules(side: str) -> dict[str, set[str]]:
    """The imports within one side, without those that a package's own opening paragraph stands for."""
    mine = modules(side)
    return {
        name: {other for other in imports(path, OURS) & mine.keys() if other != name and not is_package(other)}
        for name, path in mine.items()
        if not is_package(name)
    }


def is_package(name: str) -> bool:
    """Whether a name is that of a folder which only groups modules."""
    return name.count(".") < 2 and OURS[name].name == "__init__.py" and "scripts" not in name


@pytest.mark.parametrize("side", SIDES)
def test_every_module_stands_in_contributing_and_imports_only_from_those_above_it(side: str) -> None:
    order, graph = promised_order(side), packages_and_modules(side)
    missing = [name for name in graph if not {name, name.rsplit(".", 1)[0]} & order.keys()]
    assert missing == []
    assert [name for name in order if name not in OURS] == []
    assert arrows_up(graph, order) == []


def test_an_arrow_that_runs_up_would_be_found() -> None:
    order = promised_order("tasks")
    assert arrows_up({"tasks.storage.keys": {"tasks.worker.lease"}}, order)
    assert not arrows_up({"tasks.worker.lease": {"tasks.storage.keys"}}, order)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_never_import_api_nor_tests(name: str) -> None:
    assert not [found for found in imports(TASKS[name], OURS) if found.split(".")[0] in ("api", "tests", "frontend")]


@pytest.mark.parametrize("name", API)
def test_api_never_imports_tests(name: str) -> None:
    assert not [found for found in imports(API[name], OURS) if found.split(".")[0] in ("tests", "frontend")]


def test_packages_import_each_other_in_no_circle() -> None:
    def package(module: str) -> str:
        parts = module.split(".")
        return ".".join(parts[:2])

    graph: dict[str, set[str]] = {}
    for name, path in OURS.items():
        found = {package(other) for other in imports(path, OURS) & OURS.keys()}
        graph.setdefault(package(name), set()).update(found - {package(name), "tasks", "api"})
    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize("name", [name for name, path in OURS.items() if path.name == "__init__.py"])
def test_each_package_says_what_belongs_there(name: str) -> None:
    assert len((ast.get_docstring(ast.parse(OURS[name].read_text())) or "").split()) > 8


#: Public and documented in spite of their underscores: os._exit, and _replace of named tuples.
DOCUMENTED = ("_exit", "_replace")


def private_doors(source: str) -> list[str]:
    """Private names of others that a module uses: in an import, or as an attribute that the module itself never sets.

    Names that begin with one underscore are private to their module or class (PEP 8).
    """

    def private(name: str) -> bool:
        return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED

    tree = ast.parse(source)
    own = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names if any(map(private, alias.name.split(".")))]
            case ast.ImportFrom(module=str(module), names=names):
                parts = [*module.split("."), *(alias.name for alias in names)]
                found += [f"{module}: {part}" for part in parts if private(part)]
            case ast.Attribute(attr=attr, value=ast.Name(id="self" | "cls")) if attr in own:
                pass
            case ast.Attribute(attr=attr) if private(attr) and attr not in own:
                found.append(f".{attr} in line {node.lineno}")
    return found


@pytest.mark.parametrize("name", OURS)
def test_no_module_opens_a_private_door(name: str) -> None:
    assert private_doors(OURS[name].read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from uvicorn._types import ASGISendEvent",
        "import uvicorn._types",
        "from dramatiq.brokers.redis import _RedisConsumer",
        "def f(connection): return connection._writer.transport",
        "class A(Base):\n    def f(self): return self._base_secret",
    ],
)
def test_a_private_door_would_be_found(source: str) -> None:
    assert private_doors(source)


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


def numbers_without_a_word(source: str) -> list[str]:
    """Numeric parameters of public functions that neither the function's docstring nor its class's names.

    A number means nothing without its unit, so a docstring has to say what it counts.
    """

    def public(
        body: list[ast.stmt], class_docstring: str = ""
    ) -> list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
        found: list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]] = []
        for node in body:
            match node:
                case ast.ClassDef(name=name) if not name.startswith("_"):
                    found += public(node.body, ast.get_docstring(node) or "")
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if name == "__init__" or not name.startswith("_"):
                        found.append((node, class_docstring + (ast.get_docstring(node) or "")))
        return found

    return [
        f"{function.name}({parameter.arg})"
        for function, docstring in public(ast.parse(source).body)
        for parameter in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        if parameter.annotation
        and ast.unparse(parameter.annotation).removesuffix(" | None") in ("int", "float")
        and not re.search(rf"\b{parameter.arg}\b", docstring)
    ]


@pytest.mark.parametrize("name", OURS)
def test_docstrings_say_what_every_number_is(name: str) -> None:
    assert numbers_without_a_word(OURS[name].read_text()) == []


def test_a_number_without_a_word_would_be_found() -> None:
    assert numbers_without_a_word('def wait(timeout: float) -> None:\n    """Wait."""') == ["wait(timeout)"]
    assert numbers_without_a_word('def wait(timeout: float) -> None:\n    """Wait `timeout` seconds."""') == []
