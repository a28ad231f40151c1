"""What LangGraph keeps of a run under names of its own: the checkpointer, open questions, stray answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.runnables.config import set_config_context
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.config import get_config
from langgraph.types import interrupt

_CHECKPOINTER = "__pregel_checkpointer"
"""Under which key of `configurable` it hands a node the checkpointer in force."""
_RESUMING = "__pregel_resuming"
"""The key under which it tells a node that it may have been begun before."""
_SCRATCHPAD = "__pregel_scratchpad"
"""The key under which it hands a node the answers there are."""
_NOBODY = "00000000-0000-0000-0000-000000000000"
"""The task under which it keeps an answer that names no question."""


def checkpointer_in_force() -> BaseCheckpointSaver[Any] | None:
    """The checkpointer of the run that the calling node belongs to, its host's if it has none of its own."""
    found = _configurable().get(_CHECKPOINTER)
    return found if isinstance(found, BaseCheckpointSaver) else None


def put_question(question: Mapping[str, Any]) -> object:
    """LangGraph's `interrupt`, but an answer that names no question answers one that was put, and no more.

    LangGraph gives it to the first question that comes up, and leaves it in the checkpoint until the step of the
    outermost graph is done. So it would answer a milestone that had not asked yet beside the one that did; or, after a
    crash or on a resume without an answer, the next question: one approval would cover a call that nobody has seen.
    """
    saver, config = checkpointer_in_force(), get_config()
    configurable = config["configurable"]
    if not questions_kept():
        deaf = replace(configurable[_SCRATCHPAD], get_null_resume=lambda _=False: None)
        config = {**config, "configurable": {**configurable, _SCRATCHPAD: deaf}}
    try:
        with set_config_context(config) as context:
            return context.run(interrupt, question)
    finally:
        outermost = configurable.get("checkpoint_map", {}).get("")
        if saver is not None and outermost:
            place = {"thread_id": configurable["thread_id"], "checkpoint_ns": "", "checkpoint_id": outermost}
            saver.put_writes({"configurable": place}, [(RESUME, None)], _NOBODY)


def questions_kept() -> list[object]:
    """What the task at work had put before a person when it was stopped."""
    saver, configurable = checkpointer_in_force(), _configurable()
    if saver is None or not configurable.get(_RESUMING):
        return []
    place, _, task = configurable["checkpoint_ns"].rpartition("|")
    facts = {"checkpoint_ns": place, "checkpoint_id": configurable["checkpoint_map"][place]}
    found = saver.get_tuple({"configurable": {"thread_id": configurable["thread_id"], **facts}})
    writes = (found.pending_writes if found else None) or ()
    own = (task.rpartition(":")[2], INTERRUPT)
    return [waiting.value for key, channel, value in writes if (key, channel) == own for waiting in value]


def _configurable() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = get_config().get("configurable", {})
    except RuntimeError:  # outside a graph
        return {}
    return found
