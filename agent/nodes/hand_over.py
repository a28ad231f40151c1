"""The hand-over: what the gate, the heavy roles and a new plan are shown of milestones.

In open trust that is all. In strict trust it is, of a milestone that may have read what others wrote, only what no such
text can get into: its status, codes, names of granted tools, and typed values.
"""

from collections.abc import Mapping
from typing import Any

from plan_execute.agent.failures import MEANINGS
from plan_execute.agent.prompts import describe_values
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import Failure, Milestone, Plan, RunState, is_strict, is_tainted
from plan_execute.agent.trust.values import item_kind

NO_VALUES = "It is done, and passes on no values."
"""What stands for the result of a finished milestone that yields nothing."""


def handed_over(state: RunState, *, texts: bool) -> dict[str, Milestone]:
    """Return the milestones as another role is shown them.

    Args:
        state: The run.
        texts: Whether values of the kind `text` are shown, truncated; else only how long they are.
    """
    milestones = state.get("milestones") or {}
    if not is_strict(state):
        return milestones
    return {key: _typed(m, texts=texts) if is_tainted(m) else m for key, m in milestones.items()}


def plan_handed_over(state: RunState, plan: Plan) -> Plan:
    """Return the plan as the planner is shown it: in strict trust without the notes on its requirements."""
    if not is_strict(state):
        return plan
    return {**plan, "requirements": [{**requirement, "note": None} for requirement in plan["requirements"]]}


def permissions_needed(state: RunState, draft: PlanDraft) -> list[str]:
    """Say in a sentence each what of a draft a person has to permit in strict trust.

    That is a milestone that acts with arguments that are not pinned, and a tool that neither the first plan has granted
    nor one that has run since.
    """
    if not is_strict(state):
        return []
    before = [m for m in state["milestones"].values() if m["revision"] == 1 or m["attempts"]]
    granted = {tool for milestone in before for tool in milestone["tools"]}
    needed = []
    for milestone in draft.milestones:
        if milestone.open:
            tools = ", ".join(milestone.tools)
            needed.append(
                f"{milestone.id} ({milestone.goal}) may call {tools} with arguments that its plan does not fix."
            )
        elif state["plan"] and (more := [tool for tool in milestone.tools if tool not in granted]):
            needed.append(
                f"{milestone.id} ({milestone.goal}) may call {', '.join(more)}, which no plan before granted."
            )
    return needed


def _typed(milestone: Milestone, *, texts: bool) -> Milestone:
    failure = milestone["failure"]
    code = failure["code"] if failure else None
    shown: Milestone = {
        **milestone,
        "report": None,
        "failure": Failure(code=code, message=MEANINGS[code], evidence="", retry_after=None) if code else None,
        "answers": {f"what {milestone['id']} asked for": text for text in milestone.get("answers", {}).values()},
        "tool_calls": [call for call in milestone["tool_calls"] if call["tool"] in milestone["tools"]],
    }
    if milestone["status"] == "completed":
        values = _shown(milestone, texts=texts)
        shown["result"] = describe_values(values) if values else NO_VALUES
    return shown


def _shown(milestone: Milestone, *, texts: bool) -> Mapping[str, Any]:
    kinds = {wanted["name"]: item_kind(wanted["kind"]) for wanted in milestone["yields"]}
    return {
        name: value if texts or kinds.get(name, "text") != "text" else _length(value)
        for name, value in milestone["values"].items()
    }


def _length(value: Any) -> str:
    return f"({len(value)} texts)" if isinstance(value, list) else f"(a text of {len(value):,} characters)"
