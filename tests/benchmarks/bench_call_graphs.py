"""How fast recorded graphs of tool calls are carried out: this project beside ReAct agents and LangGraph's tutorial.

    python -m tests.benchmarks.bench_call_graphs [--tasks N] [--tool SECONDS] [--token SECONDS]

The graphs are the 1,000 tasks of ComplexFuncBench (Zhong et al. 2025): calls of travel APIs with what they returned,
from the package `nestful-wrapper`. Only its data are needed: `pip install --no-deps nestful-wrapper`.

Every arm really runs, on an event loop with a clock of its own, which jumps ahead whenever nothing is left to do but
wait. So seconds are exact, and processor time is measured apart from them. A call of the heavy model takes 2 s, of the
light one 1 s, of a tool 0.5 s; with `--token` also that long for each token (four characters) that a model writes. The
models are scripted: they know the task's calls. The arms:

    create_agent     LangChain's ReAct agent with the heavy model, one call a turn
    parallel         the same, making every call at once that can be made
    tutorial         LangGraph's plan-and-execute tutorial: planner, ReAct agent for a step, replanner after each step
    milestones       this project with a milestone for each call, carried out by the light model; `max_parallel=16`
    direct           this project with the calls pinned, so that code makes them; `max_parallel=16`

Prints for each arm: simulated seconds a task, how many times faster than the first two arms, calls of the heavy and of
the light model a task, characters that the heavy model was sent, processor time a task and its ratio to create_agent's,
and how many tasks were done, which is checked by the calls made.
"""

import argparse
import asyncio
import json
import re
import selectors
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.graph import END, START, StateGraph

from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, goal_of, report, synthesis, tool_call

