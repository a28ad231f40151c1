"""What the rule table says where no run of the real graph gets to."""

from typing import Any

import pytest

from plan_execute.agent.context import Context
from plan_execute.agent.nodes.replan_gate import RULES, Situation


def situation(decision: Any, **milestones: Any) -> Situation:
    plain: dict[str, Any] = {"goal": "Do it.", "depends_on": [], "report": None, "failure": None, "revision": 1}
    state: Any = {
        "plan": {"revision": 1},
        "milestones": {key: {**plain, "id": key, **fields} for key, fields in milestones.items()},
        "decision": decision,
        "replans": 0,
        "usage": {},
        "seconds": 0.0,
        "log": [],
        "remaining_steps": 1000,
    }
    return Situation(state, Context())


@pytest.mark.parametrize(
    "stuck",
    [
        situation(
            {"milestones": ["m1"]},
            m1={"status": "completed"},
            m2={"status": "pending", "depends_on": ["m3"]},
            m3={"status": "skipped"},
        ),
        situation({"milestones": []}, m1={"status": "completed"}),
        situation(None),
    ],
    ids=["only what can never run is left", "an empty round", "no decision"],
)
def test_when_in_doubt_it_is_never_success(stuck: Situation) -> None:
    rule = next(rule for rule in RULES if rule.applies(stuck))
    assert (rule.action, rule.code) == ("abort", "unexpected_state")
