"""Forks of a stored thread: the steps at which one can begin, and the new thread that begins there."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count, groupby
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, PendingWrite
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from plan_execute.agent.errors import RequestError
from plan_execute.agent.executor.receipts import may_have_acted
from plan_execute.agent.state import LogEntry
from plan_execute.graphs.persistence.checkpointer import Saver
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import config_of, read_thread


class Step(TypedDict):
    """A moment between two steps of a thread's runs, at which a fork can begin."""

    step: int
    """Its number, from 1; it stays the same while the thread grows."""
    at: str
    """When it was reached, ISO 8601."""
    next: str
    """What comes next, in words."""
    finished: list[str]
    """The milestones of the run that were completed by then."""
    after: int | None
    """The step before it; null where a run begins."""
    objective: str
    """What the run was asked for."""
    checkpoint: str
    """LangGraph's id of the checkpoint."""


class Fork(TypedDict):
    """A thread that was forked: from which one, at which step, and what comes next in it."""

    thread: str
    """The new thread's id."""
    forked_from: str
    """The id of the thread it was forked from."""
    step: int
    """The step at which it was forked."""
    next: str
    """What comes next in the new thread, in words."""
    effects: list[str]
    """The tools that changed something after that step in the old thread; the new one may call them again."""


def fork(checkpointer: Saver, thread: str, number: int, name: str | None = None) -> Fork:
    """Begin a new thread in the state that another had at one of its steps; the other stays as it is.

    Args:
        checkpointer: Any sync checkpointer, for example what `with open_checkpointer(...)` gives.
        thread: The id of the thread to fork.
        number: The step, as `find_steps` counts them.
        name: The id of the new thread; None: the first that is free of THREAD-2, THREAD-3 ...

    Returns:
        The new thread. It is stored as a whole or not at all; `agent.invoke(None, config)` runs it.

    Raises:
        RequestError: There is no such thread or step, a thread of that name exists, or another process is making one.
    """
    steps = find_steps(checkpointer, thread)
    step = next((step for step in steps if step["step"] == number), None)
    if step is None:
        raise RequestError(f"Thread {thread!r} has no step {number}: name one of 1 to {len(steps)}.")
    new = name or next(new for n in count(2) if _is_free(checkpointer, new := f"{thread}-{n}"))
    with lock_thread(checkpointer, new):
        if not _is_free(checkpointer, new):
            raise RequestError(f"There is a thread {new!r} already: choose another name.")
        _copy(checkpointer, thread, step["checkpoint"], new)
    effects = _effects_after(checkpointer, thread, step["checkpoint"])
    return Fork(thread=new, forked_from=thread, step=number, next=step["next"], effects=effects)


def find_steps(checkpointer: Saver, thread: str) -> list[Step]:
    """Find the steps at which a thread can be forked.

    They are counted over all its runs, and over branches within the thread, where LangGraph's own step numbers repeat.
    What comes before a run has an objective is left out.

    Args:
        checkpointer: Any sync checkpointer.
        thread: The thread's id.

    Returns:
        The steps, oldest first.

    Raises:
        RequestError: There is no such thread, or a newer version of this package wrote it.
    """
    read_thread(checkpointer, thread)
    numbers: dict[str, int] = {}
    finished: dict[str, list[str]] = {}
    writes: dict[str, Sequence[PendingWrite]] = {}
    steps = []
    for one in reversed(list(checkpointer.list(_root(thread)))):
        own, parent, values = _id_of(one.config), _id_of(one.parent_config), one.checkpoint["channel_values"]
        writes[own] = one.pending_writes or ()
        finished[own] = _finished_by(finished.get(parent, []), writes.get(parent, ()))
        coming = _next_nodes(values)
        if {"__start__", "intake"} & set(coming):
            continue
        numbers[own] = len(numbers) + 1
        steps.append(
            Step(
                step=numbers[own],
                at=one.checkpoint["ts"],
                next=_describe_next(coming, values),
                finished=finished[own],
                after=numbers.get(parent),
                objective=values["objective"],
                checkpoint=own,
            )
        )
    return steps


def _is_free(checkpointer: Saver, thread: str) -> bool:
    found = checkpointer.get_tuple(config_of(thread))
    return found is None or _COPYING in found.metadata


