"""Stored threads: open the database, query threads, fork and prune them, and lock one while a run writes to it."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer as open_checkpointer
    from plan_execute.graphs.persistence.fork import Fork as Fork
    from plan_execute.graphs.persistence.fork import Step as Step
    from plan_execute.graphs.persistence.fork import find_steps as find_steps
    from plan_execute.graphs.persistence.fork import fork as fork
    from plan_execute.graphs.persistence.prune import Pruned as Pruned
    from plan_execute.graphs.persistence.prune import prune_scratchpads as prune_scratchpads
    from plan_execute.graphs.persistence.thread_lock import alock_thread as alock_thread
    from plan_execute.graphs.persistence.thread_lock import lock_thread as lock_thread
    from plan_execute.graphs.persistence.threads import Snapshot as Snapshot
    from plan_execute.graphs.persistence.threads import Thread as Thread
    from plan_execute.graphs.persistence.threads import find_threads as find_threads
    from plan_execute.graphs.persistence.threads import read_snapshot as read_snapshot
    from plan_execute.graphs.persistence.threads import read_thread as read_thread

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpointer": ["open_checkpointer"],
        "threads": ["Snapshot", "Thread", "find_threads", "read_snapshot", "read_thread"],
        "fork": ["Fork", "Step", "find_steps", "fork"],
        "prune": ["Pruned", "prune_scratchpads"],
        "thread_lock": ["alock_thread", "lock_thread"],
    },
)
