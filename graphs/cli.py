"""The command `plan-execute`: a request in, live progress and an answer out.

Nothing heavy is imported before the arguments are known to be good, so `--help` answers at once.
"""

import argparse
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TextIO

from plan_execute.graphs.command import (
    COMPLETED,
    UNFINISHED,
    Parser,
    document,
    leave,
    print_json,
    refuse,
    sigterm_heard,
)

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from plan_execute.agent.context import Context
    from plan_execute.agent.state import RunState
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.plan_execute import PlanExecuteAgent

MODELS = ("planner_model", "executor_model", "synthesizer_model")
"""The options that name a model."""

NEEDED = {
    "db": "a SQLAlchemy URL or a SQLite file",
    "docs": "a folder",
    "thread": "a name",
    "checkpointer": "a URL or a file",
}
"""What an option may not lack if it is given."""

PLACES = "a SQLite file, sqlite:///... or postgresql://... (default: a file of yours)"

EXAMPLES = """\
examples:
  plan-execute "Which category earned most in 2025, and what does its warranty cover?"
  plan-execute "Who are our ten best customers?" --db sqlite:///shop.db
  plan-execute "Compare the refund rules with last month's refunds" --db postgresql://me@host/shop --docs handbook/
  plan-execute "..." --planner-model openai:gpt-5 --executor-model openai:gpt-5-mini --granularity fine
  plan-execute "..." --planner-model openai:qwen3 --base-url http://localhost:8000/v1
  plan-execute "And by country?" --thread sales
  plan-execute - --json < request.txt

threads kept with --thread:
  plan-execute threads          which there are
  plan-execute show THREAD      what the last run of one did
  plan-execute prune THREAD     make its file smaller
A request that is just one of these words: plan-execute -- threads

environment: PLAN_EXECUTE_DB, PLAN_EXECUTE_DOCS stand in for --db, --docs; OPENAI_API_KEY, OPENAI_BASE_URL

exit status: 0 completed, 1 aborted or partial, 2 misuse, 130 interrupted
--json prints one document in every case: its "status" is null where no run came to an end, "interrupted" after Ctrl-C,
and "error" says why.
"""

COMMANDS = {
    "threads": "List the threads that are kept, newest first.",
    "show": "Show what the last run of a thread planned, did, decided and answered.",
    "prune": "Delete what the milestones of a finished thread noted on their way; plan, log and results stay.",
}
"""What is a command when it is the first word, and what it does."""


