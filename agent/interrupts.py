"""Interrupts: how a person is asked, what they may decide, and which answer belongs to which question."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from langchain_core.runnables.config import set_config_context
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.config import get_config
from langgraph.types import interrupt
from pydantic import BaseModel, ValidationError

from plan_execute.agent.state import DecisionType

T = TypeVar("T")

REVIEW_PLAN = "review_plan"
"""The action in which a person is asked to review a plan."""
ASK_USER = "ask_user"
"""The action in which the user is asked for information that is missing."""
REPEAT_CALL = "repeat_call"
"""The action in which a person is asked about a call whose outcome is unknown."""
EDITED = "Edited by a person."
"""The reason of a revision that a person wrote."""
INVALID_ANSWER = "This will not do: "
"""What stands before the reason when something is asked again."""


class HumanDecision(BaseModel):
    """What a person answered: the shape LangChain's human-in-the-loop middleware and Agent Chat UI use."""

    type: DecisionType
    message: str = ""
    edited_action: dict[str, Any] = {}


class InvalidAnswer(NamedTuple):
    """Why an answer will not do; the person is asked again with it."""

    text: str


class HumanRequest(NamedTuple):
    """What is put before a person: an action, what it is about in words, and which verdicts on it make sense."""

    name: str
    args: Mapping[str, Any]
    description: str
    allowed: tuple[DecisionType, ...]


def interrupt_for_decision(asking: HumanRequest, take: Callable[[HumanDecision], T | InvalidAnswer]) -> T:
    """Wait for a person's verdict, and ask again, with the reason, until one comes that will do.

    The run stops here, by LangGraph's `interrupt`, until it is resumed with `{"decisions": [{"type": ...}]}`. The node
    that asks is then run again from its top, so nothing before may have a side effect.

    Args:
        asking: What is asked.
        take: Makes of a verdict what is wanted of it, or says why it will not do.
    """
    objection = ""
    while True:
        verdict = _read(interrupt_once(_request(asking, objection)), asking.allowed)
        taken = verdict if isinstance(verdict, InvalidAnswer) else take(verdict)
        if not isinstance(taken, InvalidAnswer):
            return taken
        objection = taken.text


def was_interrupted_for(asking: HumanRequest) -> bool:
    """Whether the task at work put this before a person and was stopped there: a question once put stands.

    It does also where the settings of a resume no longer want it.
    """
    kind = _request(asking, "")["review_configs"]
    return any(isinstance(put, dict) and put.get("review_configs") == kind for put in pending_interrupts())


def can_interrupt() -> bool:
    """Whether a run can wait for a person: only where a checkpointer keeps it meanwhile."""
    return active_checkpointer() is not None


def _request(asking: HumanRequest, objection: str) -> dict[str, Any]:
    description = f"{INVALID_ANSWER}{objection}\n\n{asking.description}" if objection else asking.description
    return {
        "action_requests": [{"name": asking.name, "args": dict(asking.args), "description": description}],
        "review_configs": [{"action_name": asking.name, "allowed_decisions": list(asking.allowed)}],
    }


def _read(answer: object, allowed: tuple[DecisionType, ...]) -> HumanDecision | InvalidAnswer:
    """The decision in an answer: `{"decisions": [{"type": ...}]}`, or the decision alone."""
    if isinstance(answer, dict) and isinstance(answer.get("decisions"), list):
        answer = answer["decisions"]
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    try:
        verdict = HumanDecision.model_validate(answer)
    except ValidationError:
        verdict = None
    if verdict is None or verdict.type not in allowed:
        types = " | ".join(f'"{kind}"' for kind in allowed)
        return InvalidAnswer(
            f'the answer was {str(answer)[:100]!r}, expected {{"decisions": [{{"type": {types}, ...}}]}}.'
        )
    return verdict


_CHECKPOINTER = "__pregel_checkpointer"
"""Under which key of `configurable` it hands a node the checkpointer in force."""
_RESUMING = "__pregel_resuming"
"""The key under which it tells a node that it may have been begun before."""
_SCRATCHPAD = "__pregel_scratchpad"
"""The key under which it hands a node the answers there are."""
_NOBODY = "00000000-0000-0000-0000-000000000000"
"""The task under which it keeps an answer that names no question."""


def active_checkpointer() -> BaseCheckpointSaver[Any] | None:
    """The checkpointer of the run that the calling node belongs to, its host's if it has none of its own."""
    found = _configurable().get(_CHECKPOINTER)
    return found if isinstance(found, BaseCheckpointSaver) else None


def interrupt_once(question: Mapping[str, Any]) -> object:
    """LangGraph's `interrupt`, but an answer that names no question answers one that was put, and no more.

    LangGraph gives it to the first question that comes up, and leaves it in the checkpoint until the step of the
    outermost graph is done. So it would answer a milestone that had not asked yet beside the one that did; or, after a
    crash or on a resume without an answer, the next question: one approval would cover a call that nobody has seen.
    """
    saver, config = active_checkpointer(), get_config()
    configurable = config["configurable"]
    if not pending_interrupts():
        deaf = replace(configurable[_SCRATCHPAD], get_null_resume=lambda _=False: None)
        config = {**config, "configurable": {**configurable, _SCRATCHPAD: deaf}}
    try:
        with set_config_context(config) as context:
            return context.run(interrupt, question)
    finally:
        outermost = configurable.get("checkpoint_map", {}).get("")
        if saver is not None and outermost:
            place = {"thread_id": configurable["thread_id"], "checkpoint_ns": "", "checkpoint_id": outermost}
            saver.put_writes({"configurable": place}, [(RESUME, None)], _NOBODY)


def is_resuming() -> bool:
    """Whether the task at work may have been begun before, so that it may have interrupts that are pending."""
    configurable = _configurable()
    return bool(configurable.get(_CHECKPOINTER) and configurable.get(_RESUMING))


def pending_interrupts() -> list[object]:
    """What the task at work had put before a person when it was stopped."""
    saver, configurable = active_checkpointer(), _configurable()
    if saver is None or not configurable.get(_RESUMING):
        return []
    place, _, task = configurable["checkpoint_ns"].rpartition("|")
    facts = {"checkpoint_ns": place, "checkpoint_id": configurable["checkpoint_map"][place]}
    found = saver.get_tuple({"configurable": {"thread_id": configurable["thread_id"], **facts}})
    writes = (found.pending_writes if found else None) or ()
    own = (task.rpartition(":")[2], INTERRUPT)
    return [waiting.value for key, channel, value in writes if (key, channel) == own for waiting in value]


def _configurable() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = get_config().get("configurable", {})
    except RuntimeError:  # outside a graph
        return {}
    return found
