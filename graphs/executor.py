"""The executor graph: one milestone from brief to report.

START -> brief -> react (create_agent: model <-> tools) -> report -> END

`brief` completes a brief that was written by hand, `report` asks the verifier, if the run has one: a milestone of a
plan that is judged by rules alone is one step, `react`.
"""

import asyncio
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, set_config_context
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamProtocol

from plan_execute.agent.build import Build, Node, make_build, with_tools_of
from plan_execute.agent.context import Context, make_context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.events import span_facts
from plan_execute.agent.executor.brief import ExecutorState, complete_brief, is_complete
from plan_execute.agent.executor.middleware import ExecutorMiddleware
from plan_execute.agent.executor.react import as_react_node
from plan_execute.agent.executor.receipts import ReceiptMiddleware
from plan_execute.agent.executor.report import judge_report
from plan_execute.agent.executor.scratchpad import ScratchpadState, steps_for_turn
from plan_execute.agent.executor.tool_calls import as_react_tool
from plan_execute.agent.llm.calls import Call, Steps, SubgraphNode
from plan_execute.agent.llm.structured_output import DialogueNode
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import ExecutorInput, ExecutorOutput, StorableInput
from plan_execute.agent.truncation import READER
from plan_execute.tools import McpServers

_STREAM = "__pregel_stream"
"""Key of `configurable` under which LangGraph passes a subgraph the stream of its caller."""

Executor = CompiledStateGraph[ExecutorState, Context, ExecutorInput, ExecutorOutput]


def create_executor(
    executor_model: str | BaseChatModel | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    *,
    mcp: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    context: Context | Mapping[str, Any] | None = None,
    middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    name: str = "executor",
) -> Executor:
    """Build the executor alone: `{"brief": {"goal", "tools", ...}}` in, `ExecutorOutput` out.

    Args:
        executor_model: `provider:model` or a chat model; None for what `context` or the environment says.
        tools: The tools that a brief may grant.
        mcp: MCP servers whose tools are added; see `create_plan_execute_agent`.
        context: Defaults for the settings.
        middleware: LangChain agent middleware for the ReAct loop, inside this package's own.
        name: Name of the compiled graph.

    Raises:
        ConfigurationError: A setting, a tool, a model's name or an MCP server cannot be used; one sentence says why.
    """
    settings = make_context(context)
    if executor_model is not None:
        settings = make_context(executor_model=executor_model).over(settings)
    servers = open_servers(mcp)
    given = [*(tools or ()), *(servers.tools if servers else ())]
    executor = build_executor(make_build(settings, with_tools_of(middleware, given)), middleware=middleware, name=name)
    executor.channels[START] = StorableInput(ExecutorInput)
    close_with(executor, servers)
    return executor


def open_servers(mcp: str | os.PathLike[str] | Mapping[str, Any] | None) -> McpServers | None:
    """Open the MCP servers that a graph is built with.

    Raises:
        ConfigurationError: A server is not described as it has to be, or cannot be used.
    """
    try:
        return None if mcp is None else McpServers(mcp)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def close_with(graph: CompiledStateGraph[Any, Any, Any, Any], servers: McpServers | None) -> None:
    """Close servers when nobody has the graph any more, or a copy of it: caches of LangChain hold on to the tools."""
    if servers:
        weakref.finalize(graph.builder, servers.close, wait=False)


def build_executor(
    build: Build, *, middleware: Sequence[AgentMiddleware[Any, Any]] = (), name: str = "executor"
) -> Executor:
    """Wire the executor for a graph that has its build already; see `create_executor`."""
    inner = [*middleware, ReceiptMiddleware()]
    steps = steps_for_turn(inner)
    react = create_agent(
        _Unresolved(),
        [*map(as_react_tool, build.tools.values()), READER],
        middleware=[ExecutorMiddleware(build, steps), *inner],
        response_format=ToolStrategy(MilestoneReport, tool_message_content="Report received."),
        state_schema=ScratchpadState,
        context_schema=Context,
        name="react",
    )
    graph = StateGraph(ExecutorState, context_schema=Context, input_schema=ExecutorInput, output_schema=ExecutorOutput)
    graph.add_node("brief", Node(complete_brief))
    graph.add_node("react", as_react_node(react, build, steps))
    graph.add_node("report", DialogueNode(partial(judge_report, build=build), "report", "verifier"))
    graph.add_conditional_edges(START, Node(route_start), ["brief", "react"])
    graph.add_edge("brief", "react")
    graph.add_conditional_edges("react", Node(route_after_react), ["report", END])
    graph.add_edge("report", END)
    return graph.compile(name=name)


def route_start(state: ExecutorState) -> Literal["brief", "react"]:
    """To the loop with the brief of a milestone of a plan; one written by hand is completed first."""
    return "react" if is_complete(state) else "brief"


def route_after_react(state: ExecutorState) -> Literal["report", "__end__"]:
    """To the verifier, if the loop left messages for it."""
    return "report" if state["messages"] else "__end__"


def as_executor_node(executor: Executor, build: Build) -> SubgraphNode:
    """Make the executor a node of a run, whose scratchpad no client takes for the conversation.

    `useStream` (Agent Chat UI) shows the state of every subgraph in place of the main one, so the executor's is not on
    the `values` stream; and it adds the messages of every subgraph to the conversation, so for a chat
    they are not on the `messages` stream.
    """

    def run(state: Any, config: RunnableConfig) -> Steps[Any]:
        context = build.context(state["run"]["settings"])
        config = merge_configs(config, {"metadata": span_facts("executor", state["brief"])})
        quiet = _without_values(config if context.client == "program" else _without_messages(config))
        # In a context of its own, because LangGraph adds the callbacks of the surrounding one to those it is given.
        with set_config_context(quiet) as own:
            invoke = partial(own.run, executor.invoke, state, quiet)
            return (yield Call(invoke, lambda: asyncio.create_task(executor.ainvoke(state, quiet), context=own)))

    return SubgraphNode(executor, run, "executor")


def _without_values(config: RunnableConfig) -> RunnableConfig:
    configurable = config.get("configurable", {})
    stream: Any = configurable.get(_STREAM)
    if stream is None or "values" not in stream.modes:
        return config
    quiet = StreamProtocol(stream.__call__, stream.modes - {"values"})
    return {**config, "configurable": {**configurable, _STREAM: quiet}}


def _without_messages(config: RunnableConfig) -> RunnableConfig:
    callbacks = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        for handler in list(callbacks.handlers):
            if isinstance(handler, StreamMessagesHandler):
                callbacks.remove_handler(handler)
    return {**config, "callbacks": callbacks}


class _Unresolved(BaseChatModel):
    """Stands in for the model that `create_agent` needs at build time; the middleware sets the real one."""

    @property
    def _llm_type(self) -> str:
        return "unresolved"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise RuntimeError("The executor's model was not resolved: its middleware did not run.")
