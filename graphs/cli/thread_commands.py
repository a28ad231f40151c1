"""The commands about stored threads: each prints what it finds or did, and gives the exit status."""

import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from plan_execute.agent.errors import PlanExecuteError, RequestError
from plan_execute.agent.events import decisions
from plan_execute.agent.state import Milestone, RunState
from plan_execute.graphs.cli.command import COMPLETED, UNFINISHED, document, print_json, refuse
from plan_execute.graphs.cli.display import (
    RESULT_WIDTH,
    STRATEGY_WIDTH,
    Line,
    Marks,
    Progress,
    Screen,
    summary,
    word_call,
)
from plan_execute.graphs.cli.options import resume_command
from plan_execute.graphs.formatting import duration, one_line, seconds_between
from plan_execute.graphs.persistence.checkpointer import (
    Saver,
    describe_storage_error,
    open_checkpointer,
    storage_errors,
)
from plan_execute.graphs.persistence.prune import prune_scratchpads
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import Thread, find_threads, read_snapshot, read_thread


def list_threads(place: str | None, *, as_json: bool) -> int:
    """Print which threads are kept, newest first, and give the exit status."""

    def run(checkpointer: Saver) -> None:
        threads = find_threads(checkpointer)
        if as_json:
            print_json(threads)
            return
        screen = Screen(sys.stdout)
        if not threads:
            screen.say(Line("No threads are kept yet: --thread NAME begins one."))
            return
        rows = [("THREAD", "WHEN", "STATUS", "COST", "OBJECTIVE"), *map(_row, threads)]
        widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            screen.say(Line("  ".join(map(set_cell_size, row, widths)).rstrip(), cut=True))

    return with_checkpointer(place, run, as_json=as_json)


def show_thread(thread: str, place: str | None, *, as_json: bool) -> int:
    """Print what the last run of a thread did and decided, and give the exit status."""

    def run(checkpointer: Saver) -> None:
        state, _, _, waits = read_snapshot(checkpointer, thread)
        if as_json:
            print_json(document(state, thread))
            return
        screen = Screen(sys.stdout)
        for line in describe_run(state, screen.progress.marks):
            screen.say(line)
        if state["status"] != "running":
            screen.end(state, state["seconds"])
            return
        for line in summary(state, state["seconds"], screen.progress.marks):
            screen.say(line)
        why = "it waits for your answer" if waits else "it was interrupted, or goes on elsewhere"
        how = f"{resume_command(thread, place)} goes on"
        screen.say(Line(f"It has not finished: {why}; {how}.", style="yellow"))

    return with_checkpointer(place, run, as_json=as_json)


def report_thread(thread: str, output: str | None, place: str | None) -> int:
    """Write what the last run of a thread did as a page of HTML, say where, and give the exit status.

    Args:
        thread: The thread's name.
        output: The file; `-` prints the page; None: THREAD.html in the current folder.
        place: Where threads are kept.
    """

    def run(checkpointer: Saver) -> None:
        from plan_execute.graphs.report.page import render_report  # here, because no other command needs templates

        page = render_report(read_thread(checkpointer, thread), thread=thread)
        if output == "-":
            if isinstance(sys.stdout, TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as the page itself says
            print(page)
            return
        path = Path(output) if output else Path(f"{file_name(thread)}.html")
        if not path.parent.is_dir():
            raise RequestError(f"There is no folder {str(path.parent)!r}: name a file in one that exists.")
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"The report cannot be written to {str(path)!r}: {error.strerror}.") from None
        Screen(sys.stdout).say(Line(f"The report of thread {thread!r} is in {path}"))

    return with_checkpointer(place, run, as_json=False)


def prune_thread(thread: str, place: str | None, *, as_json: bool) -> int:
    """Delete what the milestones of a finished thread left, say how much it was, and give the exit status."""

    def run(checkpointer: Saver) -> None:
        with lock_thread(checkpointer, thread):
            if read_thread(checkpointer, thread)["status"] == "running":
                raise RequestError(f"Thread {thread!r} has not finished: it is pruned when its run has come to an end.")
            dropped = prune_scratchpads(checkpointer, thread)
        if as_json:
            print_json({"thread": thread, **dropped._asdict()})
        else:
            Screen(sys.stdout).say(Line(f"Thread {thread!r}: {dropped.rows:,} rows, {dropped.bytes:,} bytes deleted."))

    return with_checkpointer(place, run, as_json=as_json)