HEAVY, LIGHT, TOOL = 2.0, 1.0, 0.5
"""Seconds that a call takes."""
CHARACTERS = 4
"""Characters in a token, about."""
_REFERENCE = re.compile(r"\$(var\d+)\.([\w.]+)\$")


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time jumps ahead when there is nothing to do but wait."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0
        self.in_threads = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Tell the simulated time in seconds."""
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # it is generic
        """Run in a thread; time stands still meanwhile."""
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: setattr(self, "in_threads", self.in_threads - 1))
        return future


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Clock) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.in_threads or timeout is None:
            return super().select(0.001)
        self.loop.now += timeout
        return []


class Call(NamedTuple):
    """A recorded call: its label, arguments with references to earlier calls, and what it returned."""

    label: str
    tool: str
    arguments: dict[str, Any]
    response: Any


class Task:
    """A recorded graph."""

    def __init__(self, request: str, calls: Sequence[Call]) -> None:
        """Resolve the references."""
        self.request, self.calls = request, calls
        responses = {call.label: call.response for call in calls}
        self.filled = [self._fill(call, responses) for call in calls]

    def _fill(self, call: Call, responses: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: read(responses[found[1]], pointer_of(responses[found[1]], found[2]))
            if isinstance(value, str) and (found := _REFERENCE.fullmatch(value))
            else value
            for name, value in call.arguments.items()
        }

    def needs(self, index: int) -> set[str]:
        """Labels of the calls whose values a call needs."""
        values = [value for value in self.calls[index].arguments.values() if isinstance(value, str)]
        return {found[1] for value in values if (found := _REFERENCE.fullmatch(value))}

    def tools(self, made: list[tuple[str, str]], seconds: float) -> list[BaseTool]:
        """The tools of the task, which return what was recorded, and note each call."""
        answers = {(c.tool, key_of(args)): c.response for c, args in zip(self.calls, self.filled, strict=True)}
        names: dict[str, set[str]] = {}
        for call in self.calls:
            names.setdefault(call.tool, set()).update(call.arguments)

        def tool(name: str, arguments: set[str]) -> BaseTool:
            async def call(**args: Any) -> str:
                await asyncio.sleep(seconds)
                made.append((name, key_of(args)))
                return json.dumps(answers[name, key_of(args)])

            schema = {"type": "object", "properties": {argument: {} for argument in sorted(arguments)}}
            return StructuredTool.from_function(
                coroutine=call, name=name, description=name.replace("_", " "), args_schema=schema
            )

        return [tool(name, arguments) for name, arguments in names.items()]


class TimedModel(ScriptedModel):
    """A scripted model that takes its time."""

    seconds: float = 0.0
    token: float = 0.0

    def __init__(self, script: Callable[[Asked], Answer], *, seconds: float, token: float) -> None:
        """Take what to answer, how long a call takes, and how long each token that is written."""
        super().__init__(script, seconds=seconds, token=token)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        result = self._generate(messages, stop, None, **kwargs)
        message = result.generations[0].message
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        written = len(message.text) + sum(len(json.dumps(call["args"])) for call in calls)
        await asyncio.sleep(self.seconds + self.token * written / CHARACTERS)
        return result


class Cast:
    """The scripted models of a task."""

    def __init__(self, task: Task, token: float) -> None:
        """Make a heavy and a light one."""
        self.task = task
        self.heavy = TimedModel(self._plan, seconds=HEAVY, token=token)
        self.light = TimedModel(self._carry_out, seconds=LIGHT, token=token)
        self.react = TimedModel(self._react, seconds=HEAVY, token=token)
        self.parallel = TimedModel(self._react_at_once, seconds=HEAVY, token=token)
        self.direct = False

    def draft(self) -> dict[str, Any]:
        """The plan: a milestone for each call."""
        wanted: dict[str, dict[str, str]] = {}
        responses = {call.label: call.response for call in self.task.calls}
        milestones = []
        for index, call in enumerate(self.task.calls):
            args = dict(call.arguments)
            for name, value in call.arguments.items():
                if found := _REFERENCE.fullmatch(value) if isinstance(value, str) else None:
                    pointer = pointer_of(responses[found[1]], found[2])
                    known = wanted.setdefault(found[1], {})
                    known.setdefault(pointer, f"v{len(known) + 1}")
                    args[name] = f"${found[1]}.{known[pointer]}"
            milestones.append(
                {
                    "id": call.label,
                    "goal": f"{index}: call {call.tool}.",
                    "done_when": "",
                    "pitfalls": [],
                    "tools": [call.tool],
                    "depends_on": sorted(self.task.needs(index)),
                    "covers": [1],
                    "calls": [{"tool": call.tool, "args": json.dumps(args)}] if self.direct else [],
                    "yields": [],
                }
            )
        if self.direct:
            for milestone in milestones:
                values = wanted.get(str(milestone["id"]), {})
                kinds = {p: _kind(read(responses[str(milestone["id"])], p)) for p in values}
                milestone["yields"] = [
                    {"name": name, "kind": kinds[pointer], "options": [], "path": pointer}
                    for pointer, name in values.items()
                ]
        return {
            "strategy": "Call by call.",
            "requirements": ["It is answered."],
            "milestones": milestones,
            "answer": None,
        }

    def _plan(self, asked: Asked) -> Answer:
        return synthesis("Done.") if asked.tools == ["Synthesis"] else self.draft()

    def _carry_out(self, asked: Asked) -> Answer:
        if any(message.type == "tool" for message in asked.messages):
            return report("Found.")
        index = int(goal_of(asked).partition(":")[0])
        return tool_call(self.task.calls[index].tool, self.task.filled[index])

    def _step(self, asked: Asked) -> Answer:
        answer = self._carry_out(asked)
        return "Found." if any(message.type == "tool" for message in asked.messages) else answer

    def _react(self, asked: Asked) -> Answer:
        done = sum(message.type == "tool" for message in asked.messages)
        return tool_call(self.task.calls[done].tool, self.task.filled[done]) if done < len(self.task.calls) else "Done."

    def _react_at_once(self, asked: Asked) -> Answer:
        done = sum(message.type == "tool" for message in asked.messages)
        order = rounds(self.task)
        made = 0
        for batch in order:
            if made == done:
                (first, *more) = [(self.task.calls[i].tool, self.task.filled[i]) for i in batch]
                return tool_call(*first, *more)
            made += len(batch)
        return "Done."


def rounds(task: Task) -> list[list[int]]:
    """Which calls can be made at once, in order."""
    left, known, order = list(range(len(task.calls))), set[str](), list[list[int]]()
    while left:
        batch = [index for index in left if task.needs(index) <= known]
        order.append(batch)
        known |= {task.calls[index].label for index in batch}
        left = [index for index in left if index not in batch]
    return order


async def react(cast: Cast, tools: list[BaseTool], model: TimedModel) -> None:
    """LangChain's ReAct agent."""
    request: Any = {"messages": [("user", cast.task.request)]}
    await create_agent(model, tools).ainvoke(request, {"recursion_limit": 200})


