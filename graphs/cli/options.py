"""The command lines: read, checked, and stored with the run for a resume."""

import argparse
import difflib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from plan_execute import __version__
from plan_execute.graphs.cli.output import failure, print_json

MODELS = ("planner_model", "executor_model", "synthesizer_model")
"""The options that name a model."""
SETTINGS = (*MODELS, "granularity", "max_replans", "max_parallel", "review", "approve_tools", "ask_user")
"""The options that are settings of the run, frozen when it begins."""
DATA = ("db", "data", "docs", "files", "write_files", "web", "mcp", "tools", "tools_folder")
"""The options that name data and tools."""
LISTS = ("data", "tools")
"""Those of them that may be given several times."""
STORED = (*DATA, *MODELS, "base_url")
"""The options that a resume needs again and that the run's frozen settings do not have, or not always."""
ENVIRONMENT = ("db", "docs", "files", "mcp", "tools")
"""The options that environment variables stand in for, `PLAN_EXECUTE_DB` for `--db`."""
PREFIX = "option_"
"""The prefix of their keys in the metadata of a checkpoint."""
WITHHELD = "***"
"""What is stored of an address that may have a password in it."""

NEEDED = {
    "db": "a SQLAlchemy URL or a SQLite file",
    "docs": "a folder or a document",
    "mcp": "a JSON file",
    "files": "a folder",
    "thread": "a name",
    "checkpointer": "a URL or a file",
}
"""What each option takes; an empty text is refused."""

PLACES = "a SQLite file, sqlite:///... or postgresql://... (default: a file in your data folder)"

EXAMPLES = """\
examples: (all but the first need a real model)
  plan-execute "How many customers live in Germany, and what is 15% of that number?"
  plan-execute "Who are our ten best customers?" --db sqlite:///shop.db
  plan-execute "Which region sold most in May?" --data sales.csv --data regions.xlsx
  plan-execute "Which issues are open?" --mcp servers.json --tools shop.py:refund
  plan-execute "Compare the refund rules with last month's refunds" --db postgresql://me@host/shop --docs handbook/
  plan-execute "Sum up the notes on prices in prices.md" --files notes/ --write-files
  plan-execute "..." --planner-model openai:gpt-5 --executor-model openai:gpt-5-mini --granularity fine
  plan-execute "..." --planner-model openai:qwen3 --base-url http://localhost:8000/v1
  plan-execute "And by country?" --thread sales --review first
  plan-execute - --json < request.txt

plans kept in files, run again and again, without a model where a plan pins all its calls:
  plan-execute show THREAD --plan > plan.yaml             the plan of a stored run, to be edited
  plan-execute schema > plan.schema.json                  for editors that check YAML
  plan-execute run plan.yaml --input country=Norway       carry it out

threads stored with --thread:
  plan-execute threads          list them
  plan-execute show THREAD      what the last run of one did
  plan-execute report THREAD    the same as a page of HTML
  plan-execute resume THREAD    resume it where it was interrupted, or where it waits for you
  plan-execute fork THREAD      list its steps, or with --at N begin a new thread at one of them
  plan-execute prune THREAD     make its database smaller
  plan-execute delete THREAD    forget it
  plan-execute mcp              serve all of it to MCP clients
A request that is just one of these words: plan-execute -- threads

environment: PLAN_EXECUTE_DB, _DOCS, _FILES, _MCP, _TOOLS stand in for --db, --docs, --files, --mcp, --tools;
PLAN_EXECUTE_TOOLS takes commas; OPENAI_API_KEY, OPENAI_BASE_URL

Ctrl-C ends a run with --thread after the call under way, a second one at once.
exit status: 0 completed, 1 aborted, partial or waiting for you, 2 misuse, 130 interrupted, 143 terminated
--json prints one document in every case: its "status" is null where no run ended, "running" where it waits for you
("waiting" lists what for), "interrupted" after Ctrl-C; "error" says why.
"""

RESUMING = """\
Settings and data stay what they were, except for the options given here. Passwords are not stored: name an address with
one in it again.
"""


