"""A graph for which a message on a thread that waits for a person is the person's answer.

In a chat people answer by writing. LangGraph takes input on a waiting thread for a new run and drops what waited.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.messages import HumanMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.graph import Graph
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateSnapshot

from plan_execute.agent.context import PASSED_MODELS
from plan_execute.agent.interrupts import can_answer
from plan_execute.agent.nodes.chat import move_progress

_TASK = "__pregel_task_id"
"""Key of `configurable` by which a graph knows that it is a node of another."""


class AnswerableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph; what it waits for may also be answered by a message, where one text is an answer to it."""

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - its name
        """Stream a run, or the rest of one that waits for the message in the input."""
        saver: Any = self.checkpointer
        full = merge_configs(self.config, config)
        text = _text_of(input, full) if isinstance(saver, BaseCheckpointSaver) else ""
        if text and _waits(saver.get_tuple(full)):
            input = _as_answer(input, text, self.get_state(full), kwargs.get("context"))  # noqa: A001 - see above
        return super().stream(input, config, **kwargs)

    def get_graph(self, config: RunnableConfig | None = None, **kwargs: Any) -> Graph:
        """Draw the graph, without the metadata of its nodes, which are for traces."""
        drawn = super().get_graph(config, **kwargs)
        drawn.nodes = {name: node._replace(metadata=None) for name, node in drawn.nodes.items()}
        return drawn

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002 - its name
        """Stream a run, or the rest of one that waits for the message in the input."""
        saver: Any = self.checkpointer
        full = merge_configs(self.config, config)
        text = _text_of(input, full) if isinstance(saver, BaseCheckpointSaver) else ""
        if text and _waits(await saver.aget_tuple(full)):
            input = _as_answer(input, text, await self.aget_state(full), kwargs.get("context"))  # noqa: A001 - see above
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


def _waits(checkpoint: CheckpointTuple | None) -> bool:
    """Tell whether a thread may wait, by what is cheap to read."""
    return any(channel == INTERRUPT for _, channel, _ in (checkpoint.pending_writes if checkpoint else None) or ())


def _as_answer(given: dict[str, Any], text: str, state: StateSnapshot, context: object) -> Any:
    """Make an input the answer to the one interrupt that a thread waits at, where it can be one.

    It can be none where the run that waits needs a chat model that only its own `context` had.
    """
    if context is None and (state.values.get("settings") or {}).get(PASSED_MODELS):
        return given
    if len(state.interrupts) != 1 or not can_answer(text, state.interrupts[0].value):
        return given
    messages = given["messages"] if isinstance(given["messages"], list) else [given["messages"]]
    return Command(resume=text, update={"messages": [*messages, *move_progress(state.values["messages"])]})
