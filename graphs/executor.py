"""The executor graph: one milestone from brief to report.

START -> brief -> react (create_agent: model <-> tools) -> report -> END

`brief` completes a brief that was written by hand, `report` asks the verifier, if the run has one: a milestone of a
plan that is judged by rules alone is one step, `react`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from plan_execute.agent.build import Build, Node, make_build, with_tools_of
from plan_execute.agent.context import Context, make_context
from plan_execute.agent.executor.brief import ExecutorState, complete_brief, is_complete
from plan_execute.agent.executor.middleware import ExecutorMiddleware
from plan_execute.agent.executor.react import as_react_node
from plan_execute.agent.executor.receipts import ReceiptMiddleware
from plan_execute.agent.executor.report import judge_report
from plan_execute.agent.executor.scratchpad import ScratchpadState, steps_for_turn
from plan_execute.agent.executor.tool_calls import as_react_tool
from plan_execute.agent.llm.structured_output import DialogueNode
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import ExecutorInput, ExecutorOutput, StorableInput
from plan_execute.agent.truncation import READER

Executor = CompiledStateGraph[ExecutorState, Context, ExecutorInput, ExecutorOutput]


def create_executor(
    executor_model: str | BaseChatModel | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    *,
    context: Context | Mapping[str, Any] | None = None,
    middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    name: str = "executor",
) -> Executor:
    """Build the executor alone: `{"brief": {"goal", "tools", ...}}` in, `ExecutorOutput` out.

    Args:
        executor_model: `provider:model` or a chat model; None for what `context` or the environment says.
        tools: The tools that a brief may grant.
        context: Defaults for the settings.
        middleware: LangChain agent middleware for the ReAct loop, inside this package's own.
        name: Name of the compiled graph.

    Raises:
        ConfigurationError: A setting, a tool or a model's name is invalid; one sentence says why.
    """
    settings = make_context(context)
    if executor_model is not None:
        settings = make_context(executor_model=executor_model).over(settings)
    executor = build_executor(make_build(settings, with_tools_of(middleware, tools)), middleware=middleware, name=name)
    executor.channels[START] = StorableInput(ExecutorInput)
    return executor


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
    graph.add_node("report", DialogueNode(partial(judge_report, build=build), "report"))
    graph.add_conditional_edges(START, Node(route_start), ["brief", "react"])
    graph.add_edge("brief", "react")
    graph.add_conditional_edges("react", Node(route_after_react), ["report", END])
    graph.add_edge("report", END)
    executor = graph.compile(name=name)
    # What a node streams, which `astream_events` makes LangGraph do, it writes to the state around it.
    executor.stream_channels = list(ExecutorOutput.__annotations__)
    return executor


def route_start(state: ExecutorState) -> Literal["brief", "react"]:
    """To the loop with the brief of a milestone of a plan; one written by hand is completed first."""
    return "react" if is_complete(state) else "brief"


def route_after_react(state: ExecutorState) -> Literal["report", "__end__"]:
    """To the verifier, if the loop left messages for it."""
    return "report" if state["messages"] else "__end__"


class _Unresolved(BaseChatModel):
    """Stands in for the model that `create_agent` needs at build time; the middleware sets the real one."""

    @property
    def _llm_type(self) -> str:
        return "unresolved"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise RuntimeError("The executor's model was not resolved: its middleware did not run.")
