"""What a graph is built with, and the wrapper of its nodes that call no model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.runtime import get_runtime

from plan_execute.agent.context import Context, check_files_named, effective_context
from plan_execute.agent.errors import ConfigurationError, did_you_mean
from plan_execute.agent.redaction import find_secrets
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.truncation import READER_NAME

RESERVED = frozenset({MilestoneReport.__name__, READER_NAME})
"""Names of the tools that every executor has."""


@dataclass(frozen=True)
class Build:
    """The default settings, the catalogue of tools by name, and the format of the final answer."""

    defaults: Context = field(default_factory=Context)
    tools: Mapping[str, BaseTool] = field(default_factory=dict)
    response_format: Any = None
    _resolved: list[tuple[object, object, Context]] = field(default_factory=list, repr=False)
    """The settings that were resolved last, after what they were resolved from: at most one entry."""

    def context(self, settings: Mapping[str, Any] | None) -> Context:
        """Resolve the settings in force in the calling node.

        Args:
            settings: Those frozen in the state; None before there are any.

        Raises:
            ConfigurationError: They name a tool to approve that is not in the catalogue, or a model in a file that the
                graph was not built with.
        """
        passed = get_runtime().context
        for cached_settings, cached_passed, context in self._resolved:
            if cached_passed is passed and cached_settings == settings:
                return context
        context = effective_context(self.defaults, settings, passed)
        check_files_named(context, self.defaults)
        if context.approve_tools:
            self.check_approvals(context)
        self._resolved[:] = [(settings, passed, context)]
        return context

    def check_approvals(self, context: Context) -> None:
        """Check that all tools to approve are in the catalogue.

        Raises:
            ConfigurationError: One is not.
        """
        unknown = next((name for name in context.approve_tools if name not in self.tools), None)
        if unknown is not None:
            near = did_you_mean(unknown, self.tools)
            advice = f"did you mean {near!r}?" if near else f"the catalogue has: {', '.join(self.tools) or 'none'}."
            raise ConfigurationError(f"Unknown tool {unknown!r} in 'approve_tools': {advice}")


class Node(Runnable[Any, Any]):
    """A node or an edge of a graph that is a plain function of the state: it runs on the event loop, untraced.

    In async code LangGraph would run a plain function in a thread, and LangChain would trace it inside the node's span.
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        """Wrap a function that does not block; the node takes its name, unless another is given."""
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

    Args:
        defaults: The default settings.
        tools: LangChain tools, or functions to make tools of.
        response_format: A type or a JSON schema for the final answer.

    Raises:
        ConfigurationError: Something is not a tool; two tools have the same name, or one has a reserved name; a tool to
            approve is not among them.
    """
    catalogue: dict[str, BaseTool] = {}
    for given in tools:
        if not callable(given) and not isinstance(given, BaseTool):
            raise ConfigurationError(
                f"{given!r} is not a tool: give LangChain tools, or functions with type hints and a docstring."
            )
        tool = given if isinstance(given, BaseTool) else as_tool(given)
        if tool.name in RESERVED:
            raise ConfigurationError(f"A tool cannot be called {tool.name!r}: every executor has a tool of that name.")
        if tool.name in catalogue:
            raise ConfigurationError(f"Two tools are called {tool.name!r}: give each tool a name of its own.")
        catalogue[tool.name] = _with_properties(tool)
    find_secrets()
    build = Build(defaults, catalogue, response_format)
    build.check_approvals(defaults)
    return build


def with_tools_of(
    middleware: Sequence[AgentMiddleware[Any, Any]], tools: Sequence[BaseTool | Callable[..., Any]] | None
) -> list[BaseTool | Callable[..., Any]]:
    """Add the tools that middleware brings to those that were given, so that a plan can grant them, too."""
    given = list(tools or ())
    brought = (tool for each in middleware for tool in getattr(each, "tools", ()))
    return given + [tool for tool in brought if not any(tool is other for other in given)]


def _with_properties(tool: BaseTool) -> BaseTool:
    """Give a JSON schema for the arguments the `properties` that it may leave out, and that every reader expects."""
    schema = tool.args_schema
    if not isinstance(schema, dict) or "properties" in schema:
        return tool
    return tool.model_copy(update={"args_schema": {"type": "object", "properties": {}, **schema}})
