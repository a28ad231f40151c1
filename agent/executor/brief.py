"""The brief: what an executor is told of its run, and what its limits need to know of it."""

from typing import Any

from langgraph.types import Overwrite
from pydantic import TypeAdapter, ValidationError

from plan_execute.agent.errors import ConfigurationError, validation_problems
from plan_execute.agent.executor.receipts import effects_before
from plan_execute.agent.executor.scratchpad import ScratchpadState
from plan_execute.agent.failures import retry_delay
from plan_execute.agent.state import Brief, ExecutorOutput, RunSoFar, RunState, is_strict, is_tainted

BLANK = Brief(
    id="m1", goal="", done_when="", pitfalls=[], tools=[], calls=[], yields=[], inputs={}, revision=0, attempt=1
)
"""What a brief that says nothing means."""
_BRIEF = TypeAdapter(Brief)
_RUN_KEYS = RunSoFar.__required_keys__


class ExecutorState(ScratchpadState, ExecutorOutput):
    """The whole state of the executor graph."""


def make_brief(state: RunState, key: str) -> Brief:
    """Make all that the executor of milestone `key` sees: the milestone, and the results it depends on."""
    milestone, plan = state["milestones"][key], state["plan"]
    needed = {key: state["milestones"][key] for key in milestone["depends_on"]}
    brief = Brief(
        id=key,
        goal=milestone["goal"],
        done_when=milestone["done_when"],
        pitfalls=milestone["pitfalls"],
        tools=milestone["tools"],
        calls=milestone["calls"],
        yields=milestone["yields"],
        inputs={
            key: before["result"] for key, before in needed.items() if not (is_strict(state) and is_tainted(before))
        },
        revision=plan["revision"] if plan else 0,
        attempt=milestone["attempts"],
    )
    if values := {key: before["values"] for key, before in needed.items() if before["values"]}:
        brief["values"] = values
    if tainted := [key for key, before in needed.items() if is_tainted(before)]:
        brief["tainted"] = tainted
    if nonce := state["settings"].get("nonce"):
        brief["nonce"] = nonce
    if milestone.get("open"):
        brief["open"] = True
    if answers := milestone.get("answers"):
        brief["answers"] = answers
    if failure := milestone["failure"]:
        brief["hint"] = f"{failure['message']}\n{failure['evidence']}".strip()
        if failure["code"] == "transient":
            brief["wait"] = retry_delay(failure["retry_after"], milestone["attempts"] - 1)
    return brief


def complete_brief(state: ExecutorState) -> dict[str, Any]:
    """Fill in what a brief written by hand leaves out; only the goal is needed.

    Returns:
        The state update: `brief`.

    Raises:
        ConfigurationError: The input is not a brief; one sentence says what is wrong with it.
    """
    given: object = state.get("brief")
    if (run := state.get("run")) and not run.keys() >= _RUN_KEYS:
        names = ", ".join(sorted(_RUN_KEYS))
        raise ConfigurationError(f"'run' is incomplete: expected all of {names}; leave it out for a brief on its own.")
    try:
        brief = _BRIEF.validate_python(given)
    except ValidationError as error:
        place, _, reason = validation_problems(error, "")[0].partition(": ")
        name = f"brief.{place}".rstrip(".")
        raise ConfigurationError(
            f'Invalid {name!r} ({reason}): expected {{"brief": {{"goal": "...", "tools": ["..."]}}}}.'
        ) from None
    if not brief["goal"].strip():
        raise ConfigurationError("'brief.goal' is empty: say what the milestone should achieve.")
    # A thread of the executor's own may have carried out another brief before.
    begun = {"messages": Overwrite([]), "tally": Overwrite({}), "structured_response": None}
    return {"brief": {**BLANK, **brief}, **begun}


def is_complete(state: ExecutorState) -> bool:
    """Whether a brief comes with everything: with the run it belongs to, as that of a milestone of a plan does."""
    brief, run = state.get("brief"), state.get("run")
    return isinstance(brief, dict) and brief.keys() >= BLANK.keys() and bool(run and run.keys() >= _RUN_KEYS)


def run_so_far(state: RunState, key: str) -> RunSoFar:
    """Collect what the executor of milestone `key` must respect; no model is shown any of it."""
    milestone = state["milestones"][key]
    return RunSoFar(
        settings=state["settings"],
        usage=state["usage"],
        seconds=state["seconds"],
        effects=effects_before(state["log"], key, milestone["revision"], milestone["tools"]),
    )
