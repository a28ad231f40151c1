"""The ReAct node: a milestone's loop of model and tools, within the steps it may take."""

from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphBubbleUp, GraphRecursionError
from langgraph.types import Overwrite

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.executor.brief import ExecutorState
from plan_execute.agent.executor.report import end_milestone, judge_by_rules, spent_on
from plan_execute.agent.executor.scratchpad import Scratchpad, raised_message
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error
from plan_execute.agent.llm.calls import Call, Steps, adrive, drive
from plan_execute.agent.state import new_id


def as_react_node(react: Runnable[Any, Any], build: Build, steps: int) -> Runnable[Any, Any]:
    """Make a node of a ReAct loop, which also judges the report by the rules.

    What the loop raises, as other people's middleware may, is the milestone's failure. Of the steps the milestone has
    left it may take what its model calls need, at most so many `steps` each: a runnable is handed LangChain's limit of
    25 where the run has none of its own, which is less than a milestone's limits allow.

    The node returns an `ExecutorOutput`. Only where a verifier has to be asked, it hands on what that is shown of the
    messages; all others stay where they were said, stored once.
    """

    def milestone(state: ExecutorState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        pad = Scratchpad(state, build)  # out here: settings that will not do are no failure of the milestone
        limit = min(state["remaining_steps"], steps * (pad.context.max_model_calls + 1))
        config = {**config, "recursion_limit": limit}
        begun = {**state, "messages": state["messages"] or _prompt(pad)}
        try:
            ended = yield Call(partial(react.invoke, begun, config), partial(react.ainvoke, begun, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a milestone may fail, a run may not
            if is_checkpointer_error(error):
                raise
            ended = {"messages": [_message_for(error)]}
        pad = Scratchpad({**state, **ended}, build)
        failure = judge_by_rules(pad)
        if failure is None and pad.context.verify == "model":
            kept = {key: ended[key] for key in ("tally", "structured_response") if key in ended}
            return {**kept, "messages": Overwrite([*prompts.evidence_of(pad.messages[:-1]), *pad.messages[-1:]])}
        return {**end_milestone(pad, failure, spent_on(pad)), "messages": Overwrite([])}

    return _ReactNode(react, milestone)


class _ReactNode(RunnableLambda[Any, Any]):
    """A `RunnableLambda`, because in those LangGraph finds the graph inside, but without a trace of its own."""

    def __init__(self, react: Runnable[Any, Any], steps: Callable[[Any, RunnableConfig], Steps[Any]]) -> None:
        super().__init__(lambda _: react, name="react")
        self._steps = steps

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        return drive(self._steps(input, config or {}))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return await adrive(self._steps(input, config or {}))


def _prompt(pad: Scratchpad) -> list[BaseMessage]:
    """The milestone's prompt, with ids, or each write of the loop would add it again."""
    messages = prompts.executor_messages(pad.brief, pad.context.executor_instructions)
    return [message.model_copy(update={"id": new_id()}) for message in messages]


def _message_for(error: Exception) -> AIMessage:
    if isinstance(error, GraphRecursionError):
        return raised_message("limit", "no steps of LangGraph's are left for it")
    return raised_message(classify_error(error), describe_error(error))
