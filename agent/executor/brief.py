"""The executor's two ends: the brief a milestone starts from, and the judgement of what it reported."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.executor.receipts import effects_before
from plan_execute.agent.executor.scratchpad import (
    ScratchpadState,
)
from plan_execute.agent.failures import retry_delay
from plan_execute.agent.state import (
    Brief,
    ExecutorOutput,
    RunSoFar,
    RunState,
)

_BRIEF = TypeAdapter(Brief)


class ExecutorState(ScratchpadState, ExecutorOutput):
    """The executor graph's whole state."""


def make_brief(state: RunState, key: str) -> Brief:
    """Everything the executor of milestone `key` gets to see: the milestone, and the results it depends on."""
    milestone = state["milestones"][key]
    plan, failure = state["plan"], milestone["failure"]
    brief = Brief(
        id=key,
        goal=milestone["goal"],
        done_when=milestone["done_when"],
        pitfalls=milestone["pitfalls"],
        tools=milestone["tools"],
        calls=milestone["calls"],
        yields=milestone["yields"],
        inputs={needed: state["milestones"][needed]["result"] for needed in milestone["depends_on"]},
        revision=plan["revision"] if plan else 0,
        attempt=milestone["attempts"],
    )
    if answers := milestone.get("answers"):
        brief["answers"] = answers
    if failure:
        brief["hint"] = f"{failure['message']}\n{failure['evidence']}".strip()
        if failure["code"] == "transient":
            brief["wait"] = retry_delay(failure["retry_after"], milestone["attempts"] - 1)
    return brief


def complete_brief(state: ExecutorState) -> dict[str, Any]:
    """Fill in what a brief written by hand leaves out; only the goal is needed.

    Raises:
        ConfigurationError: It is no brief; one sentence says what is wrong with it.
    """
    given: object = state.get("brief")
    try:
        brief = _BRIEF.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("brief", *first["loc"])))
        raise ConfigurationError(
            f'{place!r} will not do ({first["msg"]}): expected {{"brief": {{"goal": "...", "tools": ["..."]}}}}.'
        ) from None
    if not brief["goal"].strip():
        raise ConfigurationError("'brief.goal' is empty: say what the milestone is to reach.")
    blank = Brief(
        id="m1", goal="", done_when="", pitfalls=[], tools=[], calls=[], yields=[], inputs={}, revision=0, attempt=1
    )
    return {"brief": {**blank, **brief}}


def run_so_far(state: RunState, key: str) -> RunSoFar:
    """What the executor of milestone `key` is held to; nothing of it is shown to a model."""
    return RunSoFar(
        settings=state["settings"],
        usage=state["usage"],
        seconds=state["seconds"],
        effects=effects_before(state["log"], key, state["milestones"][key]["revision"]),
    )
