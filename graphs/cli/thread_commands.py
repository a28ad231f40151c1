"""The commands on stored threads: each prints what it found or did, and gives the exit status."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path

from plan_execute.agent.errors import PlanExecuteError, RequestError
from plan_execute.agent.events import decisions
from plan_execute.agent.nodes.given_plan import export_plan
from plan_execute.agent.state import Milestone, RunState
from plan_execute.graphs.cli.display import Screen, summary
from plan_execute.graphs.cli.options import Options, resume_command
from plan_execute.graphs.cli.output import COMPLETED, document, print_json, refuse, refuse_storage
from plan_execute.graphs.cli.progress import RESULT_WIDTH, STRATEGY_WIDTH, Line, Marks, Progress, describe_call
from plan_execute.graphs.cli.yaml_files import plan_schema, write_plan
from plan_execute.graphs.formatting import duration, local_time, money, one_line, seconds_between
from plan_execute.graphs.persistence.checkpointer import Saver, open_checkpointer, storage_errors
from plan_execute.graphs.persistence.fork import find_steps, fork
from plan_execute.graphs.persistence.prune import prune_scratchpads
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import Thread, find_threads, read_snapshot, read_thread

PAGE_OF = '<meta name="generator" content="plan-execute">'
"""What tells a report from another page."""


def list_threads(options: Options) -> int:
    """Print the stored threads, newest first."""

    def run(checkpointer: Saver) -> None:
        threads = find_threads(checkpointer)
        if options.json:
            print_json(threads)
        elif threads:
            Screen(sys.stdout).print_table([("THREAD", "WHEN", "STATUS", "COST", "OBJECTIVE"), *map(_row, threads)])
        else:
            Screen(sys.stdout).say(Line("No threads are stored yet: --thread NAME begins one."))

    return _with_checkpointer(options, run)


def show_thread(options: Options) -> int:
    """Print what the last run of a thread did and decided."""

    def run(checkpointer: Saver) -> None:
        thread = str(options.thread)
        state, _, _, waits = read_snapshot(checkpointer, thread)
        if options.plan:
            plan = export_plan(state)
            if not plan:
                raise RequestError(f"Thread {thread!r} has no plan: its last run needed none.")
            print(json.dumps(plan, indent=2) if options.json else write_plan(plan, thread).rstrip())
            return
        if options.json:
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
        why = "it waits for your answer" if waits else "it was interrupted, or is running elsewhere"
        how = f"{resume_command(thread, options.checkpointer)} resumes it"
        screen.say(Line(f"It has not finished: {why}; {how}.", style="yellow"))

    return _with_checkpointer(options, run)


def report_thread(options: Options) -> int:
    """Write what the last run of a thread did as a page of HTML: to --output, `-` for stdout, or THREAD.html here."""

    def run(checkpointer: Saver) -> None:
        from plan_execute.graphs.report.page import render_report  # here, because no other command needs templates

        thread = str(options.thread)
        page = render_report(read_thread(checkpointer, thread), thread=thread)
        if options.output == "-":
            if isinstance(sys.stdout, TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as the page itself says
            print(page)
            return
        path = Path(options.output or f"{file_name(thread)}.html")
        if not path.parent.is_dir():
            raise RequestError(f"There is no folder {str(path.parent)!r}: name a file in one that exists.")
        replaced = path.exists()
        try:
            if replaced and PAGE_OF not in path.read_text(encoding="utf-8", errors="replace"):
                raise RequestError(f"{str(path)!r} is no report: name another file with --output, or remove it.")
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise RequestError(
                f"The report cannot be written to {str(path)!r} ({error.strerror}): name another file with --output."
            ) from None
        instead = ", in place of an earlier report" if replaced else ""
        Screen(sys.stdout).say(Line(f"The report of thread {thread!r} is in {path}{instead}"))

    return _with_checkpointer(options, run)


def fork_thread(options: Options) -> int:
    """Print the steps of a thread, or with --at fork it at one of them and say how to run the new thread."""

    def run(checkpointer: Saver) -> None:
        thread = str(options.thread)
        if options.at is None:
            return _list_steps(checkpointer, thread, as_json=options.json)
        made = fork(checkpointer, thread, options.at, options.name)
        if options.json:
            return print_json(made)
        screen, new = Screen(sys.stdout), made["thread"]
        screen.say(
            Line(f"Thread {new!r} has the state of thread {thread!r} at step {options.at}; next: {made['next']}.")
        )
        if made["effects"]:
            tools = ", ".join(map(one_line, made["effects"]))
            message = f"What {tools} did in thread {thread!r} after that step stays done and may be done again."
            screen.say(Line(message, style="yellow"))
        if made["next"].startswith("end"):
            return screen.say(Line(f"Its run has ended: --thread {new!r} with a request begins the next."))
        resume = resume_command(new, options.checkpointer)
        settings = "options such as --planner-model or --review override the settings it began with"
        return screen.say(Line(f"{resume} resumes it; {settings}."))

    return _with_checkpointer(options, run)


def prune_thread(options: Options) -> int:
    """Delete the checkpoints of a finished thread's milestones, and print how much that was."""

    def run(checkpointer: Saver) -> None:
        thread = str(options.thread)
        with lock_thread(checkpointer, thread):
            if read_thread(checkpointer, thread)["status"] == "running":
                raise RequestError(f"Thread {thread!r} has not finished: prune it when its run has ended.")
            pruned = prune_scratchpads(checkpointer, thread)
        if options.json:
            print_json({"thread": thread, **pruned._asdict()})
        else:
            Screen(sys.stdout).say(Line(f"Thread {thread!r}: {pruned.rows:,} rows, {pruned.bytes:,} bytes deleted."))

    return _with_checkpointer(options, run)


