"""The executor's two ends: the brief a milestone starts from, and the judgement of what it reported."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
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
    new_id,
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


def open_scratchpad(state: ExecutorState, build: Build) -> dict[str, Any]:
    """Begin a milestone: the brief is completed, and its prompt is all the conversation there is."""
    brief = _complete(state.get("brief"))
    run = state.get("run")
    context = build.context(run["settings"] if run else None)
    messages = prompts.executor_messages(brief, context.executor_instructions)
    # With ids, or what comes back from the ReAct loop would be added to these instead of replacing them.
    return {"brief": brief, "messages": [m.model_copy(update={"id": new_id()}) for m in messages]}


def _complete(given: object) -> Brief:
    """Fill in what a brief written by hand leaves out; only the goal is needed.

    Raises:
        ConfigurationError: It is no brief; one sentence says what is wrong with it.
    """
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
    return {
        "id": "m1",
        "done_when": "",
        "pitfalls": [],
        "tools": [],
        "calls": [],
        "yields": [],
        "inputs": {},
        **brief,
    }


def run_so_far(state: RunState, key: str) -> RunSoFar:
    """What the executor of milestone `key` is held to; nothing of it is shown to a model."""
    return RunSoFar(
        settings=state["settings"],
        usage=state["usage"],
        seconds=state["seconds"],
        effects=effects_before(state["log"], key, state["milestones"][key]["revision"]),
    )
