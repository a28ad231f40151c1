"""Branching off a kept thread: the steps at which it can be done, and a new thread that begins at one of them."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, PendingWrite
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from plan_execute.agent.errors import RequestError
from plan_execute.agent.executor.receipts import may_have_acted
from plan_execute.agent.state import LogEntry
from plan_execute.graphs.persistence.checkpointer import Saver
from plan_execute.graphs.persistence.history import copy_history
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import config_of, read_thread


class Step(TypedDict):
    """A moment between two steps of a thread's runs, at which another thread can begin."""

    step: int
    """Its number, from 1; it stays the same while the thread goes on."""
    at: str
    """When it was reached, ISO 8601."""
    next: str
    """What comes next, in words."""
    finished: list[str]
    """The milestones of the run that were completed by then."""
    after: int | None
    """The step before it; null where a run begins."""
    objective: str
    checkpoint: str
    """LangGraph's id of it."""


class Fork(TypedDict):
    """A thread that was branched off: of which one, at which step, and what it begins with."""

    thread: str
    forked_from: str
    step: int
    next: str
    effects: list[str]
    """The tools that changed the world after that step, in the thread it was branched off."""


def fork(checkpointer: Saver, thread: str, number: int, name: str | None = None) -> Fork:
    """Begin a thread with what another was at one of its steps; of that one nothing changes.

    Args:
        checkpointer: SQLite's or PostgreSQL's.
        thread: The thread to branch off.
        number: The step, as `find_steps` counts them.
        name: Name of the new thread; None: the first that is free of THREAD-2, THREAD-3 ...

    Raises:
        RequestError: There is no such thread or step, or there is a thread of that name, or one begins just now.
        ConfigurationError: The checkpointer is of neither kind.
    """
    steps = find_steps(checkpointer, thread)
    step = next((step for step in steps if step["step"] == number), None)
    if step is None:
        raise RequestError(f"Thread {thread!r} has no step {number}: name one of 1 to {len(steps)}.")
    new = name or next(new for n in count(2) if _is_free(checkpointer, new := f"{thread}-{n}"))
    with lock_thread(checkpointer, new):
        if not _is_free(checkpointer, new):
            raise RequestError(f"There is a thread {new!r} already: name one that is new.")
        copy_history(checkpointer, thread, step["checkpoint"], new)
    effects = _effects_after(checkpointer, thread, step["checkpoint"])
    return Fork(thread=new, forked_from=thread, step=number, next=step["next"], effects=effects)


def find_steps(checkpointer: Saver, thread: str) -> list[Step]:
    """Find the steps at which one can branch off a thread, oldest first.

    They are counted over all its runs, and branches if other hands made some. LangGraph's own numbers come twice where
    there are branches. What comes before a run has an objective is left out.

    Raises:
        RequestError: There is no such thread.
    """
    read_thread(checkpointer, thread)
    found = list(checkpointer.list({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}))
    numbers: dict[str, int] = {}
    finished: dict[str, list[str]] = {}
    writes: dict[str, Sequence[PendingWrite]] = {}
    steps = []
    for one in reversed(found):
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
                next=_word_next(coming, values),
                finished=finished[own],
                after=numbers.get(parent),
                objective=values["objective"],
                checkpoint=own,
            )
        )
    return steps


def _finished_by(finished: list[str], writes: Sequence[PendingWrite]) -> list[str]:
    """The milestones completed after these writes.

    Read off the writes, because LangGraph puts a state together from its beginning: for all steps, that is quadratic.
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


def _word_next(nodes: Sequence[str], values: Mapping[str, Any]) -> str:
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


def _is_free(checkpointer: Saver, thread: str) -> bool:
    return checkpointer.get_tuple(config_of(thread)) is None


def _effects_after(checkpointer: Saver, thread: str, checkpoint: str) -> list[str]:
    """Name the tools that changed the world, or may have, in what a fork at this checkpoint leaves behind.

    A milestone that ended has its calls in the log, whether pruned or not; one that did not, in its own checkpoints.
    """
    found = list(checkpointer.list({"configurable": {"thread_id": thread}}))
    parents = {_id_of(one.config): _id_of(one.parent_config) for one in found}
    before, ancestor = set[str](), parents.get(checkpoint)
    while ancestor:
        before.add(ancestor)
        ancestor = parents.get(ancestor)
    entries: list[LogEntry] = []
    for one in found:
        own = _id_of(one.config)
        root = one.metadata.get("parents", {}).get("", own)
        if root in before:
            continue
        for _, channel, value in one.pending_writes or ():
            if channel == "log" and isinstance(value, list):
                entries += value
            elif channel == "tally":
                entries.append(LogEntry(tool_calls=value.get("calls", [])))
    calls = (call for entry in reversed(entries) for call in entry.get("tool_calls", ()))
    names = [call["tool"] for call in calls if may_have_acted(call)]
    # Of a call that was under way there is only its receipt: the newest of each, and the newest come first.
    receipts = [one for one in {_place_of(one): one.metadata for one in reversed(found)}.values() if "call" in one]
    names += [str(one.get("tool")) for one in receipts if "failed" not in one and one["parents"].get("") not in before]
    return list(dict.fromkeys(names))


def _place_of(one: CheckpointTuple) -> str:
    return str(one.config["configurable"].get("checkpoint_ns", ""))


def _id_of(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"]) if config else ""
