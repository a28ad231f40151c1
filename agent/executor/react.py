"""The ReAct node: a milestone's loop of model and tools, within its limit of LangGraph steps."""

from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphBubbleUp, GraphRecursionError
from langgraph.types import Overwrite

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.events import span_facts
from plan_execute.agent.executor.brief import ExecutorState
from plan_execute.agent.executor.report import end_milestone, judge_by_rules, spent_on
from plan_execute.agent.executor.scratchpad import Scratchpad, raised_message
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error
from plan_execute.agent.llm.calls import Call, Steps, SubgraphNode
from plan_execute.agent.state import new_id


def as_react_node(react: Runnable[Any, Any], build: Build, steps: int) -> Runnable[Any, Any]:
    """Make a node of a ReAct loop, which also judges the report by rules.

    What the loop raises, for example in other middleware, is a failure of the milestone. The loop gets a recursion
    limit of its own, because LangChain's default of 25 is less than the milestone's limits allow.

    The node returns an `ExecutorOutput`. Only if a verifier comes next it returns the messages that the verifier is
    shown; all others stay in the checkpoints of the loop, stored once.

    Args:
        react: The compiled agent of LangChain's `create_agent`.
        build: What the graph is built with.
        steps: LangGraph steps that the loop takes for each model call.
    """

    def run_milestone(state: ExecutorState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        pad = Scratchpad(state, build)  # not in the `try`: invalid settings are not a failure of the milestone
        limit = min(state["remaining_steps"], steps * (pad.context.max_model_calls + 1))
        facts = span_facts("executor", pad.brief)
        own: RunnableConfig = {
            "recursion_limit": limit,
            "run_name": f"milestone {pad.brief['id']}",
            "tags": ["executor"],
            "metadata": facts,
        }
        config = merge_configs(config, own)
        messages = state["messages"] or prompts.executor_messages(pad.brief, pad.context.executor_instructions)
        # With ids, or each write of the loop would add them again.
        start = {
            **state,
            "messages": [message.model_copy(update={"id": message.id or new_id()}) for message in messages],
        }
        try:
            ended = yield Call(partial(react.invoke, start, config), partial(react.ainvoke, start, config))
        except GraphBubbleUp:
            raise
        except Exception as error:
            if is_checkpointer_error(error):
                raise
            ended = {"messages": [_message_for(error)]}
        pad = Scratchpad({**state, **ended}, build)
        failure = judge_by_rules(pad)
        if failure is None and pad.context.verify == "model":
            report = {key: ended[key] for key in ("tally", "structured_response") if key in ended}
            return {**report, "messages": Overwrite([*prompts.evidence_of(pad.messages[:-1]), *pad.messages[-1:]])}
        return {**end_milestone(pad, failure, spent_on(pad)), "messages": Overwrite([])}

    return SubgraphNode(react, run_milestone, "react")


def _message_for(error: Exception) -> AIMessage:
    if isinstance(error, GraphRecursionError):
        return raised_message("limit", "it has no LangGraph steps left")
    return raised_message(classify_error(error), describe_error(error))