class Progress(TypedDict):
    """The state of the tutorial's graph."""

    plan: list[int]
    done: list[str]


async def tutorial(cast: Cast, tools: list[BaseTool]) -> None:
    """LangGraph's plan-and-execute tutorial: the replanner looks at the results after each step."""
    answers = TimedModel(lambda _: "[...]", seconds=HEAVY, token=cast.heavy.token)
    cast.heavy = answers
    step_agent = create_agent(cast.light, tools)
    cast.light._script = cast._step

    async def plan(state: Progress) -> dict[str, Any]:
        await answers.ainvoke(f"Plan for: {cast.task.request}")
        return {"plan": list(range(len(cast.task.calls)))}

    async def carry_out(state: Progress) -> dict[str, Any]:
        index, *left = state["plan"]
        asked: Any = {"messages": [("user", f"Goal: {index}: call {cast.task.calls[index].tool}. {state['done']}")]}
        said = (await step_agent.ainvoke(asked))["messages"]
        return {"plan": left, "done": [*state["done"], said[-2].text]}

    async def replan(state: Progress) -> dict[str, Any]:
        await answers.ainvoke(f"Plan again for: {cast.task.request} {state['done']}")
        return {}

    graph = StateGraph(Progress)
    graph.add_node("plan", plan)
    graph.add_node("carry_out", carry_out)
    graph.add_node("replan", replan)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "carry_out")
    graph.add_edge("carry_out", "replan")
    graph.add_conditional_edges("replan", lambda state: "carry_out" if state["plan"] else END, ["carry_out", END])
    await graph.compile().ainvoke({"plan": [], "done": []}, {"recursion_limit": 200})


async def plan_execute(cast: Cast, tools: list[BaseTool], *, direct: bool) -> None:
    """This project."""
    cast.direct = direct
    agent = create_plan_execute_agent(cast.heavy, cast.light, tools, context={"max_parallel": 16, "trust": "open"})
    request: Any = {"messages": [("user", cast.task.request)]}
    output = await agent.ainvoke(request, {"recursion_limit": 200})
    assert output["status"] == "completed", output["error"]


ARMS: dict[str, Callable[[Cast, list[BaseTool]], Any]] = {
    "create_agent": lambda cast, tools: react(cast, tools, cast.react),
    "parallel": lambda cast, tools: react(cast, tools, cast.parallel),
    "tutorial": tutorial,
    "milestones": lambda cast, tools: plan_execute(cast, tools, direct=False),
    "direct": lambda cast, tools: plan_execute(cast, tools, direct=True),
}


class Outcome(NamedTuple):
    """What a task took: simulated seconds, model calls, characters sent to the heavy model, processor seconds."""

    seconds: float
    heavy: int
    light: int
    sent: int
    cpu: float
    done: bool


def run(task: Task, arm: str, token: float = 0.0, tool: float = TOOL) -> Outcome:
    """Carry out a task."""
    cast, made = Cast(task, token), list[tuple[str, str]]()
    tools, loop = task.tools(made, tool), Clock()
    begun = time.process_time()
    try:
        loop.run_until_complete(ARMS[arm](cast, tools))
    finally:
        cpu, seconds = time.process_time() - begun, loop.now
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    heavy = [asked for model in (cast.heavy, cast.react, cast.parallel) for asked in model.asked]
    right = sorted((call.tool, key_of(args)) for call, args in zip(task.calls, task.filled, strict=True))
    sent = sum(len(asked.text) for asked in heavy)
    return Outcome(seconds, len(heavy), len(cast.light.asked), sent, cpu, sorted(made) == right)


