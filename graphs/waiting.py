"""A graph for which a message on a thread that waits for a person is the person's answer.

In a chat people answer by writing. LangGraph takes input on a waiting thread for a new run and drops what waited.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.messages import HumanMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from plan_execute.agent.interrupts import can_answer
from plan_execute.agent.nodes.chat import move_progress

_TASK = "__pregel_task_id"
"""Key of `configurable` by which a graph knows that it is a node of another."""


class AnswerableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph; what it waits for may also be answered by a message, where one text is an answer to it."""

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - its name
        """Stream a run, or the rest of one that waits for the message in the input."""
        saver, full = self.checkpointer, merge_configs(self.config, config)
        if isinstance(saver, BaseCheckpointSaver) and (text := _text_of(input, full)):
            input = _as_answer(input, text, saver.get_tuple(full))  # noqa: A001 - see above
        return super().stream(input, config, **kwargs)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 - its name
        """Stream a run, or the rest of one that waits for the message in the input."""
        saver, full = self.checkpointer, merge_configs(self.config, config)
        if isinstance(saver, BaseCheckpointSaver) and (text := _text_of(input, full)):
            input = _as_answer(input, text, await saver.aget_tuple(full))  # noqa: A001 - see above
        async with aclosing(super().astream(input, config, **kwargs)) as parts:  # type: ignore[type-var]  # a generator
            async for part in parts:
                yield part


def _text_of(given: Any, config: RunnableConfig) -> str:
    """Return the text of an input that is a message on a thread of the graph's own; empty if it is anything else."""
    configurable = config.get("configurable", {})
    if not isinstance(given, dict) or "plan" in given or not given.get("messages"):
        return ""
    if "thread_id" not in configurable or _TASK in configurable:
        return ""
    messages = given["messages"]
    try:
        last = convert_to_messages(messages if isinstance(messages, list) else [messages])[-1]
    except (NotImplementedError, ValueError):  # the graph says what is wrong with it
        return ""
    return last.text.strip() if isinstance(last, HumanMessage) else ""


def _as_answer(given: dict[str, Any], text: str, checkpoint: CheckpointTuple | None) -> Any:
    """Make an input the answer to the one interrupt that a thread waits at, where it can be one."""
    writes = (checkpoint.pending_writes if checkpoint else None) or ()
    resumed = {task for task, channel, _ in writes if channel == RESUME}
    waiting = [value for task, channel, value in writes if channel == INTERRUPT and task not in resumed]
    interrupts = [interrupt for value in waiting for interrupt in value]
    if len(interrupts) != 1 or not can_answer(text, interrupts[0].value):
        return given
    messages = given["messages"] if isinstance(given["messages"], list) else [given["messages"]]
    known = checkpoint.checkpoint["channel_values"].get("messages", ()) if checkpoint else ()
    return Command(resume=text, update={"messages": [*messages, *move_progress(known)]})
