"""The command `plan-execute`: a request in, live progress and an answer out.

Nothing heavy is imported before the arguments are known to be good, so `--help` answers at once.
"""

import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TextIO

from plan_execute.graphs.cli.command import UNFINISHED, Parser, exit_now, refuse, sigterm_as_interrupt
from plan_execute.graphs.cli.options import (
    MODELS,
    PLACES,
    SETTINGS,
    Options,
    fill_in_from_thread,
    lacks_model,
    parse,
    parse_resume,
    positive,
)

if TYPE_CHECKING:
    from plan_execute.agent.context import Context
    from plan_execute.graphs.cli.display import Screen
    from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts

COMMANDS = {
    "threads": "List the threads that are kept, newest first.",
    "show": "Show what the last run of a thread planned, did, decided and answered.",
    "report": "Write what the last run of a thread did as a page of HTML that can be mailed.",
    "resume": "Go on with an unfinished run exactly where it was interrupted, or where it waits for you.",
    "fork": "List the steps of a thread, or with --at begin a new thread with what it was at one of them.",
    "prune": "Delete what the milestones of a finished thread noted on their way; plan, log and results stay.",
}
"""What is a command when it is the first word, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status.

    Whatever the user caused is told in one sentence on stderr. After Ctrl-C, SIGTERM or a closed pipe the process ends
    here, a run that can be resumed at its next checkpoint: a call that waits for its model could otherwise keep it for
    minutes.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        with sigterm_as_interrupt():
            try:
                if words and words[0] in COMMANDS:
                    return _carry_out_command(words)
                return _carry_out(parse(words))
            finally:
                sys.stdout.flush()
    except (KeyboardInterrupt, OSError) as stop:
        exit_now(stop, as_json="--json" in words)


def _carry_out(options: Options) -> int:
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.graphs.cli.display import Screen
    from plan_execute.graphs.cli.run import run_until_done
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer, storage_errors
    from plan_execute.graphs.persistence.thread_lock import lock_thread
    from plan_execute.graphs.persistence.threads import find_snapshot
    from plan_execute.graphs.plan_execute import create_plan_execute_agent
    from plan_execute.tools import make_default_tools

    with ExitStack() as stack:
        try:
            place = options.checkpointer if options.thread else "memory"
            checkpointer = stack.enter_context(open_checkpointer(place))
            before = None
            if options.thread:
                stack.enter_context(lock_thread(checkpointer, options.thread))
                before = find_snapshot(checkpointer, options.thread)
            if before:
                fill_in_from_thread(options, before.metadata)
            context = _make_context(options)
            roles = _describe_roles(context)
            tools = make_default_tools(options.db, options.docs, web=options.web)
            agent = create_plan_execute_agent(tools=tools, context=context, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        except storage_errors() as error:
            return _refuse_storage(error, options)
        screen = Screen(sys.stderr if options.json else sys.stdout)
        _introduce(screen, roles, options)
        if before and not before.finished:
            left = f"Thread {options.thread!r} had an unfinished run, which this request leaves behind;"
            screen.note(f"{left} plan-execute fork {shlex.quote(str(options.thread))} reaches its steps.")
        given = {"messages": [("user", options.request)]}
        return run_until_done(agent, given, options, screen, dialog=_dialog(screen, options))


def _resume(options: Options) -> int:
    """Go on with an unfinished run exactly where it stopped; of a finished one, tell the answer."""
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.agent.context import effective_context
    from plan_execute.graphs.cli.display import Screen
    from plan_execute.graphs.cli.run import run_until_done
    from plan_execute.graphs.cli.thread_commands import describe_run, print_end
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer, storage_errors
    from plan_execute.graphs.persistence.thread_lock import lock_thread
    from plan_execute.graphs.persistence.threads import read_snapshot
    from plan_execute.graphs.plan_execute import create_plan_execute_agent
    from plan_execute.tools import make_default_tools

    thread = str(options.thread)
    screen = Screen(sys.stderr if options.json else sys.stdout)
    with ExitStack() as stack:
        try:
            create = options.checkpointer is None
            checkpointer = stack.enter_context(open_checkpointer(options.checkpointer, create=create))
            stack.enter_context(lock_thread(checkpointer, thread))
            state, metadata, finished, _ = read_snapshot(checkpointer, thread)
            if finished:
                return print_end(state, thread, as_json=options.json)
            fill_in_from_thread(options, metadata)
            if lacking := lacks_model(options):
                return refuse(lacking, as_json=options.json)
            context = _make_context(options)
            roles = _describe_roles(effective_context(context, state["settings"], context))
            tools = make_default_tools(options.db, options.docs, web=options.web)
            agent = create_plan_execute_agent(tools=tools, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        except storage_errors() as error:
            return _refuse_storage(error, options)
        _introduce(screen, roles, options)
        for line in describe_run(state, screen.progress.marks):
            screen.say(line)
        screen.note("")
        screen.progress.recall(state)
        return run_until_done(agent, None, options, screen, context=context, dialog=_dialog(screen, options))


def _carry_out_command(words: Sequence[str]) -> int:
    command = words[0]
    if command == "resume":
        return _resume(parse_resume(words[1:], COMMANDS[command]))
    parser = Parser(as_json="--json" in words, prog=f"plan-execute {command}", description=COMMANDS[command])
    if command != "threads":
        parser.add_argument("thread", metavar="THREAD", help="its name; plan-execute threads lists them")
    parser.add_argument("--checkpointer", metavar="URL", help=f"where threads are kept: {PLACES}")
    if command == "fork":
        parser.add_argument("--at", metavar="N", type=positive, help="the step to branch off at (none: list them)")
        parser.add_argument("--as", dest="name", metavar="NAME", help="name of the new thread (THREAD-2, -3, ...)")
    if command == "report":
        parser.add_argument("-o", "--output", metavar="FILE", help="where to; - prints it (default: THREAD.html here)")
    else:
        parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words[1:], namespace=Options())
    if options.name is not None and (options.at is None or not options.name.strip()):
        parser.error("--as needs --at N, and a name")
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.graphs.cli.fork_command import fork_thread, list_steps
    from plan_execute.graphs.cli.thread_commands import list_threads, prune_thread, report_thread, show_thread

    match command, options.thread:
        case "show", str(thread):
            return show_thread(thread, options.checkpointer, as_json=options.json)
        case "report", str(thread):
            return report_thread(thread, options.output, options.checkpointer)
        case "fork", str(thread) if options.at:
            return fork_thread(thread, options.at, options.name, options.checkpointer, as_json=options.json)
        case "fork", str(thread):
            return list_steps(thread, options.checkpointer, as_json=options.json)
        case "prune", str(thread):
            return prune_thread(thread, options.checkpointer, as_json=options.json)
    return list_threads(options.checkpointer, as_json=options.json)


def _announce_start(stream: TextIO) -> None:
    """Say at once that something happens, because the imports take seconds; what comes next is written over it."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if stream.isatty():
        print("Starting ...", end="\r", file=stream, flush=True)


