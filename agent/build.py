"""What a graph was built with, shared by its nodes."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.runtime import get_runtime

from plan_execute.agent.context import Context, effective_context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.truncation import READER_NAME

MOST_RESOLVED = 256
"""How many runs' settings are remembered."""
RESERVED = frozenset({MilestoneReport.__name__, READER_NAME})


@dataclass(frozen=True)
class Build:
    """Defaults for the settings, the catalogue of tools, and the form the final answer is to take."""

    defaults: Context = field(default_factory=Context)
    tools: Mapping[str, BaseTool] = field(default_factory=dict)
    response_format: Any = None
    _resolved: dict[tuple[int, int], tuple[object, object, Context]] = field(default_factory=dict, repr=False)
    """The settings of runs under way, by the ids of what they were made from; with these, so that ids stay theirs."""

    def context(self, settings: Mapping[str, Any] | None) -> Context:
        """The settings in force in the node that asks, given those frozen in the state.

        Raises:
            ConfigurationError: They name a tool to approve that is not in the catalogue.
        """
        passed = get_runtime().context
        key = id(settings), id(passed)
        then = self._resolved.get(key)
        if then is not None and then[0] is settings and then[1] is passed:
            return then[2]
        context = self.checked(effective_context(self.defaults, settings, passed))
        if len(self._resolved) >= MOST_RESOLVED:
            self._resolved.clear()
        self._resolved[key] = settings, passed, context
        return context

    def checked(self, context: Context) -> Context:
        """The settings, if they go with the catalogue."""
        unknown = next((name for name in context.approve_tools if name not in self.tools), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, self.tools, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"the catalogue has: {', '.join(self.tools) or 'none'}."
            raise ConfigurationError(f"Unknown tool {unknown!r} in 'approve_tools': {meant}")
        return context


def make_build(
    defaults: Context, tools: Sequence[BaseTool | Callable[..., Any]] = (), response_format: Any = None
) -> Build:
    """Collect what a graph is built with.

    Raises:
        ConfigurationError: Something is no tool; two tools bear the same name, or one that of a tool executors have; a
            tool to approve is not among them.
    """
    catalogue: dict[str, BaseTool] = {}
    for given in tools:
        if not callable(given) and not isinstance(given, BaseTool):
            raise ConfigurationError(
                f"{given!r} is no tool: give LangChain tools, or functions with type hints and a docstring."
            )
        tool = given if isinstance(given, BaseTool) else as_tool(given)
        if tool.name in RESERVED:
            raise ConfigurationError(
                f"A tool cannot be called {tool.name!r}: the executor has one of that name itself."
            )
        if tool.name in catalogue:
            raise ConfigurationError(f"Two tools are called {tool.name!r}: give each tool a name of its own.")
        catalogue[tool.name] = tool
    build = Build(defaults, catalogue, response_format)
    build.checked(defaults)
    return build
