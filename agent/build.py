"""What a graph was built with, shared by its nodes."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.runtime import get_runtime

from plan_execute.agent.context import Context, effective_context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.truncation import READER_NAME

RESERVED = frozenset({MilestoneReport.__name__, READER_NAME})


@dataclass(frozen=True)
class Build:
    """Defaults for the settings, the catalogue of tools, and the form the final answer is to take."""

    defaults: Context = field(default_factory=Context)
    tools: Mapping[str, BaseTool] = field(default_factory=dict)
    response_format: Any = None
    _resolved: list[tuple[object, object, Context]] = field(default_factory=list, repr=False)
    """The settings that were resolved last, after what they were made from."""

    def context(self, settings: Mapping[str, Any] | None) -> Context:
        """The settings in force in the node that asks, given those frozen in the state.

        Raises:
            ConfigurationError: They name a tool to approve that is not in the catalogue.
        """
        passed = get_runtime().context
        for settings_then, passed_then, context in self._resolved:
            if passed_then is passed and settings_then == settings:
                return context
        context = self.checked(effective_context(self.defaults, settings, passed))
        self._resolved[:] = [(settings, passed, context)]
        return context

    def checked(self, context: Context) -> Context:
        """The settings, if they go with the catalogue."""
        unknown = next((name for name in context.approve_tools if name not in self.tools), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, self.tools, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"the catalogue has: {', '.join(self.tools) or 'none'}."
            raise ConfigurationError(f"Unknown tool {unknown!r} in 'approve_tools': {meant}")
        return context


class Node(Runnable[Any, Any]):
    """A graph's node or edge that is a plain function of the state: it runs on the event loop, untraced.

    LangGraph would make a function without a coroutine wait for a thread in async code, and LangChain would trace it
    inside the node's own span.
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        """Take a function that does not block; its name is the node's, unless another is given."""
        self.function = function
        self.name = name or function.__name__

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Call the function."""
        return self.function(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Call the function."""
        return self.function(input)


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
