"""Imports point one way, and importing the package stays light."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("agent", "tools", "graphs")

MAY_IMPORT = {"agent": {"agent"}, "tools": {"tools"}, "graphs": {"graphs", "agent", "tools"}}

AGENT_ORDER = [
    "errors",
    "state",
    "digest",
    "timeout",
    "keeping",
    "person",
    "failures",
    "audit",
    "answer_stream",
    "context",
    "plan",
    "draft",
    "prompts",
    "reply",
    "question",
    "usage",
    "scratchpad",
    "local_engine",
    "local_choice",
    "local_model",
    "models",
    "setup",
    "outcome",
    "schedule",
    "compact_words",
    "compact_choice",
    "compact_sql",
    "compact_arguments",
    "compact",
    "compact_executor",
    "intake",
    "planner",
    "review",
    "effects",
    "approval",
    "inquiry",
    "turn",
    "tool_answer",
    "guard",
    "executor",
    "replan_gate",
    "synthesizer",
]
"""The files of agent/, each of which imports only from those before it; also the order to read them in."""

HEAVY = ("langchain_openai", "langchain_community", "sqlalchemy", "sqlglot", "xllamacpp", "ddgs", "trafilatura")


def test_folders_import_one_way() -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for folder in FOLDERS
        for path in (REPOSITORY / folder).glob("*.py")
        for module in _own_imports(path)
        if module.split(".")[1] not in MAY_IMPORT[folder]
    ]
    assert wrong == []


def test_every_file_of_agent_has_its_place_in_the_order() -> None:
    assert sorted(AGENT_ORDER) == sorted(_names("agent"))


def test_files_of_agent_import_only_from_those_above() -> None:
    wrong = [
        f"agent/{name}.py imports {module}"
        for position, name in enumerate(AGENT_ORDER)
        for module in _own_imports(REPOSITORY / "agent" / f"{name}.py")
        if module.split(".")[2] not in AGENT_ORDER[:position]
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["tools", "graphs"])
def test_no_cycle_of_imports(folder: str) -> None:
    below = {
        name: {module.split(".")[2] for module in _own_imports(path, folder)} for name, path in _names(folder).items()
    }
    while free := [name for name, needed in below.items() if not needed & set(below)]:
        for name in free:
            del below[name]
    assert below == {}


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


def test_importing_the_graphs_loads_nothing_heavy() -> None:
    loaded = _loaded_by("import plan_execute.agent, plan_execute.tools; from plan_execute.graphs import *")
    assert [module for module in HEAVY if module in loaded] == []


def test_help_loads_nothing_but_the_standard_library() -> None:
    loaded = _loaded_by("import plan_execute.graphs.cli.main")
    assert [module for module in (*HEAVY, "langchain_core", "langgraph", "pydantic", "rich") if module in loaded] == []


def _names(folder: str) -> dict[str, Path]:
    return {path.stem: path for path in (REPOSITORY / folder).glob("*.py") if path.stem != "__init__"}


def _own_imports(path: Path, folder: str | None = None) -> Iterator[str]:
    """Name the modules of this project that a file imports, `plan_execute.agent.state`, wherever in the file."""
    prefix = f"plan_execute.{folder}." if folder else "plan_execute."
    return (module for module in _imports(path) if module.startswith(prefix))


def _imports(path: Path) -> Iterator[str]:
    """Name the modules that a file imports; for `from package import module` also `package.module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in {f"plan_execute.{folder}" for folder in FOLDERS}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _loaded_by(code: str) -> list[str]:
    code += "; import sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def _declared(*requirements: str) -> set[str]:
    return {_normal(re.split(r"[^\w.-]", line)[0]) for line in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
