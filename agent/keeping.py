"""Who keeps the run: the checkpointer in force."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config

_KEY = "__pregel_checkpointer"
"""Under which key of `configurable` LangGraph hands it to a node; it has no public name."""


def checkpointer_in_force() -> BaseCheckpointSaver[Any] | None:
    """The checkpointer of the run that the calling node belongs to, its host's if it has none of its own."""
    try:
        found = get_config().get("configurable", {}).get(_KEY)
    except RuntimeError:  # outside a graph
        return None
    return found if isinstance(found, BaseCheckpointSaver) else None
