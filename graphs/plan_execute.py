"""The plan-execute graph.

START -> intake -> planner -+-> review -> executor  a person reviews the plan first
                            +-> executor x ready milestones -> replan_gate -+-> executor    continue, retry
                            |                                               +-> ask_user    ask; then to the gate
                            |                                               +-> planner     replan
                            |                                               +-> synthesize  finish
                            |                                               +-> END         abort
                            +-> synthesize  nothing left to do
                            +-> END         direct answer, or typed ending
intake -> END               an empty request
synthesize -+-> END
            +-> planner    a requirement is unmet and replans are left
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer, Send

from plan_execute.agent.build import Node, make_build, with_tools_of
from plan_execute.agent.context import Context, make_context
from plan_execute.agent.events import span_facts
from plan_execute.agent.executor.brief import make_brief, run_so_far
from plan_execute.agent.llm.structured_output import DialogueNode
from plan_execute.agent.nodes.ask_user import ask_user
from plan_execute.agent.nodes.chat import AnswerNode
from plan_execute.agent.nodes.intake import begin_run
from plan_execute.agent.nodes.planner import REVIEW_DUE, make_plan
from plan_execute.agent.nodes.replan_gate import decide_next
from plan_execute.agent.nodes.review import PlanText, review_plan
from plan_execute.agent.nodes.synthesize import synthesis_schema, synthesize
from plan_execute.agent.state import PlanExecuteInput, PlanExecuteOutput, RunState, StorableInput
from plan_execute.graphs.executor import as_executor_node, build_executor, close_with, open_servers
from plan_execute.graphs.waiting import AnswerableGraph
from plan_execute.graphs.yaml_text import read_yaml, write_plan

MOST_TASKS = 1_000
"""Tasks that run at once where the caller's config has no `max_concurrency`: `max_parallel` is the limit."""

PlanExecuteAgent = CompiledStateGraph[RunState, Context, PlanExecuteInput, PlanExecuteOutput]


def create_plan_execute_agent(
    planner_model: str | BaseChatModel | None = None,
    executor_model: str | BaseChatModel | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    *,
    mcp: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    context: Context | Mapping[str, Any] | None = None,
    middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    response_format: Any = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    name: str = "plan_execute",
) -> PlanExecuteAgent:
    """Build a plan-and-execute agent: `{"messages": [...]}` in, answer, status, plan, milestones and usage out.

    Models are found when they are needed, so a graph can be built, imported and drawn without a key.

    Args:
        planner_model: The heavy model, as `provider:model` or a chat model. None: what `context` or the environment
            says (OpenAI where its key is set, else the bundled model).
        executor_model: The light model; None for the planner's, if that is named.
        tools: LangChain tools, or functions with type hints and docstring. One that declares no
            `metadata={"effect": ...}` counts as read-only.
        mcp: MCP servers whose tools are added: the path of a JSON file as other clients have it, or what is in one.
            They run as long as the agent does; see `plan_execute.tools.McpServers`.
        context: Defaults for the settings; what a run passes as `context=` wins.
        middleware: LangChain agent middleware for the executor's ReAct loop; the tools it brings join the catalogue.
        response_format: A type or a JSON schema for a second, structured form of the answer, which the output has as
            plain JSON under `structured_response`.
        checkpointer: LangGraph's; None inherits that of a host graph or server.
        store: LangGraph's.
        name: Name of the compiled graph.

    Returns:
        A compiled LangGraph graph.

    Raises:
        ConfigurationError: A setting, a tool, a model's name or an MCP server cannot be used; one sentence says why.
    """
    settings = make_context(context)
    named = {"planner_model": planner_model, "executor_model": executor_model}
    settings = make_context({k: v for k, v in named.items() if v is not None}).over(settings)
    servers = open_servers(mcp)
    given = [*(tools or ()), *(servers.tools if servers else ())]
    build = make_build(settings, with_tools_of(middleware, given), response_format)
    synthesis_schema(response_format)  # raises for an invalid one

    graph = StateGraph(RunState, context_schema=Context, input_schema=PlanExecuteInput, output_schema=PlanExecuteOutput)
    nodes: dict[str, tuple[str, Any]] = {
        "intake": ("intake", Node(partial(begin_run, build=build), "intake")),
        "planner": ("planner", DialogueNode(partial(make_plan, build=build), "planner", "planner")),
        "review": ("review", partial(review_plan, build=build, text=PlanText(write_plan, read_yaml))),
        "executor": ("executor", as_executor_node(build_executor(build, middleware=middleware), build)),
        "replan_gate": ("gate", Node(partial(decide_next, build=build), "replan_gate")),
        "ask_user": ("ask_user", partial(ask_user, build=build)),
        "synthesize": ("synthesizer", AnswerNode(partial(synthesize, build=build), "synthesize", "synthesizer")),
    }
    for node, (role, does) in nodes.items():
        graph.add_node(node, does, metadata=span_facts(role))
    graph.add_edge(START, "intake")
    graph.add_conditional_edges("intake", Node(route_after_intake), ["planner", END])
    graph.add_conditional_edges("planner", Node(route_after_planner), ["review", "executor", "synthesize", END])
    graph.add_conditional_edges("review", Node(route_after_review), ["executor", "planner", "synthesize", END])
    graph.add_edge("executor", "replan_gate")
    graph.add_conditional_edges(
        "replan_gate", Node(route_after_gate), ["executor", "ask_user", "planner", "synthesize", END]
    )
    graph.add_edge("ask_user", "replan_gate")
    graph.add_conditional_edges("synthesize", Node(route_after_synthesize), ["planner", END])
    compiled = graph.compile(checkpointer=checkpointer, store=store, name=name)
    compiled.__class__ = AnswerableGraph  # because `compile` makes no other
    compiled.channels[START] = StorableInput(PlanExecuteInput)
    close_with(compiled, servers)
    _warn_of_foreign_classes(checkpointer)
    # In sync code LangGraph runs at most as many tasks at once as there are processors, and four more.
    return compiled.with_config(max_concurrency=MOST_TASKS)


