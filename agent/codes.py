"""The fixed words in which a run is stored: statuses, actions, roles, codes, rules and types of events."""

from typing import Literal

MilestoneStatus = Literal["pending", "running", "completed", "failed", "blocked", "skipped"]
RunStatus = Literal["running", "completed", "partial", "aborted"]
Action = Literal["continue", "retry", "ask", "replan", "finish", "abort"]
Role = Literal["planner", "executor", "synthesizer", "verifier"]
ErrorCode = Literal[
    "plan_unparsable",
    "plan_invalid",
    "planner_unavailable",
    "model_unavailable",
    "executor_unavailable",
    "max_replans",
    "no_progress",
    "budget",
    "recursion_limit",
    "unmet_requirements",
    "synthesis_failed",
    "rejected",
    "needs_approval",
    "unsupported",
    "not_checked",
    "empty_request",
    "unexpected_state",
]
"""Why a run did not complete."""
FailureCode = Literal[
    "transient",
    "timeout",
    "outcome_unknown",
    "bad_arguments",
    "missing",
    "not_found",
    "permission",
    "limit",
    "unexpected_state",
    "refusal",
    "no_evidence",
    "no_value",
    "no_report",
    "unverified",
    "model_unavailable",
    "failed",
    "unknown",
]
"""Why a milestone or a tool call failed; `failures.MEANINGS` says what each means."""
DecisionType = Literal["approve", "edit", "reject", "respond"]
"""A HITL decision: what a person may decide, in the words of LangChain's human-in-the-loop middleware."""
Rule = Literal[
    "budget",
    "steps",
    "model",
    "ask",
    "surprise",
    "transient",
    "escalate",
    "replans_used_up",
    "no_progress",
    "failed",
    "more_to_do",
    "all_done",
    "unexpected",
    "planned",
    "nothing_left",
    "review_due",
    "reviewed",
    "edited",
    "comment",
    "unmet_requirement",
]
"""The rule behind a decision: the gate's (see `replan_gate.RULES`), then those of planner, review and synthesis."""
EventType = Literal[
    "plan_created",
    "plan_revised",
    "plan_reviewed",
    "milestone_started",
    "milestone_finished",
    "tool_started",
    "tool_finished",
    "decision",
    "user_answered",
    "synthesized",
    "model_progress",
    "answer_delta",
    "answer",
]
"""The type of an event on the custom stream, and of an entry in the log."""
