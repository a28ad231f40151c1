"""Imports point one way, and importing the package stays light."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("agent", "tools", "graphs")

ROOMS = {
    "agent": {"agent"},
    "agent.prompts": {"agent"},
    "agent.trust": {"agent"},
    "agent.llm": {"agent", "agent.prompts"},
    "agent.small_models": {"agent", "agent.prompts", "agent.llm"},
    "agent.executor": {"agent", "agent.prompts", "agent.trust", "agent.llm"},
    "agent.nodes": {"agent", "agent.prompts", "agent.trust", "agent.llm", "agent.executor"},
    "tools": {"tools", "tools.database", "tools.documents", "tools.files", "tools.mcp", "tools.web"},
    "tools.database": {"tools"},
    "tools.documents": {"tools", "tools.web"},
    "tools.files": {"tools"},
    "tools.mcp": {"tools"},
    "tools.web": {"tools"},
    "graphs": {"agent", "agent.llm", "agent.executor", "agent.nodes", "tools"},
    "graphs.persistence": {"agent", "agent.executor", "graphs"},
    "graphs.report": {"agent", "graphs"},
    "graphs.mcp": {"agent", "graphs", "graphs.persistence"},
    "graphs.cli": {
        "agent",
        "agent.llm",
        "agent.nodes",
        "tools",
        "graphs",
        "graphs.mcp",
        "graphs.persistence",
        "graphs.report",
    },
}
"""What each folder may import beside itself: whatever a folder needs stands above it."""

SEAM = {("agent/llm/models.py", "agent.small_models")}
"""The one way into the room that a reader may skip."""

HEAVY = (
    "langchain_openai",
    "langchain_community",
    "mcp",
    "sqlalchemy",
    "sqlglot",
    "xllamacpp",
    "ddgs",
    "trafilatura",
    "pint",
)


def test_every_folder_imports_only_from_those_above_it() -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in _sources()
        for module in _own_imports(path)
        if (room := _room(module)) not in ROOMS[_room_of(path)] | {_room_of(path)}
        and (str(path.relative_to(REPOSITORY)), room) not in SEAM
    ]
    assert wrong == []


def test_every_folder_has_its_place_in_the_order() -> None:
    assert {_room_of(path) for path in _sources()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_cycle_of_imports(room: str) -> None:
    below = {
        f"plan_execute.{room}.{path.stem}": set(_own_imports(path)) for path in _sources() if _room_of(path) == room
    }
    while free := [name for name, needed in below.items() if not needed & set(below)]:
        for name in free:
            del below[name]
    assert below == {}


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_is_crowded(room: str) -> None:
    assert len([path for path in _sources() if _room_of(path) == room]) <= 12


def test_imports_are_absolute() -> None:
    relative = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for folder in (*FOLDERS, "tests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    shipped = _declared(*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name]))
    distributions = packages_distributions()
    missing = {
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for folder in (*FOLDERS, "tests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for module in (name.split(".")[0] for name in _imports(path))
        if module not in {"plan_execute", "tests"} | sys.stdlib_module_names
        and not (shipped | _declared(*extras["dev"]) if folder == "tests" else shipped)
        & {_normal(name) for name in distributions.get(module, [module])}
    }
    assert missing == set()


def test_base_dependencies_are_what_an_embedded_agent_imports() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    distributions = packages_distributions()
    imported = {
        _normal(distribution)
        for path in [*_sources(), REPOSITORY / "__init__.py"]
        if _room_of(path) not in {"graphs.cli", "graphs.report"}
        for module in (name.split(".")[0] for name in _imports(path))
        for distribution in distributions.get(module, ())
    }
    # The first is what `openai:` models load, the second loads documents of many kinds.
    by_name = {"langchain-openai", "langchain-community"}
    assert _declared(*project["dependencies"]) - imported - by_name == set()


def test_report_without_its_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['jinja2'] = None; from plan_execute.graphs.report import render_report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(
        "ImportError: The report needs more packages: pip install '.[report]'"
    )


def test_importing_everything_at_the_front_door_loads_nothing_heavy() -> None:
    loaded = _loaded_by("from plan_execute import *; from plan_execute.tools import calculate")
    assert [module for module in HEAVY if module in loaded] == []


def test_run_with_big_models_does_not_load_the_room_for_small_ones() -> None:
    loaded = _loaded_by(
        "from langchain_core.tools import tool; from plan_execute import create_plan_execute_agent;"
        "from tests.fakes import ScriptedModel, diligent, heavy, milestone, plan;"
        "look_up = tool('look_up', description='Look a subject up.')(lambda subject: subject);"
        "agent = create_plan_execute_agent(heavy(plan(milestone('a'))), ScriptedModel(diligent), [look_up]);"
        "assert agent.invoke({'messages': [('user', 'a?')]})['status'] == 'completed'"
    )
    assert [module for module in loaded if module.startswith("plan_execute.agent.small_models")] == []


def test_importing_the_front_door_or_the_command_loads_nothing_else() -> None:
    loaded = _loaded_by("import plan_execute, plan_execute.graphs.cli.main")
    assert [module for module in (*HEAVY, "langchain_core", "langgraph", "pydantic", "rich") if module in loaded] == []


def test_only_the_command_prints_to_a_terminal() -> None:
    sources = (path for path in _sources() if _room_of(path) != "graphs.cli")
    assert [path for path in sources if {"rich", "argparse"} & {name.split(".")[0] for name in _imports(path)}] == []


def test_front_door_exports(snapshot: SnapshotAssertion) -> None:
    doors = ("plan_execute", "plan_execute.tools", "plan_execute.graphs.persistence", "plan_execute.graphs.report")
    assert {door: sorted(import_module(door).__all__) for door in doors} == snapshot


def _sources() -> Iterator[Path]:
    """Every module of the package that is more than a list of what it exports."""
    for folder in FOLDERS:
        yield from (path for path in (REPOSITORY / folder).rglob("*.py") if path.stem != "__init__")


def _room_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).parts[:-1])


def _room(module: str) -> str:
    """The folder of a module: `agent.llm` of `plan_execute.agent.llm.models`."""
    name = module.removeprefix("plan_execute.")
    return name if (REPOSITORY / name.replace(".", "/")).is_dir() else name.rpartition(".")[0]


def _own_imports(path: Path) -> Iterator[str]:
    """Name the modules of this project that a file imports, `plan_execute.agent.state`, wherever in the file."""
    return (module for module in _imports(path) if module.startswith("plan_execute."))


def _imports(path: Path) -> Iterator[str]:
    """Name the modules that a file imports; for `from package import module` also `package.module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            place = REPOSITORY.joinpath(*node.module.split(".")[1:])
            if node.module.startswith("plan_execute.") and place.is_dir():
                files = {alias.name for alias in node.names if (place / f"{alias.name}.py").exists()}
                yield from (f"{node.module}.{name}" for name in files)
                if files != {alias.name for alias in node.names}:
                    yield node.module
            else:
                yield node.module


def _loaded_by(code: str) -> list[str]:
    code += "; import sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return ended.stdout.split()


def _declared(*requirements: str) -> set[str]:
    return {_normal(re.split(r"[^\w.-]", line)[0]) for line in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
