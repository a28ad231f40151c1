"""What can be done with kept threads: list them, show or report what the last run of one did, make one smaller."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import PendingWrite
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from typing_extensions import TypedDict

from plan_execute.agent.errors import RequestError
from plan_execute.agent.state import RunState
from plan_execute.graphs.persistence.checkpointer import (
    Saver,
)
from plan_execute.graphs.plan_execute import create_plan_execute_agent


class Thread(TypedDict):
    """One line of the list of threads; `at` is when it was last written, ISO 8601; `usd` null where unknown.

    `waits` is whether it has put a question before a person.
    """

    thread: str
    objective: str
    at: str
    status: str
    waits: bool
    usd: float | None
    tokens: int


class Snapshot(NamedTuple):
    """A thread as it stands: its state, the metadata of its latest checkpoint, whether its run has ended or waits."""

    state: RunState
    metadata: dict[str, Any]
    finished: bool
    waits: bool
    """Whether it has put a question before a person."""


def find_threads(checkpointer: Saver) -> list[Thread]:
    """Find the threads of this package's graph, newest first."""
    # Every run begins with a checkpoint of its input; the namespace of a milestone's own is not empty.
    begun = {
        str(found.config["configurable"]["thread_id"])
        for found in checkpointer.list(None, filter={"source": "input"})
        if not found.config["configurable"].get("checkpoint_ns")
    }
    threads = [thread for key in begun if (thread := _latest(checkpointer, key))]
    return sorted(threads, key=lambda thread: thread["at"], reverse=True)


def read_thread(checkpointer: Saver, thread: str) -> RunState:
    """Read the latest state of a thread, put together from its history by the graph it belongs to.

    Raises:
        RequestError: There is no such thread.
    """
    return read_snapshot(checkpointer, thread).state


def find_snapshot(checkpointer: Saver, thread: str) -> Snapshot | None:
    """Read the latest state of a thread as `read_snapshot` does; None if there is no such thread."""
    return read_snapshot(checkpointer, thread) if _latest(checkpointer, thread) else None


def read_snapshot(checkpointer: Saver, thread: str) -> Snapshot:
    """Read the latest state of a thread with what is to be known to go on with it.

    Raises:
        RequestError: There is no such thread.
    """
    if _latest(checkpointer, thread) is None:
        raise RequestError(f"Unknown thread {thread!r}: plan-execute threads lists those that are kept.")
    found = create_plan_execute_agent(checkpointer=checkpointer).get_state(config_of(thread))
    # Not by `next`, which is empty, too, where a step is done and the checkpoint behind it was not written any more.
    finished, waits = not found.tasks, bool(found.interrupts)
    return Snapshot(cast("RunState", found.values), dict(found.metadata or {}), finished, waits)


def config_of(thread: str) -> RunnableConfig:
    """How LangGraph names a thread."""
    return {"configurable": {"thread_id": thread}}


def _latest(checkpointer: Saver, thread: str) -> Thread | None:
    """What the list says of a thread; None if there is none of that name, or it is another graph's."""
    found = checkpointer.get_tuple(config_of(thread))
    values = found.checkpoint["channel_values"] if found else {}
    if found is None or not {"objective", "status", "usage"} <= set(values):
        return None
    usage = values["usage"].values()
    prices = [role["usd"] for role in usage]
    return Thread(
        thread=thread,
        objective=values["objective"],
        at=found.checkpoint["ts"],
        status=values["status"],
        waits=_waits(found.pending_writes or ()),
        usd=None if None in prices else sum(prices),
        tokens=sum(role["input_tokens"] + role["output_tokens"] for role in usage),
    )


def _waits(writes: Sequence[PendingWrite]) -> bool:
    """Whether a question is open, by what the tasks of a step have written."""
    asked, answered = ({task for task, written, _ in writes if written == channel} for channel in (INTERRUPT, RESUME))
    return bool(asked - answered)