def _warn_of_foreign_classes(checkpointer: Checkpointer) -> None:
    """Warn of a checkpointer that builds objects of any class a stored checkpoint names, and so runs its code.

    In memory, where only this process writes, LangGraph's default is no danger.
    """
    serde: Any = getattr(checkpointer, "serde", None)
    serde = getattr(serde, "serde", serde)  # one that encrypts has another inside
    if not isinstance(serde, JsonPlusSerializer):
        return
    loose = serde._allowed_msgpack_modules is True
    if isinstance(checkpointer, InMemorySaver) and JsonPlusSerializer()._allowed_msgpack_modules is True:
        loose = False
    if serde.pickle_fallback or loose:
        warnings.warn(
            "The checkpointer builds objects of any class that a stored checkpoint names, so whoever can write to its "
            "database can run code here: open it with open_checkpointer, or set LANGGRAPH_STRICT_MSGPACK=true.",
            stacklevel=3,
        )


def route_after_intake(state: RunState) -> Literal["planner", "__end__"]:
    """To the planner, or to the end if the request is empty."""
    return "planner" if state["status"] == "running" else "__end__"


def route_after_planner(state: RunState) -> list[Send] | Literal["review", "synthesize", "__end__"]:
    """To the review, to the first round of the plan, or on without one."""
    decision = state["decision"]
    if state["status"] != "running" or decision is None:
        return "__end__"
    if decision["rule"] == REVIEW_DUE:
        return "review"
    return send_round(state) or "synthesize"


def route_after_review(state: RunState) -> list[Send] | Literal["planner", "synthesize", "__end__"]:
    """To the first round of an approved plan, or on without one; back to the planner; or to the end if rejected."""
    decision = state["decision"]
    if state["status"] != "running" or decision is None:
        return "__end__"
    return "planner" if decision["action"] == "replan" else send_round(state) or "synthesize"


def route_after_gate(state: RunState) -> list[Send] | Literal["ask_user", "planner", "synthesize", "__end__"]:
    """To where the gate's decision says."""
    decision = state["decision"]
    if state["status"] != "running" or decision is None:
        return "__end__"
    match decision["action"]:
        case "continue" | "retry":
            return send_round(state)
        case "ask":
            return "ask_user"
        case "replan":
            return "planner"
        case "finish":
            return "synthesize"
        case "abort":
            return "__end__"


def route_after_synthesize(state: RunState) -> Literal["planner", "__end__"]:
    """Back to the planner if the synthesis decided to replan."""
    return "planner" if state["status"] == "running" else "__end__"


def send_round(state: RunState) -> list[Send]:
    """One executor for each milestone of the round, with its brief and what its limits need to know of the run."""
    decision = state["decision"]
    keys = decision["milestones"] if decision else []
    return [Send("executor", {"brief": make_brief(state, key), "run": run_so_far(state, key)}) for key in keys]
