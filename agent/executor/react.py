"""The ReAct node: a milestone's loop of model and tools, within the steps it may take."""

from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphRecursionError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.executor.brief import ExecutorState
from plan_execute.agent.executor.scratchpad import Scratchpad, raised_message
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error
from plan_execute.agent.llm.driver import Call, Steps, adrive, drive


def as_react_node(react: Runnable[Any, Any], build: Build, steps: int) -> RunnableLambda[Any, Any]:
    """Make a node of a ReAct loop; what it raises, as other people's middleware may, is the milestone's failure.

    Of the steps its milestone has left it may take what its model calls need, at most so many `steps` each: a runnable
    is handed LangChain's limit of 25 where the run has none of its own, which is less than a milestone's limits allow.
    Of its messages only those come back by which the report is judged: the rest stays where it was said, stored once.
    """

    def talk(state: ExecutorState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        context = Scratchpad(
            state, build
        ).context  # out here: settings that will not do are no failure of the milestone
        limit = min(state["remaining_steps"], steps * (context.max_model_calls + 1))
        config = {**config, "recursion_limit": limit}
        try:
            ended = yield Call(partial(react.invoke, state, config), partial(react.ainvoke, state, config))
        except Exception as error:  # a milestone may fail, a run may not
            if is_checkpointer_error(error):
                raise
            return {"messages": [_message_for(error)]}
        messages = ended["messages"]
        shown = prompts.evidence_of(messages[:-1]) if context.verify == "model" else []
        kept = {key: ended[key] for key in ("tally", "structured_response") if key in ended}
        return {**kept, "messages": [*shown, *messages[-1:]]}

    def run(state: ExecutorState, config: RunnableConfig) -> Any:
        return drive(talk(state, config))

    async def arun(state: ExecutorState, config: RunnableConfig) -> Any:
        return await adrive(talk(state, config))

    return RunnableLambda(run, arun, name="react")


def _message_for(error: Exception) -> AIMessage:
    if isinstance(error, GraphRecursionError):
        return raised_message("limit", "no steps of LangGraph's are left for it")
    return raised_message(classify_error(error), describe_error(error))
