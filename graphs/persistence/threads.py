"""Queries on stored threads: which there are, and what the last run of one did."""

from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from typing_extensions import TypedDict

from plan_execute.agent.errors import RequestError, did_you_mean
from plan_execute.agent.state import SCHEMA_VERSION, RunState
from plan_execute.graphs.persistence.checkpointer import Saver
from plan_execute.graphs.plan_execute import create_plan_execute_agent


class Thread(TypedDict):
    """A stored thread in short."""

    thread: str
    """Its id."""
    objective: str
    """What its last run was asked for."""
    at: str
    """When it was last written, ISO 8601."""
    status: str
    """Of its last run, a `RunStatus`; `running` also where that run was interrupted."""
    code: str | None
    """Why it did not complete, an `ErrorCode`; `not_checked` where no model checked the answer."""
    waits: bool
    """Whether the run waits for a person to answer an interrupt."""
    usd: float | None
    """What the run cost, in dollars; null where a price is unknown."""
    tokens: int
    """Tokens in and out, of all models."""


class Snapshot(NamedTuple):
    """A thread as its latest checkpoint leaves it."""

    state: RunState
    metadata: dict[str, Any]
    """LangGraph's, of the latest checkpoint."""
    finished: bool
    """Whether the run has ended, so that there is nothing to resume."""
    waits: bool
    """Whether the run waits for a person to answer an interrupt."""


def find_threads(checkpointer: Saver) -> list[Thread]:
    """Find the threads of this package's graph.

    Args:
        checkpointer: Any sync checkpointer, for example what `with open_checkpointer(...)` gives.

    Returns:
        The threads, newest first; those of other graphs in the same database are left out.
    """
    # Every run begins with a checkpoint of its input; the namespace of a milestone's own is not empty.
    begun = {
        str(found.config["configurable"]["thread_id"])
        for found in checkpointer.list(None, filter={"source": "input"})
        if not found.config["configurable"].get("checkpoint_ns")
    }
    threads = [_describe(thread, found) for thread in begun if (found := _latest(checkpointer, thread))]
    return sorted(threads, key=lambda thread: thread["at"], reverse=True)


def read_thread(checkpointer: Saver, thread: str) -> RunState:
    """Read the latest state of a thread.

    Args:
        checkpointer: Any sync checkpointer.
        thread: The thread's id.

    Returns:
        The state of its last run, with the conversation of all its runs in `messages`.

    Raises:
        RequestError: There is no such thread, or a newer version of this package wrote it.
    """
    return read_snapshot(checkpointer, thread).state


def find_snapshot(checkpointer: Saver, thread: str) -> Snapshot | None:
    """Read a thread as `read_snapshot` does; None if there is no such thread."""
    return read_snapshot(checkpointer, thread) if _latest(checkpointer, thread) else None


def read_snapshot(checkpointer: Saver, thread: str) -> Snapshot:
    """Read the latest state of a thread, with what a resume needs to know.

    Args:
        checkpointer: Any sync checkpointer.
        thread: The thread's id.

    Returns:
        The state, put together from its history by the graph that it belongs to, the latest checkpoint's metadata, and
        whether its run has ended or waits.

    Raises:
        RequestError: There is no such thread, or a newer version of this package wrote it.
    """
    latest = _latest(checkpointer, thread)
    if latest is None:
        near = did_you_mean(thread, [known["thread"] for known in find_threads(checkpointer)])
        meant = f" Did you mean {near!r}?" if near else ""
        raise RequestError(f"Unknown thread {thread!r}: plan-execute threads lists those that are stored.{meant}")
    version = latest.checkpoint["channel_values"].get("schema_version", SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise RequestError(
            f"Thread {thread!r} was written by a newer version of plan-execute (its state has schema {version}, this "
            f"version reads up to {SCHEMA_VERSION}): update plan-execute."
        )
    found = create_plan_execute_agent(checkpointer=checkpointer).get_state(config_of(thread))
    # Not by `next`: it is empty, too, where a step is done and the process died before its checkpoint was written.
    finished, waits = not found.tasks, bool(found.interrupts)
    return Snapshot(cast("RunState", found.values), dict(found.metadata or {}), finished, waits)


def config_of(thread: str) -> RunnableConfig:
    """LangGraph's config for a thread."""
    return {"configurable": {"thread_id": thread}}


def _latest(checkpointer: Saver, thread: str) -> CheckpointTuple | None:
    """The latest checkpoint of a thread; None if there is no such thread, or it is another graph's."""
    found = checkpointer.get_tuple(config_of(thread))
    return found if found and {"objective", "status", "usage"} <= set(found.checkpoint["channel_values"]) else None


def _describe(thread: str, latest: CheckpointTuple) -> Thread:
    values, writes = latest.checkpoint["channel_values"], latest.pending_writes or ()
    usage = values["usage"].values()
    prices = [role["usd"] for role in usage]
    asked, answered = ({task for task, channel, _ in writes if channel == which} for which in (INTERRUPT, RESUME))
    return Thread(
        thread=thread,
        objective=values["objective"],
        at=latest.checkpoint["ts"],
        status=values["status"],
        code=(values.get("error") or {}).get("code"),
        waits=bool(asked - answered),
        usd=None if None in prices else sum(prices),
        tokens=sum(role["input_tokens"] + role["output_tokens"] for role in usage),
    )
