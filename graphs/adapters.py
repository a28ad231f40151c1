"""The agent inside a host: as a tool of another agent, or as a Runnable in a chain.

Other ways to embed it need nothing from here:

- **A node of another graph**: `builder.add_node("agent", agent)`. The two share `messages`; a run adds one AI message
  to them, and writes its other output (`answer`, `status`, `error`, ...) only where the host's state has a key of that
  name. Threads are the host's. With `checkpointer=True` the agent has a conversation of its own in them; called in a
  node with another `thread_id`, it has a thread of its own. Its interrupts appear as the host's and are resumed there.
  The host's `context=` reaches it if the host was built with `context_schema=Context`.
- **LangGraph's tool**: `agent.as_tool(arg_types={"messages": list})`, for a caller that writes messages itself. Without
  `arg_types` LangChain refuses every input of every graph that takes messages.
- **Several at once**: `batch`, `abatch`, threads and tasks may share one agent, each with its own config and context.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, ensure_config
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphRecursionError
from langgraph.types import Command
from typing_extensions import TypedDict

from plan_execute.agent.codes import RunStatus
from plan_execute.agent.state import RoleUsage, RunError
from plan_execute.graphs.plan_execute import PlanExecuteAgent

STEPS = 10_000
"""The recursion limit where none is given: about LangGraph's own, so that the agent's limits come first."""

DESCRIPTION = (
    "Work on a request that takes several steps: it is planned, carried out with tools of its own, checked and "
    "answered. It sees nothing of this conversation, so the request has to say everything that matters."
)
"""The tool's description where none is given."""

Given = LanguageModelInput | dict[str, Any] | Command[Any] | None
"""What a chat model takes: text, messages, a prompt. Also what the graph takes: an input, a resume."""


class Artifact(TypedDict):
    """The tool's artifact: part of the run's output, for programs."""

    status: RunStatus
    error: RunError | None
    usage: dict[str, RoleUsage]
    """What each role cost."""
    structured_response: dict[str, Any] | None


def as_tool(agent: PlanExecuteAgent, *, name: str | None = None, description: str = DESCRIPTION) -> BaseTool:
    """Make a tool of the agent, for another agent to call.

    Each call is a run of its own, and several may run at once. Under a checkpointer of the outer agent a run is resumed
    with it, and its interrupts (a plan to review, for example) are the outer agent's, resumed there.

    To an outer agent of this package the tool counts as read-only; where the agent's tools change anything, say so:
    `tool.metadata = {"effect": "effect"}`.

    Args:
        agent: What `create_plan_execute_agent` returned.
        name: Name of the tool; None for the agent's.
        description: What the outer agent's model is told: which requests the tool is for.

    Returns:
        A tool with one argument, `request` (text). Its content is the answer; after a run that did not complete, a
        sentence that says why, and the answer there is. Its artifact has the run's `status`, `error`, `usage` and
        `structured_response`. A run without an answer is an error of the tool (`status="error"` in its message).
    """

    def run(request: str) -> tuple[str, Artifact]:
        try:
            return _answer(agent.invoke(_as_input(request), _config(agent)))
        except GraphRecursionError as error:
            raise ToolException(_TOO_FEW_STEPS) from error

    async def arun(request: str) -> tuple[str, Artifact]:
        try:
            return _answer(await agent.ainvoke(_as_input(request), _config(agent)))
        except GraphRecursionError as error:
            raise ToolException(_TOO_FEW_STEPS) from error

    return StructuredTool.from_function(
        run,
        arun,
        name=name or agent.get_name(),
        description=description,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def as_runnable(agent: PlanExecuteAgent) -> Runnable[Given, AIMessage]:
    """Make a Runnable that takes the place of a chat model in a chain.

    `prompt | as_runnable(agent) | StrOutputParser()` is one. In a chain LangChain's recursion limit of 25 steps, enough
    for ten milestones in a row, applies to graphs as well. Here it does not, unless another number is given to the
    chain or to the agent (`agent.with_config`). A 25 that was set on purpose cannot be told from LangChain's.

    Args:
        agent: What `create_plan_execute_agent` returned.

    Returns:
        A Runnable. Its input is what a chat model takes (text, messages, a prompt), or what the graph takes: an input,
        None, or, where a run waits for a person, a `Command(resume=...)`. Its output is one AI message with the text
        that the tool of `as_tool` returns, and the run's `status` and `error` in its `response_metadata`.
    """

    def run(given: Given) -> AIMessage:
        return _as_message(agent.invoke(_as_input(given), _config(agent)))

    async def arun(given: Given) -> AIMessage:
        return _as_message(await agent.ainvoke(_as_input(given), _config(agent)))

    return RunnableLambda(run, arun, name=agent.get_name())


_TOO_FEW_STEPS = "Not done: the recursion limit is too low for a single milestone. Nothing was done."


def _config(agent: PlanExecuteAgent) -> RunnableConfig:
    """The recursion limit; everything else comes from the caller's config."""
    given = ensure_config(agent.config)["recursion_limit"]
    return {"recursion_limit": STEPS if given == DEFAULT_RECURSION_LIMIT else given}


def _as_input(given: Given) -> Any:
    match given:
        case None | dict() | Command():
            return given
        case PromptValue():
            return {"messages": given.to_messages()}
        case str():
            return {"messages": [("user", given)]}
        case BaseMessage():
            return {"messages": [given]}
        case Sequence():
            return {"messages": list(given)}


def _answer(output: dict[str, Any]) -> tuple[str, Artifact]:
    if output.get("answer") is None:
        raise ToolException(describe_output(output))
    artifact = Artifact(
        status=output["status"],
        error=output["error"],
        usage=output["usage"],
        structured_response=output["structured_response"],
    )
    return describe_output(output), artifact


def _as_message(output: dict[str, Any]) -> AIMessage:
    metadata = {name: output.get(name) for name in ("status", "error")}
    return AIMessage(describe_output(output), response_metadata=metadata)


def describe_output(output: Mapping[str, Any]) -> str:
    """Describe how a run ended: by its answer; after a run that did not complete, by why it did not."""
    status, error, answer = output.get("status"), output.get("error"), output.get("answer")
    if status == "completed":
        return str(answer)
    if error is None:
        asked = [_describe_interrupt(waiting.value) for waiting in output.get("__interrupt__", ())]
        return "\n\n".join(["Not done: the run was interrupted and waits.", *asked])
    # Without an answer, the last message says what went wrong.
    why = output["messages"][-1].text if answer is None else f"{error['message']}\n\nWhat there is:\n{answer}"
    return f"Not complete ({status}, {error['code']}): {why}"


def _describe_interrupt(value: object) -> str:
    """What an interrupt asks a person: its description, or whatever a tool interrupted with."""
    match value:
        case {"action_requests": [{"description": str(text)}, *_]}:
            return text
    return str(value)