class Options(argparse.Namespace):
    """The options of a command line; None where one was not given."""

    request: str = ""
    file: str = ""
    """The file with the plan to carry out; empty where one is asked for."""
    inputs: list[tuple[str, Any]] | None = None
    plan: bool = False
    """Whether to print the plan of a thread."""
    db: str | None = None
    data: list[str] | None = None
    docs: str | None = None
    files: str | None = None
    write_files: bool = False
    web: bool = False
    mcp: str | None = None
    tools: list[str] | None = None
    tools_folder: str | None = None
    """The folder in which `tools` were named."""
    planner_model: str | None = None
    executor_model: str | None = None
    synthesizer_model: str | None = None
    base_url: str | None = None
    granularity: str | None = None
    max_replans: int | None = None
    max_parallel: int | None = None
    review: str | None = None
    approve_tools: list[str] | None = None
    ask_user: bool | None = None
    thread: str | None = None
    checkpointer: str | None = None
    output: str | None = None
    at: int | None = None
    name: str | None = None
    json: bool = False
    data_as_before: bool = False
    """Whether the data were named when the thread began, not now."""


class Parser(argparse.ArgumentParser):
    """Reads a command line; one that makes no sense ends in status 2 with a sentence, with --json also as JSON."""

    def __init__(self, *, as_json: bool, **settings: Any) -> None:
        """Take what `argparse` takes, and whether --json is on the command line."""
        super().__init__(**settings, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self._as_json = as_json

    def parse_known(self, argv: Sequence[str], into: "Options") -> "Options":
        """Read a command line into options, and refuse what is left over."""
        options, rest = self.parse_known_args(argv, namespace=into)
        if rest and rest[0].startswith("-"):
            self.unknown(rest[0])
        if rest:
            self.error(f"unexpected {rest[0]!r}: {self.prog} --help tells what it takes")
        return options

    def unknown(self, option: str) -> NoReturn:
        """Refuse an option that there is not."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches(option.partition("=")[0], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"{self.prog} --help lists them"
        self.error(f"unknown option {option!r}: {advice}")

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        if self._as_json:
            print_json(failure("misuse", message))
        super().error(message)


def parse(argv: Sequence[str]) -> Options:
    """Read the command line of a run; one that makes no sense ends in status 2 with a sentence."""
    parser = Parser(
        as_json="--json" in argv,
        prog="plan-execute",
        usage='plan-execute [options] "request"',
        description="Plans a request with a heavy model, carries it out with a light one, and answers.",
        epilog=EXAMPLES,
    )
    parser.add_argument("request", help="what is to be done, in quotes; - reads it from standard input")
    parser.add_argument("--version", action="version", version=f"plan-execute {__version__}")
    run = _add_run_options(parser)
    run.add_argument("--thread", metavar="NAME", help="continue the stored conversation of that name, or begin it")
    options, rest = parser.parse_known_args(argv, namespace=Options(**_environment()))
    if rest and not rest[0].startswith("-"):
        parser.error(f"unexpected {rest[0]!r} after the request: put the whole request in quotes")
    if rest:
        parser.unknown(rest[0])
    options.request = _read_request(options.request)
    if not options.request.strip():
        parser.error("the request is empty: say what the agent is to do")
    _check_run(parser, options)
    return options


def parse_run(argv: Sequence[str], purpose: str) -> Options:
    """Read the command line of a run of a plan."""
    parser = Parser(as_json="--json" in argv, prog="plan-execute run", description=purpose)
    parser.add_argument("file", metavar="PLAN", help="its file, YAML or JSON; - reads it from standard input")
    parser.add_argument(
        "--input",
        metavar="NAME=VALUE",
        dest="inputs",
        type=_input,
        action="append",
        help="what $input.NAME stands for: a number, true, false, a list as JSON, else a text",
    )
    run = _add_run_options(parser)
    run.add_argument("--thread", metavar="NAME", help="store the run under that name")
    options = parser.parse_known(argv, Options(**_environment()))
    _check_run(parser, options)
    return options


def parse_mcp(argv: Sequence[str], purpose: str) -> Options:
    """Read the command line of the MCP server."""
    parser = Parser(as_json="--json" in argv, prog="plan-execute mcp", description=purpose)
    _add_run_options(parser)
    options = parser.parse_known(argv, Options(**_environment()))
    _check(parser, options, NEEDED.keys() - {"thread"})
    if lacking := lacks_model(options):
        parser.error(lacking)
    return options


def _check_run(parser: Parser, options: Options) -> None:
    _check(parser, options)
    if options.checkpointer and not options.thread:
        parser.error("--checkpointer needs --thread NAME: without it nothing is stored")
    if lacking := lacks_model(options):
        parser.error(lacking)


def parse_resume(argv: Sequence[str], purpose: str) -> Options:
    """Read the command line of a resume; `fill_in_from_thread` adds what the thread began with."""
    parser = Parser(as_json="--json" in argv, prog="plan-execute resume", description=purpose, epilog=RESUMING)
    parser.add_argument("thread", metavar="THREAD", help="its name; plan-execute threads lists them")
    _add_run_options(parser)
    options = parser.parse_known(argv, Options())
    _check(parser, options, NEEDED.keys() - {"thread"})
    return options


def parse_thread_command(command: str, argv: Sequence[str], purpose: str) -> Options:
    """Read the command line of a command on stored threads, or of `schema`."""
    parser = Parser(as_json="--json" in argv, prog=f"plan-execute {command}", description=purpose)
    if command not in {"threads", "schema"}:
        parser.add_argument("thread", metavar="THREAD", help="its name; plan-execute threads lists them")
    if command != "schema":
        parser.add_argument("--checkpointer", metavar="URL", help=f"where threads are stored: {PLACES}")
    if command == "show":
        parser.add_argument("--plan", action="store_true", help="print its plan, as a file that `run` takes")
    if command == "fork":
        parser.add_argument("--at", metavar="N", type=_positive, help="the step to fork at (none: list them)")
        parser.add_argument("--as", dest="name", metavar="NAME", help="name of the new thread (THREAD-2, -3, ...)")
    if command == "schema":
        pass
    elif command == "report":
        parser.add_argument("-o", "--output", metavar="FILE", help="where to; - prints it (default: THREAD.html here)")
    else:
        parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_known(argv, Options())
    if options.name is not None and (options.at is None or not options.name.strip()):
        parser.error("--as needs --at N, and a name")
    return options


def lacks_model(options: Options) -> str | None:
    """Say what is wrong if a server is named and no model of it."""
    if options.base_url and not any(str(getattr(options, name)).startswith("openai:") for name in MODELS):
        return "--base-url needs the name of an openai: model, for example --planner-model openai:qwen3"
    return None


def stored_options(options: Options) -> dict[str, str | bool]:
    """What to store of the options as metadata of the run's checkpoints; nothing that may have a password in it."""
    given = {name: getattr(options, name) for name in STORED if name not in LISTS}
    # A checkpoint's metadata keep no lists.
    lists: dict[str, str | bool] = {}
    if options.data:
        lists[f"{PREFIX}data"] = json.dumps([os.path.abspath(file) for file in options.data])
    if options.tools:
        lists[f"{PREFIX}tools"] = json.dumps(options.tools)
    return lists | {
        f"{PREFIX}{name}": _storable(name, value) if isinstance(value, str) else value
        for name, value in given.items()
        if value is not None
    }


def fill_in_from_thread(options: Options, metadata: Mapping[str, Any]) -> None:
    """Fill in the options that a thread's last run began with, where a resume or a new request gives no others.

    Raises:
        ValueError: It began with an address that was not stored; the message says how to name it again.
    """
    before = {name: metadata[f"{PREFIX}{name}"] for name in STORED if f"{PREFIX}{name}" in metadata}
    if not before:  # it did not begin with this command
        before = _environment()
    if any(getattr(options, name) for name in DATA):  # data are chosen together: what is named now is all there is
        before = {name: value for name, value in before.items() if name not in DATA}
    given_url = options.base_url
    for name in LISTS:
        if isinstance(listed := before.get(name), str):
            before[name] = json.loads(listed)
    for name, value in before.items():
        if not getattr(options, name):
            setattr(options, name, value)
            options.data_as_before |= name in DATA and bool(value)
        if getattr(options, name) == WITHHELD:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"Thread {options.thread!r} began with an address that is not stored: add {option} URL.")
    if lacks_model(options) and not given_url:  # another model is named now, which that server does not have
        options.base_url = None


