"""What every service is made to say: parallel calls, an empty reply, a failure, a last turn, prose, a synthesis."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import ToolException, tool
from langgraph.types import StreamMode

from plan_execute.agent import prompts
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import milestone, plan, synthesis
from tests.wires.serving import Answer, Asked, Call, Says

QUESTION = "How many customers are there, how many did we have, and in how many towns?"
REQUEST: PlanExecuteInput = {"messages": [{"role": "user", "content": QUESTION}]}
ANSWER = "There are 42 customers."
STREAMED: list[StreamMode] = ["messages", "values"]
"""With `messages` among them, LangGraph has every model stream."""
MODEL_CALLS = 6
"""Most model calls of a milestone, so that one comes to its last turn."""
FIRST, FAILS, SECOND, LAST = "Count the customers.", "Read the archive.", "Ask around.", "Count the towns."


@tool
def look_up(subject: str) -> str:
    """Look up a figure."""
    return f"{subject}: 42"


@tool
def read_archive(year: int) -> str:
    """Read a figure of an earlier year."""
    raise ToolException(f"The archive of {year} is closed.")


def _look_up(*subjects: str) -> Sequence[Call]:
    return [Call("look_up", {"subject": subject}) for subject in subjects]


def _report(status: str = "succeeded", result: str = "It is 42.") -> Call:
    fields: dict[str, Any] = {"missing": None, "surprise": None, "values": []}
    return Call("MilestoneReport", {"status": status, "result": result, **fields})


DRAFT = plan(
    milestone(FIRST), milestone(FAILS, tools=["read_archive"], depends_on=["m1"]), givens=[], unknowns=[], pitfalls=[]
)
REVISED = plan(milestone(SECOND), milestone(LAST, depends_on=["m1"]), requirements=[])
EXECUTORS: dict[str, list[Says]] = {
    FIRST: [
        Says("I count both.", _look_up("new", "old")),
        Says(),
        Says(calls=[*_look_up("all"), _report()]),
        Says(calls=[_report()]),
    ],
    FAILS: [Says(calls=[Call("read_archive", {"year": 1999})]), Says(calls=[_report("failed", "It is closed.")])],
    SECOND: [
        Says(calls=[Call("look_up", '{"subject": "frie')]),
        Says(calls=_look_up("friends")),
        Says("It is 42."),
    ],
    LAST: [Says("Wait.", _look_up(place)) for place in ("towns", "cities", "villages", "hamlets", "farms")],
}
"""What the executor of each milestone says in turn; once only the report is offered, it reports."""
AGENT = [Says("I count both.", _look_up("new", "old")), *EXECUTORS[SECOND][:2], Says(ANSWER)]
"""What the model of `create_agent` says in turn: nothing that is not in the run too."""


class Story:
    """Answers every request of one run, by role and goal."""

    def __init__(self) -> None:
        self.left = {goal: list(script) for goal, script in {**EXECUTORS, "": AGENT}.items()}

    def __call__(self, asked: Asked) -> Answer:
        if prompts.PLANNER.splitlines()[0] in asked.text:
            return Says(fields=REVISED if "The plan below cannot continue" in asked.text else DRAFT)
        if prompts.SYNTHESIZER.splitlines()[0] in asked.text:
            return Says(fields=synthesis(ANSWER, milestones=[]))
        if prompts.REPORTER.splitlines()[0] in asked.text:
            return Says(fields=_report().args)  # type: ignore[arg-type]  # a report's are a mapping
        if asked.tools == ["MilestoneReport"]:
            return Says(calls=[_report()])
        goal = next((goal for goal in EXECUTORS if f"Goal: {goal}" in asked.text), "")
        script = self.left[goal]
        return script.pop(0) if len(script) > 1 else script[0]

    @property
    def is_told(self) -> bool:
        """Whether the run came to the last line of each milestone."""
        return all(len(script) == 1 for goal, script in self.left.items() if goal)


def run_sync(model: BaseChatModel) -> str:
    """Run the graph in sync code and say how it ended."""
    return _ending(_agent(model).invoke(REQUEST))


async def run_async(model: BaseChatModel) -> str:
    """Run the graph in async code and say how it ended."""
    return _ending(await _agent(model).ainvoke(REQUEST))


def run_streaming(model: BaseChatModel) -> str:
    """Run the graph in sync code, streaming each reply, and say how it ended."""
    *_, (_, ended) = (part for part in _agent(model).stream(REQUEST, stream_mode=STREAMED) if part[0] == "values")
    return _ending(ended)


async def run_streaming_async(model: BaseChatModel) -> str:
    """Run the graph in async code, streaming each reply, and say how it ended."""
    parts = [part async for part in _agent(model).astream(REQUEST, stream_mode=STREAMED) if part[0] == "values"]
    return _ending(parts[-1][1])


def run_create_agent(model: BaseChatModel) -> str:
    """Run LangChain's `create_agent` and say how it ended."""
    try:
        ended = create_agent(model, [look_up, read_archive]).invoke({"messages": [HumanMessage(QUESTION)]})
    except Exception as error:  # noqa: BLE001 - whatever it raises is how it ended
        return type(error).__name__
    last = ended["messages"][-1]
    return "completed" if isinstance(last, AIMessage) and last.text == ANSWER else "no answer"


def _agent(model: BaseChatModel) -> Any:
    return create_plan_execute_agent(
        model, model, [look_up, read_archive], context={"max_model_calls": MODEL_CALLS, "max_attempts": 1}
    )


def _ending(ended: Any) -> str:
    if ended["status"] == "completed" and ended["answer"] != ANSWER:
        return f"answered {ended['answer']!r}"
    return str(ended["status"]) if ended["error"] is None else f"{ended['status']}: {ended['error']['message']}"