def _make_context(options: Options) -> "Context":
    """The settings of the run: what was said, and the defaults for the rest."""
    from plan_execute.agent.context import make_context
    from plan_execute.agent.llm.models import load_model

    said = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    if options.base_url:
        for name in MODELS:
            if str(said.get(name, "")).startswith("openai:"):
                said[name] = load_model(said[name], base_url=options.base_url)
    return make_context(said)


def _describe_roles(context: "Context") -> str:
    """Name the models; one that cannot be had is to be heard of before the run."""
    from plan_execute.agent.llm.models import is_compact, model_for
    from plan_execute.agent.llm.usage import model_name

    planner, executor = model_for("planner", context), model_for("executor", context)
    model_for("synthesizer", context)
    small = is_compact(planner) or is_compact(executor)
    caveat = ": a demonstration, often wrong; --planner-model names a real model" if small else ""
    return f"{model_name(planner)} plans, {model_name(executor)} carries out{caveat}."


def _introduce(screen: "Screen", roles: str, options: Options) -> None:
    screen.note(roles)
    data = [name for name in (options.db, options.docs, options.web and "the web") if name]
    if not data:
        screen.note("Using the database and documents of a sample shop; yours: --db URL, --docs DIR.")
    elif options.data_as_before:
        screen.note(f"Using {', '.join(data)}, as before in this thread.")


def _refuse_storage(error: Exception, options: Options) -> int:
    from plan_execute.graphs.persistence.checkpointer import describe_storage_error

    words = f"The threads could not be read: {describe_storage_error(error)}."
    return refuse(words, as_json=options.json, code="storage", status=UNFINISHED)


def _dialog(screen: "Screen", options: Options) -> "TerminalPrompts | None":
    from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts, can_ask

    return TerminalPrompts(screen) if not options.json and can_ask(screen) else None


if __name__ == "__main__":
    sys.exit(main())