def is_private(address: str) -> bool:
    """Whether an address may have a password in it, so that it is neither stored nor printed."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return True
    return bool(parts.password or (parts.query and parts.scheme != "sqlite"))


def resume_command(thread: str, place: str | None) -> str:
    """The command that resumes a thread; an address that may have a password in it is left out."""
    named = "..." if is_private(place or "") else shlex.quote(place or "")
    return f"plan-execute resume {shlex.quote(thread)}" + (f" --checkpointer {named}" if place else "")


def _add_run_options(parser: Parser) -> Any:
    """Add the options that a run and its resume have in common; gives the last group."""
    data = parser.add_argument_group("data and tools (when none are named: those of a sample shop)")
    data.add_argument("--db", metavar="URL", help="database to ask, as a SQLAlchemy URL or a SQLite file; only read")
    data.add_argument(
        "--data", metavar="FILE", action="append", help="CSV, TSV, JSON, Parquet or spreadsheet file, read as a table"
    )
    data.add_argument(
        "--docs",
        metavar="PATH",
        help="document, or folder of documents (Markdown, text, PDF, DOCX, HTML, ...), to search",
    )
    data.add_argument("--files", metavar="DIR", help="folder whose text files are listed, read and searched")
    data.add_argument("--write-files", action="store_true", help="also write and change the files of --files")
    data.add_argument("--web", action="store_true", help="search the web and read pages (needs the extra 'web')")
    data.add_argument("--mcp", metavar="FILE", help="JSON file of MCP servers to use (needs the extra 'mcp')")
    data.add_argument(
        "--tools", metavar="MODULE:NAME", action="append", help="tools of yours in Python, or path/to/file.py:NAME"
    )
    models = parser.add_argument_group("models (provider:model; default: OpenAI's with OPENAI_API_KEY, else bundled)")
    models.add_argument("--planner-model", metavar="MODEL", help="heavy model that plans, for example openai:gpt-5")
    models.add_argument("--executor-model", metavar="MODEL", help="light model that carries out (default: planner's)")
    models.add_argument("--synthesizer-model", metavar="MODEL", help="writes the answer (default: planner's)")
    models.add_argument("--base-url", metavar="URL", help="server of openai: models, for anything OpenAI-compatible")
    run = parser.add_argument_group("run")
    run.add_argument("--granularity", choices=["coarse", "balanced", "fine"], help="size of milestones (balanced)")
    run.add_argument("--max-replans", metavar="N", type=_whole, help="how often a failing plan is revised (3)")
    run.add_argument("--max-parallel", metavar="N", type=_positive, help="milestones that run at the same time (1)")
    run.add_argument(
        "--review", choices=["never", "first", "every"], help="which plans you see before they run (never)"
    )
    run.add_argument(
        "--approve", metavar="TOOL", dest="approve_tools", action="append", help="tool whose every call you approve"
    )
    run.add_argument(
        "--ask-user", action="store_true", default=None, help="ask you for what is missing before planning again"
    )
    run.add_argument("--checkpointer", metavar="URL", help=f"where threads are stored: {PLACES}")
    run.add_argument("--json", action="store_true", help="print one JSON document instead of progress and answer")
    return run


def _check(parser: Parser, options: Options, names: Iterable[str] = NEEDED) -> None:
    if options.tools and not options.tools_folder:
        options.tools_folder = os.getcwd()
    for option in names:
        if (given := getattr(options, option)) is not None and not given.strip():
            parser.error(f"--{option} needs {NEEDED[option]}")
    if options.write_files and not options.files:
        parser.error("--write-files needs --files DIR, the folder whose files may be changed")


def _storable(name: str, value: str) -> str:
    if is_private(value):
        return WITHHELD
    # A resume may come from another folder.
    is_path = name in {"docs", "files", "mcp"} or (name == "db" and "://" not in value)
    return os.path.abspath(value) if is_path else value


def _environment() -> dict[str, Any]:
    """The data and tools that environment variables name."""
    named: dict[str, Any] = {name: os.environ.get(f"PLAN_EXECUTE_{name.upper()}") or None for name in ENVIRONMENT}
    if named["tools"]:
        named |= {"tools": named["tools"].split(","), "tools_folder": os.getcwd()}
    return named


def _read_request(given: str) -> str:
    """The request as text; what is not UTF-8 becomes a replacement character."""
    if given == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _input(text: str) -> tuple[str, Any]:
    name, given, value = text.partition("=")
    if not given or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, for example country=Norway, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _whole(text: str) -> int:
    return _number(text, least=0)


def _positive(text: str) -> int:
    return _number(text, least=1)


def _number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, not {text!r}")
    return int(text)
