"""What every test runs under: no network beyond this machine, no keys, strict checkpoints.

Helpers are imported by the path you see, `from tests.fakes import ScriptedModel`. With `--import-mode=importlib`
pytest makes `tests` a namespace package without putting the repository on `sys.path`, so bare `agent`, `tools` and
`graphs` stay out of reach, as in a host project. Hence no `__init__.py` in `tests/`, no `pythonpath` in the settings.

Connections go to this machine and nowhere else (pytest-socket, set in pyproject.toml); warnings are errors. Tests that
are marked `live` get network and keys back; they are left out unless asked for with `-m live`.
"""

import os
import signal
from typing import Any

import hypothesis
import pytest

from tests.drawn import DRAWN

pytest_plugins = ["tests.fixtures"]

KEPT_FROM_TESTS = ("OPENAI_", "ANTHROPIC_", "LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "PLAN_EXECUTE_")

_withheld = {name: value for name, value in os.environ.items() if name.startswith(KEPT_FROM_TESTS)}
for _name in _withheld:
    del os.environ[_name]
# LangGraph reads this once, when it is imported; pytest imports this file before any test.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"


# How long an example takes is a matter of the machine.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let live tests out into the network."""
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker("enable_socket")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts over, where this process runs a part of the tests only."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["drawn"] = dict(DRAWN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up the counts of all processes."""
    DRAWN.update(node.workeroutput.get("drawn", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases were drawn for the properties that count them."""
    for what, count in DRAWN.items():
        terminalreporter.write_line(f"drawn: {count} {what}")


# A shell starts what runs in the background deaf to Ctrl-C, and so would be every command that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _environment_of_live_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("live"):
        for name, value in _withheld.items():
            monkeypatch.setenv(name, value)
