"""What a person is asked while a run waits, in the shape that Agent Chat UI and Studio show as a form."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from plan_execute.agent.keeping import checkpointer_in_force, put_question, questions_kept

T = TypeVar("T")

OBJECTION = "This will not do: "
"""What stands before the reason when something is asked again."""

VerdictType = Literal["approve", "edit", "reject", "respond"]


class Verdict(BaseModel):
    """What a person answered: the shape LangChain's human-in-the-loop middleware and Agent Chat UI use."""

    type: VerdictType
    message: str = ""
    edited_action: dict[str, Any] = {}


class Objection(NamedTuple):
    """Why an answer will not do; the person is asked again with it."""

    text: str


class Asking(NamedTuple):
    """What is put before a person: an action, what it is about in words, and which verdicts on it make sense."""

    name: str
    args: Mapping[str, Any]
    description: str
    allowed: tuple[VerdictType, ...]


def ask_person(asking: Asking, take: Callable[[Verdict], T | Objection]) -> T:
    """Wait for a person's verdict, and ask again, with the reason, until one comes that will do.

    The run stops here, by LangGraph's `interrupt`, until it is resumed with `{"decisions": [{"type": ...}]}`. The node
    that asks is then run again from its top, so nothing before may have a side effect.

    Args:
        asking: What is asked.
        take: Makes of a verdict what is wanted of it, or says why it will not do.
    """
    objection = ""
    while True:
        verdict = _read(put_question(_request(asking, objection)), asking.allowed)
        taken = verdict if isinstance(verdict, Objection) else take(verdict)
        if not isinstance(taken, Objection):
            return taken
        objection = taken.text


def was_asked(asking: Asking) -> bool:
    """Whether the task at work put this before a person and was stopped there: a question once put stands.

    It does also where the settings of a resume no longer want it.
    """
    kind = _request(asking, "")["review_configs"]
    return any(isinstance(put, dict) and put.get("review_configs") == kind for put in questions_kept())


def can_wait() -> bool:
    """Whether a run can wait for a person: only where a checkpointer keeps it meanwhile."""
    return checkpointer_in_force() is not None


def _request(asking: Asking, objection: str) -> dict[str, Any]:
    description = f"{OBJECTION}{objection}\n\n{asking.description}" if objection else asking.description
    return {
        "action_requests": [{"name": asking.name, "args": dict(asking.args), "description": description}],
        "review_configs": [{"action_name": asking.name, "allowed_decisions": list(asking.allowed)}],
    }


def _read(answer: object, allowed: tuple[VerdictType, ...]) -> Verdict | Objection:
    """The decision in an answer: `{"decisions": [{"type": ...}]}`, or the decision alone."""
    if isinstance(answer, dict) and isinstance(answer.get("decisions"), list):
        answer = answer["decisions"]
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    try:
        verdict = Verdict.model_validate(answer)
    except ValidationError:
        verdict = None
    if verdict is None or verdict.type not in allowed:
        types = " | ".join(f'"{kind}"' for kind in allowed)
        return Objection(f'the answer was {str(answer)[:100]!r}, expected {{"decisions": [{{"type": {types}, ...}}]}}.')
    return verdict
