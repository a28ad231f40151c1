"""The README says what is true."""

import re
from pathlib import Path
from typing import Any

from plan_execute.agent import Context
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import ScriptedModel, heavy, milestone, plan, report, tool_call

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_its_python_runs() -> None:
    first, *others = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    assert hasattr(names["agent"], "invoke")
    # What comes next needs keys for these models, so others stand in for them.
    planner = heavy(plan(milestone("Ask for the weather.", tools=["ask_weather"])))
    executor = ScriptedModel(
        lambda asked: report() if asked.messages[-1].type == "tool" else tool_call("ask_weather", {"city": "Bergen"})
    )
    names["agent"] = create_plan_execute_agent(planner, executor, [names["ask_weather"]])
    for block in others:
        exec(block, names)
    assert names["result"]["status"] == "completed"
    assert names["chain"].invoke({"a": "Bergen", "b": "Oslo"}) == "The answer."
    assert names["analyst"].invoke({"request": "Should they buy jackets?"}) == "The answer."


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE))
    for name, field in Context.model_fields.items():
        assert name in rows, name
        default = field.default
        if isinstance(default, str | int | float) and default != "":
            assert f"`{default}`" == rows[name], name


def test_files_it_sends_the_reader_to_exist() -> None:
    named = re.findall(r"`((?:graphs|agent|tools)/\w+\.py)`|\]\(([\w/.]+)\)", README)
    assert len(named) > 15
    for path in (one or other for one, other in named):
        assert (REPOSITORY / path).exists(), path


def test_ci_runs_its_test_command() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (REPOSITORY / ".ci" / "run").read_text()
