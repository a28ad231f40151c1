"""The command `plan-execute`: a request in, live progress and an answer out.

Nothing heavy is imported before the arguments are known to be good, so `--help` answers at once.
"""

import queue
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, TextIO

from plan_execute.graphs.command import (
    COMPLETED,
    UNFINISHED,
    Parser,
    Stopping,
    document,
    leave,
    print_json,
    refuse,
    sigterm_heard,
)
from plan_execute.graphs.options import (
    MODELS,
    PLACES,
    SETTINGS,
    Options,
    fill_in,
    kept,
    lacks_model,
    parse,
    parse_resume,
    positive,
    resume_command,
)

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import RunControl
    from langgraph.types import Interrupt

    from plan_execute.agent.context import Context
    from plan_execute.agent.state import RunState
    from plan_execute.graphs.dialog import Dialog
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.plan_execute import PlanExecuteAgent

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
        with sigterm_heard():
            try:
                if words and words[0] in COMMANDS:
                    return _carry_out_command(words)
                return _carry_out(parse(words))
            finally:
                sys.stdout.flush()
    except (KeyboardInterrupt, OSError) as stop:
        leave(stop, as_json="--json" in words)


def pursue(
    agent: "PlanExecuteAgent",
    given: Any,
    options: Options,
    screen: "Screen",
    *,
    context: "Context | None" = None,
    dialog: "Dialog | None" = None,
) -> int:
    """Pursue a run with a ready agent (it needs a checkpointer) until it ends or waits, and give the exit status.

    Args:
        agent: The agent.
        given: What the run begins with; None to go on with one that was interrupted.
        options: What was asked for.
        screen: Where the run is shown.
        context: Settings that are to win over those frozen when the run began.
        dialog: How a person is asked what the run waits for; None where nobody can be.
    """
    from langgraph.types import Command

    from plan_execute.agent.errors import PlanExecuteError
    from plan_execute.graphs.checkpointer import describe_storage_error, storage_errors

    thread: dict[str, Any] = {"thread_id": options.thread or "request"}
    config: RunnableConfig = {"configurable": thread, "metadata": kept(options)}
    seconds = 0.0
    try:
        while True:
            begun = time.monotonic()
            _follow(agent, given, config, context, screen, may_resume=options.thread is not None)
            seconds += time.monotonic() - begun
            snapshot = agent.get_state(config)
            state: RunState = snapshot.values  # type: ignore[assignment]  # LangGraph types it as a plain dict
            if not snapshot.interrupts:
                break
            answers = dialog and _ask(dialog, snapshot.interrupts)
            if not answers:
                return _leave_waiting(snapshot.interrupts, state, options)
            given = Command(resume=answers)
    except (KeyboardInterrupt, OSError) as stop:
        leave(stop, _where_it_stopped(screen, options), as_json=options.json, thread=options.thread)
    except PlanExecuteError as error:
        return refuse(error, as_json=options.json)
    except storage_errors() as error:
        how = f" {_how_to_resume(options)} goes on with what was." if options.thread else ""
        words = f"The run could not be stored: {describe_storage_error(error)}.{how}"
        return refuse(words, as_json=options.json, code="storage", status=UNFINISHED)
    if options.json:
        print_json(document(state, options.thread))
    else:
        screen.end(state, seconds)
    return COMPLETED if state["status"] == "completed" else UNFINISHED