def load_tasks(limit: int | None = None) -> list[Task]:
    """Read the recorded tasks.

    Raises:
        SystemExit: The package is not installed.
    """
    spec = find_spec("nestful")
    if spec is None or spec.origin is None:
        raise SystemExit("nestful-wrapper is missing: run pip install --no-deps nestful-wrapper.")
    path = Path(spec.origin).parents[1] / "data_v1" / "complexfuncbench" / "complexfuncbench-data.json"
    recorded = json.loads(path.read_text())[:limit]
    return [
        Task(task["input"], [Call(c["label"], c["name"], c["arguments"], c["response"]) for c in task["output"]])
        for task in recorded
    ]


def independent(count: int) -> Task:
    """A task of calls that need nothing of one another."""
    return Task("Look up.", [Call(f"var{n}", "look_up", {"subject": n}, {"found": n}) for n in range(1, count + 1)])


def pointer_of(response: Any, path: str) -> str:
    """Write a recorded path as a JSON pointer; of a list the first item that has it is meant."""
    names = path.split(".")
    if isinstance(response, list):
        place = next(n for n, item in enumerate(response) if _has(item, names))
        return f"/{place}/" + "/".join(names)
    return "/" + "/".join(names)


def read(response: Any, pointer: str) -> Any:
    """Read at a JSON pointer."""
    for name in pointer.split("/")[1:]:
        response = response[int(name)] if isinstance(response, list) else response[name]
    return response


def key_of(args: Mapping[str, Any]) -> str:
    """Write arguments so that equal ones are equal texts."""
    return json.dumps({name: value for name, value in args.items() if value is not None}, sort_keys=True)


def _has(item: Any, names: Sequence[str]) -> bool:
    for name in names:
        if not isinstance(item, dict) or name not in item:
            return False
        item = item[name]
    return True


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return f"list[{_kind(value[0])}]" if value else "list[text]"
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each arm, then one for eight independent calls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, metavar="N", help="only the first N tasks")
    parser.add_argument("--token", type=float, default=0.0, metavar="SECONDS", help="time for each token written (0)")
    parser.add_argument("--tool", type=float, default=TOOL, metavar="SECONDS", help=f"time of a tool call ({TOOL})")
    options = parser.parse_args(argv)
    _compare("recorded tasks", load_tasks(options.tasks), options.token, options.tool)
    _compare("tasks of eight independent calls", [independent(8)] * 20, options.token, options.tool)
    return 0


def _compare(title: str, tasks: Sequence[Task], token: float, tool: float) -> None:
    run(tasks[0], "direct")  # imports
    outcomes = {arm: [run(task, arm, token, tool) for task in tasks] for arm in ARMS}

    def mean(arm: str, what: str) -> float:
        return sum(float(getattr(outcome, what)) for outcome in outcomes[arm]) / len(tasks)

    print(f"{len(tasks)} {title}")
    heads = ("seconds", "faster", "par.", "heavy", "light", "sent", "cpu ms", "ratio", "done")
    print(f"{'':<14}" + "".join(f"{head:>9}" for head in heads))
    for arm, of in outcomes.items():
        seconds, cpu = mean(arm, "seconds"), mean(arm, "cpu")
        cells = (
            f"{seconds:.1f}",
            f"{mean('create_agent', 'seconds') / seconds:.2f}",
            f"{mean('parallel', 'seconds') / seconds:.2f}",
            f"{mean(arm, 'heavy'):.1f}",
            f"{mean(arm, 'light'):.1f}",
            f"{mean(arm, 'sent'):,.0f}",
            f"{1_000 * cpu:.1f}",
            f"{cpu / mean('create_agent', 'cpu'):.1f}",
            str(sum(outcome.done for outcome in of)),
        )
        print(f"{arm:<14}" + "".join(f"{cell:>9}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
