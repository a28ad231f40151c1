"""The README says what is true."""

import re
from pathlib import Path

from plan_execute.agent import Context

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_python_that_needs_no_key_runs() -> None:
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block
    names: dict[str, object] = {}
    exec(block[1], names)
    assert hasattr(names["agent"], "invoke")


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