def _carry_out(options: Options) -> int:
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.graphs.checkpointer import open_checkpointer
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.hold import held
    from plan_execute.graphs.plan_execute import create_plan_execute_agent
    from plan_execute.graphs.toolbox import make_tools

    with ExitStack() as stack:
        try:
            context = _make_context(options)
            roles = _describe_roles(context)
            tools = make_tools(options.db, options.docs, web=options.web)
            place = options.checkpointer if options.thread else "memory"
            checkpointer = stack.enter_context(open_checkpointer(place))
            if options.thread:
                stack.enter_context(held(checkpointer, options.thread))
            agent = create_plan_execute_agent(tools=tools, context=context, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        screen = Screen(sys.stderr if options.json else sys.stdout)
        _introduce(screen, roles, options)
        given = {"messages": [("user", options.request)]}
        return pursue(agent, given, options, screen, dialog=_dialog(screen, options))


def _resume(options: Options) -> int:
    """Go on with an unfinished run exactly where it stopped; of a finished one, tell the answer."""
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.agent.context import effective_context
    from plan_execute.graphs.checkpointer import describe_storage_error, open_checkpointer, storage_errors
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.hold import held
    from plan_execute.graphs.plan_execute import create_plan_execute_agent
    from plan_execute.graphs.threads import describe_run, read_snapshot, tell_end
    from plan_execute.graphs.toolbox import make_tools

    thread = str(options.thread)
    screen = Screen(sys.stderr if options.json else sys.stdout)
    with ExitStack() as stack:
        try:
            create = options.checkpointer is None
            checkpointer = stack.enter_context(open_checkpointer(options.checkpointer, create=create))
            stack.enter_context(held(checkpointer, thread))
            state, metadata, finished = read_snapshot(checkpointer, thread)
            if finished:
                return tell_end(state, thread, as_json=options.json)
            fill_in(options, metadata)
            if lacking := lacks_model(options):
                return refuse(lacking, as_json=options.json)
            context = _make_context(options)
            roles = _describe_roles(effective_context(context, state["settings"], context))
            tools = make_tools(options.db, options.docs, web=options.web)
            agent = create_plan_execute_agent(tools=tools, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        except storage_errors() as error:
            words = f"The threads could not be read: {describe_storage_error(error)}."
            return refuse(words, as_json=options.json, code="storage", status=UNFINISHED)
        _introduce(screen, roles, options)
        for line in describe_run(state, screen.progress.marks):
            screen.say(line)
        screen.note("")
        screen.progress.recall(state)
        return pursue(agent, None, options, screen, context=context, dialog=_dialog(screen, options))


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
    from plan_execute.graphs.fork import fork_thread, list_steps
    from plan_execute.graphs.threads import list_threads, prune_thread, report_thread, show_thread

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
    from plan_execute.agent.models import load_model

    said = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    if options.base_url:
        for name in MODELS:
            if str(said.get(name, "")).startswith("openai:"):
                said[name] = load_model(said[name], base_url=options.base_url)
    return make_context(said)


def _describe_roles(context: "Context") -> str:
    """Name the models; one that cannot be had is to be heard of before the run."""
    from plan_execute.agent.models import model_for
    from plan_execute.agent.usage import model_name

    planner, executor = model_for("planner", context), model_for("executor", context)
    model_for("synthesizer", context)
    return f"{model_name(planner)} plans, {model_name(executor)} carries out."


def _introduce(screen: "Screen", roles: str, options: Options) -> None:
    screen.note(roles)
    if not (options.db or options.docs or options.web):
        screen.note("Using the database and documents of a sample shop; yours: --db URL, --docs DIR.")


def _dialog(screen: "Screen", options: Options) -> "Dialog | None":
    from plan_execute.graphs.dialog import Dialog, can_ask

    return Dialog(screen) if not options.json and can_ask(screen) else None


def _ask(dialog: "Dialog", interrupts: "Sequence[Interrupt]") -> dict[str, Any] | None:
    """A person's answer to all that a run waits for, by its id; None if he leaves before the last."""
    answers = {}
    for waiting in interrupts:
        verdict = dialog.judge(waiting.value["action_requests"][0])
        if verdict is None:
            return None
        answers[waiting.id] = {"decisions": [verdict]}
    return answers


def _leave_waiting(interrupts: "Sequence[Interrupt]", state: "RunState", options: Options) -> int:
    """Say that the run stops here because nobody answers, and how it goes on."""
    if options.json:
        print_json({**document(state, options.thread), "waiting": [waiting.value for waiting in interrupts]})
    actions = {waiting.value["action_requests"][0]["name"] for waiting in interrupts}
    what = "The plan waits for review" if actions == {"review_plan"} else "The run waits for an answer"
    how = f"{_how_to_resume(options)} goes on." if options.thread else "it is not kept, because --thread names nothing."
    print(f"plan-execute: {what}: {how}", file=sys.stderr)
    return UNFINISHED


def _follow(
    agent: "PlanExecuteAgent",
    given: Any,
    config: "RunnableConfig",
    context: "Context | None",
    screen: "Screen",
    *,
    may_resume: bool,
) -> None:
    """Show a run until it ends or waits; if it can be resumed, a wish to stop is granted at its next checkpoint.

    Raises:
        KeyboardInterrupt: It was stopped.
    """
    from langgraph.errors import GraphDrained
    from langgraph.runtime import RunControl

    from plan_execute.graphs.display import Line

    control = RunControl()
    stopping = Stopping(control.request_drain)
    try:
        with screen, stopping.heard() if may_resume else nullcontext():
            for event in _events(agent, given, config, context, control):
                if event is None:
                    screen.refresh()
                else:
                    screen.take(event)
                if words := stopping.news():
                    screen.say(Line(words, style="yellow"))
    except GraphDrained:
        raise stopping.wish or KeyboardInterrupt from None


def _events(
    agent: "PlanExecuteAgent",
    given: Any,
    config: "RunnableConfig",
    context: "Context | None",
    control: "RunControl",
) -> Iterator[dict[str, Any] | None]:
    """The run's events, and None whenever a tenth of a second brought none.

    The run has a thread of its own, so that Ctrl-C is heard whatever it is waiting for.
    """
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    over = object()

    def run() -> None:
        try:
            streamed = agent.stream(
                given,
                config,
                context=context,
                stream_mode="custom",
                subgraphs=True,
                durability="sync",
                control=control,
            )
            for _, event in streamed:
                news.put(event)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that shows it
            news.put(error)
        else:
            news.put(over)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            item = news.get(timeout=0.1)
        except queue.Empty:
            yield None
            continue
        if item is over:
            return
        if isinstance(item, Exception):
            raise item
        if isinstance(item, dict):
            yield item


def _where_it_stopped(screen: "Screen", options: Options) -> str:
    progress = screen.progress
    done = f"{', '.join(progress.finished)} finished" if progress.finished else "no milestone finished"
    running = f", {', '.join(progress.running)} not" if progress.running else ""
    how = f" {_how_to_resume(options)} goes on." if options.thread else ""
    return f"Interrupted: {done}{running}.{how}"


def _how_to_resume(options: Options) -> str:
    return resume_command(options.thread or "", options.checkpointer)


if __name__ == "__main__":
    sys.exit(main())
