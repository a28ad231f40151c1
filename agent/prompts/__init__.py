"""The prompts: what each role is told, filled in by functions with typed arguments.

Text from users, tools and earlier replies is never used as a template. It stands between marks that carry the random
number of the run, which no text can know and so none can close (a nonce, as in "spotlighting", Hines et al. 2024).
"""

from plan_execute.agent.prompts.executor import (
    EXECUTOR,
    NO_EVIDENCE,
    NOTHING_FAILED,
    NUDGE,
    PUT_INTO_REPORT,
    REPORT_ALONE,
    REPORTER,
    STILL_MISSING,
    call_messages,
    evidence_of,
    executor_messages,
    invalid_report,
    last_call,
    report_messages,
    ungrounded,
    values_missing,
    verifier_messages,
)
from plan_execute.agent.prompts.parts import (
    DIGEST_LIMIT,
    FAILURES_LENGTH,
    RESULT_LIMIT,
    describe_values,
    in_words,
    mark,
)
from plan_execute.agent.prompts.planner import (
    IN_STRICT_TRUST,
    PLANNER,
    PROGRESS_LIMIT,
    describe_progress,
    objection_message,
    planner_messages,
)
from plan_execute.agent.prompts.synthesizer import (
    JUDGE_IT,
    SYNTHESIZER,
    synthesizer_messages,
)

__all__ = [
    "DIGEST_LIMIT",
    "EXECUTOR",
    "FAILURES_LENGTH",
    "IN_STRICT_TRUST",
    "JUDGE_IT",
    "NOTHING_FAILED",
    "NO_EVIDENCE",
    "NUDGE",
    "PLANNER",
    "PROGRESS_LIMIT",
    "PUT_INTO_REPORT",
    "REPORTER",
    "REPORT_ALONE",
    "RESULT_LIMIT",
    "STILL_MISSING",
    "SYNTHESIZER",
    "call_messages",
    "describe_progress",
    "describe_values",
    "evidence_of",
    "executor_messages",
    "in_words",
    "invalid_report",
    "last_call",
    "mark",
    "objection_message",
    "planner_messages",
    "report_messages",
    "synthesizer_messages",
    "ungrounded",
    "values_missing",
    "verifier_messages",
]
