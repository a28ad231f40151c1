"""The command `fork`: lists the steps of a thread, or begins a new thread at one of them."""

import sys
from datetime import datetime

from rich.cells import cell_len, set_cell_size

from plan_execute.graphs.cli.command import print_json
from plan_execute.graphs.cli.display import STRATEGY_WIDTH, Line, Screen
from plan_execute.graphs.cli.options import resume_command
from plan_execute.graphs.cli.thread_commands import with_checkpointer
from plan_execute.graphs.formatting import one_line
from plan_execute.graphs.persistence.checkpointer import Saver
from plan_execute.graphs.persistence.fork import Step, find_steps, fork


def list_steps(thread: str, place: str | None, *, as_json: bool) -> int:
    """Print the steps at which one can branch off a thread, and give the exit status."""

    def run(checkpointer: Saver) -> None:
        steps = find_steps(checkpointer, thread)
        if as_json:
            print_json({"thread": thread, "steps": steps})
            return
        screen = Screen(sys.stdout)
        rows = [("STEP", "WHEN", "NEXT", "FINISHED"), *(_row(step) for step in steps)]
        widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row, step in zip(rows, [None, *steps], strict=True):
            if step and step["after"] is None:
                screen.say(Line(f"Objective: {one_line(step['objective'], STRATEGY_WIDTH)}", style="bold"))
            screen.say(Line("  ".join(map(set_cell_size, row, widths)).rstrip(), cut=True))

    return with_checkpointer(place, run, as_json=as_json)


def fork_thread(thread: str, number: int, name: str | None, place: str | None, *, as_json: bool) -> int:
    """Begin a thread with what another was at one of its steps, say how it goes on, and give the exit status."""

    def run(checkpointer: Saver) -> None:
        made = fork(checkpointer, thread, number, name)
        if as_json:
            print_json(made)
            return
        screen = Screen(sys.stdout)
        new, resume = made["thread"], resume_command(made["thread"], place)
        screen.say(Line(f"Thread {new!r} is what thread {thread!r} was at step {number}; next: {made['next']}."))
        if made["effects"]:
            tools = ", ".join(map(one_line, made["effects"]))
            words = f"What {tools} did in thread {thread!r} after that step stays done and may be done again."
            screen.say(Line(words, style="yellow"))
        ended = made["next"].startswith("end")
        options = "options such as --planner-model or --review win over what the thread was begun with"
        screen.say(Line(f"--thread {new!r} with a request asks it on." if ended else f"{resume} goes on; {options}."))

    return with_checkpointer(place, run, as_json=as_json)


def _row(step: Step) -> tuple[str, ...]:
    when = datetime.fromisoformat(step["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    branch = f" (after step {step['after']})" if step["after"] not in {None, step["step"] - 1} else ""
    return f"{step['step']:>4}", when, step["next"] + branch, ", ".join(step["finished"])
