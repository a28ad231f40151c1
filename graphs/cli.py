"""The command `plan-execute`: a request in, live progress and an answer out.

Nothing heavy is imported before the arguments are known to be good, so `--help` answers at once.
"""

import argparse
import importlib.util
import json
import os
import queue
import signal
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool

    from plan_execute.agent.context import Context
    from plan_execute.agent.state import RunState
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.plan_execute import PlanExecuteAgent

COMPLETED, UNFINISHED, MISUSE = 0, 1, 2
"""Exit status: the request was carried out; the run was aborted or is partial; the call cannot work."""
INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141
"""Exit status after a signal, as a shell counts it."""

MODELS = ("planner_model", "executor_model", "synthesizer_model")
"""The options that name a model."""

EXAMPLES = """\
examples:
  plan-execute "Which category earned most in 2025, and what does its warranty cover?"
  plan-execute "Who are our ten best customers?" --db sqlite:///shop.db
  plan-execute "Compare the refund rules with last month's refunds" --db postgresql://me@host/shop --docs handbook/
  plan-execute "..." --planner-model openai:gpt-5 --executor-model openai:gpt-5-mini --granularity fine
  plan-execute "..." --planner-model openai:qwen3 --base-url http://localhost:8000/v1
  plan-execute "And by country?" --thread sales
  plan-execute - --json < request.txt

exit status: 0 completed, 1 aborted or partial, 2 misuse, 130 interrupted
"""


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
    json: bool = False


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status.

    Whatever the user caused is told in one sentence on stderr. After Ctrl-C, SIGTERM or a closed pipe the process ends
    here: a call that waits for its model could otherwise keep it for minutes.
    """
    try:
        with _sigterm_heard():
            return _carry_out(parse(argv))
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        _leave(stop)


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line; leaves with status 2 and a sentence when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="plan-execute",
        usage='plan-execute [options] "request"',
        description="Plans a request with a heavy model, carries it out with a light one, and answers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
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
    run.add_argument("--json", action="store_true", help="print one JSON document instead of progress and answer")
    options, rest = parser.parse_known_args(argv, namespace=Options())
    if rest and not rest[0].startswith("-"):
        parser.error(f"unexpected {rest[0]!r} after the request: put the whole request in quotes")
    if rest:
        parser.error(f"unknown option {rest[0]!r}: plan-execute --help lists them")
    options.request = _read_request(options.request)
    if not options.request.strip():
        parser.error("the request is empty: say what the agent is to do")
    if options.thread is not None and not options.thread.strip():
        parser.error("--thread needs a name")
    if options.base_url and not any(str(getattr(options, name)).startswith("openai:") for name in MODELS):
        parser.error("--base-url needs the name of an openai: model, for example --planner-model openai:qwen3")
    return options


def run_request(agent: "PlanExecuteAgent", options: Options, screen: "Screen") -> int:
    """Pursue the request with a ready agent (it needs a checkpointer) and give the exit status."""
    from plan_execute.agent.errors import PlanExecuteError

    config: RunnableConfig = {"configurable": {"thread_id": options.thread or "request"}}
    begun = time.monotonic()
    try:
        with screen:
            for event in _events(agent, options.request, config):
                if event is None:
                    screen.refresh()
                else:
                    screen.take(event)
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        _leave(stop, _where_it_stopped(screen, options))
    except PlanExecuteError as error:
        return _refuse(error)
    except sqlite3.Error as error:
        print(f"plan-execute: the run could not be stored: {error}", file=sys.stderr)
        return UNFINISHED
    state: RunState = agent.get_state(config).values  # type: ignore[assignment]  # LangGraph types it as a plain dict
    if options.json:
        print(json.dumps(_document(state, options.thread), indent=2))
    else:
        screen.end(state, time.monotonic() - begun)
    return COMPLETED if state["status"] == "completed" else UNFINISHED


def _carry_out(options: Options) -> int:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    from plan_execute.agent.models import model_for
    from plan_execute.agent.usage import model_name
    from plan_execute.graphs.checkpointer import open_checkpointer
    from plan_execute.graphs.display import Screen
    from plan_execute.graphs.plan_execute import create_plan_execute_agent

    with ExitStack() as stack:
        try:
            context = _make_context(options)
            planner, executor = model_for("planner", context), model_for("executor", context)
            model_for("synthesizer", context)
            tools = _make_tools(options)
            checkpointer = stack.enter_context(open_checkpointer(None if options.thread else "memory"))
            agent = create_plan_execute_agent(tools=tools, context=context, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return _refuse(error)
        screen = Screen(sys.stderr if options.json else sys.stdout)
        screen.note(f"{model_name(planner)} plans, {model_name(executor)} carries out.")
        if not (options.db or options.docs or options.web):
            screen.note("Using the database and documents of a sample shop; yours: --db URL, --docs DIR.")
        return run_request(agent, options, screen)


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


def _make_tools(options: Options) -> "list[BaseTool]":
    """The calculator, and what looks into the data named; the sample data when none is."""
    from plan_execute.tools import (
        calculate,
        database_tools,
        document_tools,
        read_page,
        sample_database,
        sample_documents,
        search_web,
    )

    own = options.db or options.docs or options.web
    tools: list[BaseTool] = [calculate]
    if options.db or not own:
        tools += database_tools(options.db or sample_database())
    if options.docs or not own:
        tools += document_tools(options.docs or sample_documents())
    if options.web:
        if not (importlib.util.find_spec("ddgs") and importlib.util.find_spec("trafilatura")):
            raise ValueError("--web needs more packages: pip install 'langgraph-plan-execute[web]'.")
        tools += [search_web, read_page]
    return tools


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


def _document(state: "RunState", thread: str | None) -> dict[str, Any]:
    """What --json prints."""
    keys = ("status", "answer", "error", "objective", "plan", "milestones", "usage", "log")
    return {**{key: state.get(key) for key in keys}, "thread": thread}


def _read_request(given: str) -> str:
    """The request as text; what is not UTF-8 becomes a replacement character."""
    if given == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _refuse(error: Exception) -> int:
    print(f"plan-execute: {error}", file=sys.stderr)
    return MISUSE


def _where_it_stopped(screen: "Screen", options: Options) -> str:
    progress = screen.progress
    done = f"{', '.join(progress.finished)} finished" if progress.finished else "no milestone finished"
    running = f", {', '.join(progress.running)} not" if progress.running else ""
    kept = f" Thread {options.thread!r} is kept." if options.thread else ""
    return f"Interrupted: {done}{running}.{kept}"


@contextmanager
def _sigterm_heard() -> Iterator[None]:
    """Make SIGTERM end the run as Ctrl-C does; outside the main thread the signals are somebody else's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _leave(stop: BaseException, words: str = "Interrupted.") -> NoReturn:
    """End the process at once, because threads that wait for a model or hold the checkpointer cannot be stopped."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = BROKEN_PIPE
    if isinstance(stop, KeyboardInterrupt):
        status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        with suppress(OSError):
            print(words, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


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