def _copy(checkpointer: Saver, thread: str, checkpoint: str, new: str) -> None:
    """Begin a thread with a checkpoint of another and its ancestors, stored as a whole or not at all.

    The ancestors come with their writes, because delta channels are put together from them. The checkpoint's own writes
    are left out, because a resume would take them for the result of the step it is about to run. So are the checkpoints
    of milestones.

    By `put` and `put_writes`, because no checkpointer implements `copy_thread`. What is stored first is an empty
    stand-in for the checkpoint: until that is replaced, at the end, no query finds the new thread.
    """
    latest, *ancestors = _path(list(checkpointer.list(_root(thread))), checkpoint)
    latest = latest._replace(pending_writes=[])
    stand_in = latest._replace(
        checkpoint={**latest.checkpoint, "channel_values": {}},
        metadata={_COPYING: True},  # type: ignore[misc]  # checkpointers store any key
    )
    checkpointer.delete_thread(new)  # what a fork left whose process was killed
    try:
        for one in (stand_in, *reversed(ancestors), latest):
            parent = _root(new, _id_of(one.parent_config) or None)
            config = checkpointer.put(parent, one.checkpoint, one.metadata, one.checkpoint["channel_versions"])
            tasks = groupby(one.pending_writes or (), key=lambda write: write[0])
            for number, (task, writes) in enumerate(tasks):
                # Of a task's path, only what it sorts by matters once the writes are stored.
                checkpointer.put_writes(config, [write[1:] for write in writes], task, f"{number:06}")
    except BaseException:
        with suppress(Exception):
            checkpointer.delete_thread(new)
        raise


_COPYING = "fork_in_progress"
"""Marks the stand-in, in its metadata."""


def _effects_after(checkpointer: Saver, thread: str, checkpoint: str) -> list[str]:
    """Name the tools that changed something, or may have, after a fork at this checkpoint.

    A milestone that ended has its calls in the log, pruned or not; one that did not, in its own checkpoints.
    """
    found = list(checkpointer.list(config_of(thread)))
    before = {_id_of(one.config) for one in _path(found, checkpoint)[1:]}
    entries: list[LogEntry] = []
    for one in found:
        if one.metadata.get("parents", {}).get("", _id_of(one.config)) in before:
            continue
        for _, channel, value in one.pending_writes or ():
            if channel == "log" and isinstance(value, list):
                entries += value
            elif channel == "tally":
                entries.append(LogEntry(tool_calls=value.get("calls", [])))
    calls = (call for entry in reversed(entries) for call in entry.get("tool_calls", ()))
    names = [call["tool"] for call in calls if may_have_acted(call)]
    # A call that was under way has left only its receipt: the newest of each namespace, and the newest come first.
    newest = {one.config["configurable"].get("checkpoint_ns"): one.metadata for one in reversed(found)}
    receipts = [metadata for metadata in newest.values() if "call" in metadata]
    names += [str(one.get("tool")) for one in receipts if "failed" not in one and one["parents"].get("") not in before]
    return list(dict.fromkeys(names))


def _path(found: Sequence[CheckpointTuple], checkpoint: str) -> list[CheckpointTuple]:
    """A checkpoint and its ancestors, newest first."""
    by_id = {_id_of(one.config): one for one in found}
    path = [by_id[checkpoint]]
    while ancestor := by_id.get(_id_of(path[-1].parent_config)):
        path.append(ancestor)
    return path


def _finished_by(finished: list[str], writes: Sequence[PendingWrite]) -> list[str]:
    """The milestones completed after these writes.

    By the writes, because LangGraph puts every state together from the first checkpoint: for all steps, that is
    quadratic.
    """
    for written in (value for _, channel, value in writes if channel == "milestones"):
        begins_run = isinstance(written, Overwrite)
        milestones = written.value if begins_run else written
        done = [key for key, fields in milestones.items() if fields.get("status") == "completed"]
        finished = list(dict.fromkeys([*([] if begins_run else finished), *done]))
    return finished


def _next_nodes(values: Mapping[str, Any]) -> list[str]:
    """The nodes that come next, by the channels that LangGraph starts them with."""
    sent = [send.node for send in values.get("__pregel_tasks", ())]
    prefix = "branch:to:"
    return sent + [channel.removeprefix(prefix) for channel in values if channel.startswith((prefix, "__start__"))]


def _describe_next(nodes: Sequence[str], values: Mapping[str, Any]) -> str:
    match nodes:
        case []:
            return f"end, {values['status']}"
        case ["review"]:
            return "waits for review"
        case ["ask_user"]:
            return "waits for an answer"
        case ["executor", *_]:
            return f"executor {', '.join(values['decision']['milestones'])}"
    return ", ".join(nodes)


def _root(thread: str, checkpoint: str | None = None) -> RunnableConfig:
    """LangGraph's config for a thread's own checkpoints, without those of its milestones, or for one of them."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint}}


def _id_of(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"]) if config else ""