def delete_thread(options: Options) -> int:
    """Delete a thread with everything that is stored of it."""

    def run(checkpointer: Saver) -> None:
        thread = str(options.thread)
        with lock_thread(checkpointer, thread):
            read_thread(checkpointer, thread)  # raises if there is none of this package's
            checkpointer.delete_thread(thread)
        if options.json:
            print_json({"thread": thread, "deleted": True})
        else:
            Screen(sys.stdout).say(Line(f"Thread {thread!r} is deleted."))

    return _with_checkpointer(options, run)


def print_schema(_: Options) -> int:
    """Print the JSON schema of plans in files."""
    print_json(plan_schema())
    return COMPLETED


COMMANDS: dict[str, Callable[[Options], int]] = {
    "threads": list_threads,
    "show": show_thread,
    "report": report_thread,
    "fork": fork_thread,
    "schema": print_schema,
    "prune": prune_thread,
    "delete": delete_thread,
}
"""What carries each command out."""


def describe_run(state: RunState, marks: Marks) -> Iterator[Line]:
    """Tell the plans of a run and the decisions on each, then what its milestones did."""
    yield Line(f"Objective: {one_line(state['objective'], STRATEGY_WIDTH)}", style="bold")
    progress = Progress(marks)
    for entry in state["log"]:
        if entry["type"] in {"plan_created", "plan_revised"}:
            yield Line("")
            yield from (line for line in progress.take(entry) if line.text)
        for action, decision in decisions([entry]):
            reason = one_line(decision.get("reason", ""), STRATEGY_WIDTH)
            yield Line(f"{action} ({decision['rule']}): {reason}", marks.result, style="yellow", indent=2)
    if all(milestone["status"] == "pending" for milestone in state["milestones"].values()):
        return
    yield Line("\nMilestones:", style="bold")
    for key, milestone in state["milestones"].items():
        yield from _describe_milestone(key, milestone, marks)


def file_name(thread: str) -> str:
    """A file name for a thread that every system allows: letters, digits, dots and hyphens, at most 80 of them."""
    return re.sub(r"[^\w.-]+", "-", thread)[:80].strip("-.") or "thread"


def _with_checkpointer(options: Options, run: Callable[[Saver], None]) -> int:
    """Do something with stored threads, say in a sentence why it cannot be done, and give the exit status."""
    try:
        # Only the default file may be new: another that does not exist is a typing error.
        with open_checkpointer(options.checkpointer, create=options.checkpointer is None) as checkpointer:
            run(checkpointer)
    except PlanExecuteError as error:
        return refuse(error, as_json=options.json)
    except storage_errors() as error:
        return refuse_storage("The threads could not be read or written", error, as_json=options.json)
    return COMPLETED


def _list_steps(checkpointer: Saver, thread: str, *, as_json: bool) -> None:
    steps = find_steps(checkpointer, thread)
    if as_json:
        return print_json({"thread": thread, "steps": steps})
    rows = [("STEP", "WHEN", "NEXT", "FINISHED")]
    titles = {}
    for step in steps:
        if step["after"] is None:
            titles[len(rows)] = f"Objective: {one_line(step['objective'], STRATEGY_WIDTH)}"
        branch = f" (after step {step['after']})" if step["after"] not in {None, step["step"] - 1} else ""
        finished = ", ".join(step["finished"])
        rows.append((f"{step['step']:>4}", local_time(step["at"]), step["next"] + branch, finished))
    return Screen(sys.stdout).print_table(rows, titles)


def _row(thread: Thread) -> tuple[str, ...]:
    unfinished = "waits for you" if thread["waits"] else "unfinished"
    ended = f"{thread['status']} ({thread['code']})" if thread["code"] else thread["status"]
    status = unfinished if thread["status"] == "running" else ended
    cost = money(thread["usd"]) if thread["usd"] is not None else f"{thread['tokens']:,} tokens"
    return one_line(thread["thread"], 30), local_time(thread["at"]), status, cost, one_line(thread["objective"], 80)


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
        error = one_line(call.get("error") or call.get("code") or "", RESULT_WIDTH)
        failed = "" if call["ok"] else f" {marks.failed} {error}"
        yield Line(f"{describe_call(call['tool'], call['args'])}{failed}", style="dim", indent=6, cut=True)
    if failure:
        yield Line(one_line(failure["message"]), marks.failed, style="red", indent=6)
    elif milestone["result"]:
        yield Line(one_line(milestone["result"], RESULT_WIDTH), marks.result, style="dim", indent=6)
