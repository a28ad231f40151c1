"""The ReAct node: a milestone's loop of model and tools, within the steps it may take."""

from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphBubbleUp, GraphRecursionError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.executor.brief import ExecutorState, _context
from plan_execute.agent.executor.scratchpad import (
    raised_message,
)
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error


def as_react_node(react: Runnable[Any, Any], build: Build, steps: int) -> RunnableLambda[Any, Any]:
    """Make a node of a ReAct loop; what it raises, as other people's middleware may, is the milestone's failure.

    Of the steps its milestone has left it may take what its model calls need, at most so many `steps` each: a runnable
    is handed LangChain's limit of 25 where the run has none of its own, which is less than a milestone's limits allow.
    Of its messages only those come back by which the report is judged: the rest stays where it was said, stored once.
    """

    def outcome(state: ExecutorState) -> dict[str, Any]:
        messages, kept = state["messages"], {"tally", "structured_response"}
        shown = prompts.evidence_of(messages[:-1]) if _context(state, build).verify == "model" else []
        return {**{key: value for key, value in state.items() if key in kept}, "messages": [*shown, *messages[-1:]]}

    def limited(state: ExecutorState, config: RunnableConfig) -> RunnableConfig:
        needed = steps * (_context(state, build).max_model_calls + 1)
        return {**config, "recursion_limit": min(state["remaining_steps"], needed)}

    def run(state: ExecutorState, config: RunnableConfig) -> Any:
        config = limited(state, config)  # out here: settings that will not do are no failure of the milestone
        try:
            return outcome(react.invoke(state, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a milestone may fail, a run may not
            if is_checkpointer_error(error):
                raise
            return _raised(error)

    async def arun(state: ExecutorState, config: RunnableConfig) -> Any:
        config = limited(state, config)
        try:
            return outcome(await react.ainvoke(state, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a milestone may fail, a run may not
            if is_checkpointer_error(error):
                raise
            return _raised(error)

    return RunnableLambda(run, arun, name="react")


def _raised(error: Exception) -> dict[str, Any]:
    if isinstance(error, GraphRecursionError):
        return {"messages": [raised_message("limit", "no steps of LangGraph's are left for it")]}
    return {"messages": [raised_message(classify_error(error), describe_error(error))]}