class Options(argparse.Namespace):
    """What was asked for on the command line; None where nothing was said."""

    request: str
    db: str | None = None
    docs: str | None = None
    web: bool = False
    planner_model: str | None = None
    executor_model: str | None = None
    synthesizer_model: str | None = None
    base_url: str | None = None
    granularity: str | None = None
    max_replans: int | None = None
    max_parallel: int | None = None
    thread: str | None = None
    checkpointer: str | None = None
    json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status.

    Whatever the user caused is told in one sentence on stderr. After Ctrl-C, SIGTERM or a closed pipe the process ends
    here: a call that waits for its model could otherwise keep it for minutes.
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


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; leaves with status 2 and a sentence when it makes no sense."""
    parser = Parser(
        as_json="--json" in argv,
        prog="plan-execute",
        usage='plan-execute [options] "request"',
        description="Plans a request with a heavy model, carries it out with a light one, and answers.",
        epilog=EXAMPLES,
    )
    parser.add_argument("request", help="what is to be done, in quotes; - reads it from standard input")
    parser.add_argument("--version", action="version", version=f"plan-execute {version('langgraph-plan-execute')}")
    data = parser.add_argument_group("data (when none is named: the database and documents of a sample shop)")
    data.add_argument("--db", metavar="URL", help="database to ask, as a SQLAlchemy URL or a SQLite file; only read")
    data.add_argument("--docs", metavar="DIR", help="folder of .md, .rst and .txt files to search and read")
    data.add_argument("--web", action="store_true", help="search the web and read pages (needs the extra 'web')")
    models = parser.add_argument_group("models (provider:model; default: OpenAI with OPENAI_API_KEY, else embedded)")
    models.add_argument("--planner-model", metavar="MODEL", help="heavy model that plans, for example openai:gpt-5")
    models.add_argument("--executor-model", metavar="MODEL", help="light model that carries out (default: planner's)")
    models.add_argument("--synthesizer-model", metavar="MODEL", help="writes the answer (default: planner's)")
    models.add_argument("--base-url", metavar="URL", help="server of openai: models, for anything OpenAI-compatible")
    run = parser.add_argument_group("run")
    run.add_argument("--granularity", choices=["coarse", "balanced", "fine"], help="size of milestones (balanced)")
    run.add_argument("--max-replans", metavar="N", type=_whole, help="how often a failing plan is revised (3)")
    run.add_argument("--max-parallel", metavar="N", type=_positive, help="milestones that run at the same time (1)")
    run.add_argument("--thread", metavar="NAME", help="go on with a kept conversation of that name, or begin it")
    run.add_argument("--checkpointer", metavar="URL", help=f"where threads are kept: {PLACES}")
    run.add_argument("--json", action="store_true", help="print one JSON document instead of progress and answer")
    defaults = {"db": os.environ.get("PLAN_EXECUTE_DB") or None, "docs": os.environ.get("PLAN_EXECUTE_DOCS") or None}
    options, rest = parser.parse_known_args(argv, namespace=Options(**defaults))
    if rest and not rest[0].startswith("-"):
        parser.error(f"unexpected {rest[0]!r} after the request: put the whole request in quotes")
    if rest:
        parser.error(f"unknown option {rest[0]!r}: plan-execute --help lists them")
    options.request = _read_request(options.request)
    if not options.request.strip():
        parser.error("the request is empty: say what the agent is to do")
    for option, lacking in NEEDED.items():
        if (given := getattr(options, option)) is not None and not given.strip():
            parser.error(f"--{option} needs {lacking}")
    if options.checkpointer and not options.thread:
        parser.error("--checkpointer needs --thread NAME: without it nothing is kept")
    if options.base_url and not any(str(getattr(options, name)).startswith("openai:") for name in MODELS):
        parser.error("--base-url needs the name of an openai: model, for example --planner-model openai:qwen3")
    return options


def run_request(agent: "PlanExecuteAgent", options: Options, screen: "Screen") -> int:
    """Pursue the request with a ready agent (it needs a checkpointer) and give the exit status."""
    from plan_execute.agent.errors import PlanExecuteError
    from plan_execute.graphs.checkpointer import storage_errors

    config: RunnableConfig = {"configurable": {"thread_id": options.thread or "request"}}
    begun = time.monotonic()
    try:
        with screen:
            for event in _events(agent, options.request, config):
                if event is None:
                    screen.refresh()
                else:
                    screen.take(event)
    except (KeyboardInterrupt, OSError) as stop:
        leave(stop, _where_it_stopped(screen, options), as_json=options.json, thread=options.thread)
    except PlanExecuteError as error:
        return refuse(error, as_json=options.json)
    except storage_errors() as error:
        words = f"the run could not be stored: {error}"
        return refuse(words, as_json=options.json, code="storage", status=UNFINISHED)
    state: RunState = agent.get_state(config).values  # type: ignore[assignment]  # LangGraph types it as a plain dict
    if options.json:
        print_json(document(state, options.thread))
    else:
        screen.end(state, time.monotonic() - begun)
    return COMPLETED if state["status"] == "completed" else UNFINISHED


def _carry_out(options: Options) -> int:
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.agent.models import model_for
    from plan_execute.agent.usage import model_name
    from plan_execute.graphs.checkpointer import open_checkpointer
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.plan_execute import create_plan_execute_agent
    from plan_execute.graphs.toolbox import make_tools

    with ExitStack() as stack:
        try:
            context = _make_context(options)
            planner, executor = model_for("planner", context), model_for("executor", context)
            model_for("synthesizer", context)
            tools = make_tools(options.db, options.docs, web=options.web)
            place = options.checkpointer if options.thread else "memory"
            checkpointer = stack.enter_context(open_checkpointer(place))
            agent = create_plan_execute_agent(tools=tools, context=context, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        screen = Screen(sys.stderr if options.json else sys.stdout)
        screen.note(f"{model_name(planner)} plans, {model_name(executor)} carries out.")
        if not (options.db or options.docs or options.web):
            screen.note("Using the database and documents of a sample shop; yours: --db URL, --docs DIR.")
        return run_request(agent, options, screen)


def _carry_out_command(words: Sequence[str]) -> int:
    command = words[0]
    parser = Parser(as_json="--json" in words, prog=f"plan-execute {command}", description=COMMANDS[command])
    if command != "threads":
        parser.add_argument("thread", metavar="THREAD", help="its name; plan-execute threads lists them")
    parser.add_argument("--checkpointer", metavar="URL", help=f"where threads are kept: {PLACES}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words[1:], namespace=Options())
    _announce_start(sys.stderr if options.json else sys.stdout)
    from plan_execute.graphs.threads import list_threads, prune_thread, show_thread

    match command, options.thread:
        case "show", str(thread):
            return show_thread(thread, options.checkpointer, as_json=options.json)
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

    names = (*MODELS, "granularity", "max_replans", "max_parallel")
    said = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.base_url:
        for name in MODELS:
            if str(said.get(name, "")).startswith("openai:"):
                said[name] = load_model(said[name], base_url=options.base_url)
    return make_context(said)


def _events(agent: "PlanExecuteAgent", request: str, config: "RunnableConfig") -> Iterator[dict[str, Any] | None]:
    """The run's events, and None whenever a tenth of a second brought none.

    The run has a thread of its own, so that Ctrl-C is heard whatever it is waiting for.
    """
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    over = object()

    def run() -> None:
        try:
            given: Any = {"messages": [("user", request)]}
            for _, event in agent.stream(given, config, stream_mode="custom", subgraphs=True, durability="sync"):
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


def _read_request(given: str) -> str:
    """The request as text; what is not UTF-8 becomes a replacement character."""
    if given == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _where_it_stopped(screen: "Screen", options: Options) -> str:
    progress = screen.progress
    done = f"{', '.join(progress.finished)} finished" if progress.finished else "no milestone finished"
    running = f", {', '.join(progress.running)} not" if progress.running else ""
    kept = f" Thread {options.thread!r} is kept." if options.thread else ""
    return f"Interrupted: {done}{running}.{kept}"


def _whole(text: str) -> int:
    return _number(text, least=0)


def _positive(text: str) -> int:
    return _number(text, least=1)


def _number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
