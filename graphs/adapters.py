"""The agent inside something else: a tool of another agent, a link of a chain.

What needs nothing from here:

- **A node of another graph**: `builder.add_node("agent", agent)`. The two share `messages`; of a run one AI message
  comes back, and what else it writes (`answer`, `status`, `error`, ...) only if the host's state has a key of that
  name. Threads are the host's; with `checkpointer=True` the agent has a conversation of its own in them, and called in
  a node with a `thread_id` of its own, its own thread. Questions to a person appear as the host's interrupts and are
  answered there. The host's `context=` reaches it if the host was built with `context_schema=Context`.
- **LangGraph's tool**: `agent.as_tool(arg_types={"messages": list})`, for what writes messages itself. Without
  `arg_types` LangChain refuses every input of every graph that takes messages.
- **Several at once**: `batch`, `abatch`, threads and tasks may share one agent, each with its own config and context.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, ensure_config
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from plan_execute.graphs.plan_execute import PlanExecuteAgent

STEPS = 10_000
"""The recursion limit where none was given: about LangGraph's own, out of the way of the agent's limits."""

DESCRIPTION = (
    "Work on a request that takes several steps: it is planned, carried out with tools of its own, checked and "
    "answered. It sees nothing of this conversation, so the request has to say everything that matters."
)
"""What a tool says of itself unless it is told better."""

Given = LanguageModelInput | dict[str, Any] | Command[Any] | None
"""What a chat model takes: text, messages, a prompt. Also what the graph takes: a state, a resume."""


def as_tool(agent: PlanExecuteAgent, *, name: str | None = None, description: str = DESCRIPTION) -> BaseTool:
    """Make a tool of the agent, which another one calls with a `request` in words.

    It returns the answer. Of a run that did not complete it returns what there is, after a sentence that says so and
    why; if there is no answer, as an error of the tool. Beside an answer there is an artifact for programs: `status`,
    `error`, `usage`, `structured_response`. Each call is a run of its own; several may go on at once. Under a
    checkpointer of the outer agent it survives and resumes with it, and a question to a person (a plan to review) is
    one of the outer agent's interrupts, answered there.

    To an outer agent of this package it counts as read-only; where the agent's tools change the world, say so:
    `tool.metadata = {"effect": "effect"}`.

    Args:
        agent: What `create_plan_execute_agent` returned.
        name: Name of the tool; None for the agent's.
        description: What the model that may call it is told: which requests it is good for.
    """

    def run(request: str) -> tuple[str, dict[str, Any]]:
        try:
            return _answer(agent.invoke(_as_input(request), _config(agent)))
        except GraphRecursionError as error:
            raise ToolException(_TOO_FEW_STEPS) from error

    async def arun(request: str) -> tuple[str, dict[str, Any]]:
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
    """Make a link for an LCEL chain that stands where a chat model could.

    `prompt | as_runnable(agent) | StrOutputParser()`: what a chat model takes goes in, or a state of the graph. One AI
    message comes out, with the text that `as_tool` returns; `status` and `error` are in its `response_metadata`. Where
    the agent has a checkpointer and waits for a person, a `Command(resume=...)` goes in, too.

    In a chain LangChain's recursion limit of 25 steps, enough for ten milestones in a row, applies to graphs as well.
    Here it does not, unless another number was given to the chain or to the agent (`agent.with_config`). A 25 that
    somebody meant cannot be told from LangChain's.
    """

    def run(given: Given) -> AIMessage:
        return _as_message(agent.invoke(_as_input(given), _config(agent)))

    async def arun(given: Given) -> AIMessage:
        return _as_message(await agent.ainvoke(_as_input(given), _config(agent)))

    return RunnableLambda(run, arun, name=agent.get_name())


_TOO_FEW_STEPS = "Not done: the recursion limit is too low for a single milestone. Nothing came of it."


def _config(agent: PlanExecuteAgent) -> RunnableConfig:
    """The limit to run under; everything else is inherited from where this is called."""
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


def _answer(output: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a tool returns: the text, and the outcome for programs."""
    if output.get("answer") is None:
        raise ToolException(_say(output))
    return _say(output), {name: output[name] for name in ("status", "error", "usage", "structured_response")}


def _as_message(output: dict[str, Any]) -> AIMessage:
    return AIMessage(_say(output), response_metadata={name: output.get(name) for name in ("status", "error")})


def _say(output: dict[str, Any]) -> str:
    """The answer in words, honest about a run that did not complete."""
    status, error, answer = output.get("status"), output.get("error"), output.get("answer")
    if status == "completed":
        return str(answer)
    if error is None:
        asked = [_describe(waiting.value) for waiting in output.get("__interrupt__", ())]
        return "\n\n".join(["Not done: the run has stopped on its way and waits.", *asked])
    # Without an answer the last message says itself what went wrong.
    why = output["messages"][-1].text if answer is None else f"{error['message']}\n\nWhat there is:\n{answer}"
    return f"Not complete ({status}, {error['code']}): {why}"


def _describe(question: object) -> str:
    """What a person is asked, in the shape of a review or in whatever a tool made of it."""
    match question:
        case {"action_requests": [{"description": str(text)}, *_]}:
            return text
    return str(question)