def print_end(state: RunState, thread: str, *, as_json: bool) -> int:
    """Print that a thread's run has ended, and with what, for somebody who wanted to go on with it."""
    if as_json:
        print_json(document(state, thread))
        return COMPLETED
    screen = Screen(sys.stdout)
    screen.say(Line(f"Thread {thread!r} has nothing to go on with: its run has ended, {state['status']}."))
    screen.end(state, state["seconds"])
    return COMPLETED


def describe_run(state: RunState, marks: Marks) -> Iterator[Line]:
    """Tell the plans of a run with what was decided on each, then what became of its milestones."""
    yield Line(f"Objective: {one_line(state['objective'], STRATEGY_WIDTH)}", style="bold")
    progress = Progress(marks)
    for entry in state["log"]:
        if entry["type"] in {"plan_created", "plan_revised"}:
            yield Line("")
            yield from (line for line in progress.take(entry) if line.text)
        for action, decision in decisions([entry]):
            reason = one_line(decision.get("reason", ""), STRATEGY_WIDTH)
            yield Line(f"{action} ({decision['rule']}): {reason}", marks.gives, style="yellow", indent=2)
    if all(milestone["status"] == "pending" for milestone in state["milestones"].values()):
        return
    yield Line("\nMilestones:", style="bold")
    for key, milestone in state["milestones"].items():
        yield from _describe_milestone(key, milestone, marks)


def file_name(thread: str) -> str:
    """Make a thread's name one that a file can have anywhere: letters, digits, points, hyphens, at most 80 of them."""
    return re.sub(r"[^\w.-]+", "-", thread)[:80].strip("-.") or "thread"


def with_checkpointer(place: str | None, run: Callable[[Saver], None], *, as_json: bool) -> int:
    """Do something with kept threads, say in a sentence what keeps it from being done, and give the exit status."""
    try:
        # Only the default file may be new: another that does not exist is a slip of the pen.
        with open_checkpointer(place, create=place is None) as checkpointer:
            run(checkpointer)
    except PlanExecuteError as error:
        return refuse(error, as_json=as_json)
    except storage_errors() as error:
        words = f"The threads could not be read or written: {describe_storage_error(error)}."
        return refuse(words, as_json=as_json, code="storage", status=UNFINISHED)
    return COMPLETED


def _describe_milestone(key: str, milestone: Milestone, marks: Marks) -> Iterator[Line]:
    status, failure = milestone["status"], milestone["failure"]
    mark, style = {
        "completed": (marks.done, "green"),
        "failed": (marks.failed, "red"),
        "blocked": (marks.failed, "red"),
    }.get(status, (marks.unknown, "dim"))
    attempts = f", {milestone['attempts']} attempts" if milestone["attempts"] > 1 else ""
    started, finished = milestone["started_at"], milestone["finished_at"]
    took = f", {duration(seconds_between(started, finished))}" if started and finished else ""
    code = f" ({failure['code']})" if failure and failure["code"] != status else ""
    yield Line(f"{key} {status}{code}{attempts}{took}: {one_line(milestone['goal'])}", mark, style, indent=2)
    for call in milestone["tool_calls"]:
        failed = (
            ""
            if call["ok"]
            else f" {marks.failed} {one_line(call.get('error') or call.get('code') or '', RESULT_WIDTH)}"
        )
        yield Line(f"{word_call(call['tool'], call['args'])}{failed}", style="dim", indent=6, cut=True)
    if failure:
        yield Line(one_line(failure["message"]), marks.failed, style="red", indent=6)
    elif milestone["result"]:
        yield Line(one_line(milestone["result"], RESULT_WIDTH), marks.gives, style="dim", indent=6)


def _row(thread: Thread) -> tuple[str, ...]:
    when = datetime.fromisoformat(thread["at"]).astimezone().strftime("%Y-%m-%d %H:%M")
    unfinished = "waits for you" if thread["waits"] else "unfinished"
    status = unfinished if thread["status"] == "running" else thread["status"]
    cost = f"${thread['usd']:.4f}" if thread["usd"] is not None else f"{thread['tokens']:,} tokens"
    return one_line(thread["thread"], 30), when, status, cost, one_line(thread["objective"], 80)
