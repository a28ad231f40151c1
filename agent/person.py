"""What a person is asked while a run waits, in the shape that Agent Chat UI and Studio show as a form."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

from langchain_core.runnables.config import set_config_context
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.config import get_config
from langgraph.types import interrupt
from pydantic import BaseModel, ValidationError

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
        verdict = _read(_put(_request(asking, objection)), asking.allowed)
        taken = verdict if isinstance(verdict, Objection) else take(verdict)
        if not isinstance(taken, Objection):
            return taken
        objection = taken.text


def was_asked(asking: Asking) -> bool:
    """Whether the task at work put this before a person and was stopped there: a question once put stands.

    It does also where the settings of a resume no longer want it.
    """
    kind = _request(asking, "")["review_configs"]
    return any(isinstance(value, dict) and value.get("review_configs") == kind for value in _put_before())


def can_wait() -> bool:
    """Whether a run can wait for a person: only where a checkpointer keeps it meanwhile."""
    try:
        configurable = get_config().get("configurable", {})
    except RuntimeError:  # outside a graph
        return False
    return configurable.get(CHECKPOINTER) is not None


CHECKPOINTER = "__pregel_checkpointer"
"""Under which key of `configurable` LangGraph hands a node the checkpointer in force; it has no public name."""


RESUMING = "__pregel_resuming"
"""The key under which it tells a node that it may have been begun before."""
SCRATCHPAD = "__pregel_scratchpad"
"""The key under which it hands a node the answers there are."""
NOBODY = "00000000-0000-0000-0000-000000000000"
"""The task under which LangGraph keeps an answer that names no question; it has no public name, either."""


def _put(question: dict[str, Any]) -> object:
    """LangGraph's `interrupt`, but an answer that names no question answers one that was put, and no more.

    LangGraph gives it to the first question that comes up, and leaves it in the checkpoint until the step of the
    outermost graph is done. So it would answer a milestone that had not asked yet beside the one that did; or, after a
    crash or on a resume without an answer, the next question: one approval would cover a call that nobody has seen.
    """
    config = get_config()
    configurable = config["configurable"]
    if not _put_before():
        deaf = replace(configurable[SCRATCHPAD], get_null_resume=lambda _=False: None)
        config = {**config, "configurable": {**configurable, SCRATCHPAD: deaf}}
    try:
        with set_config_context(config) as context:
            return context.run(interrupt, question)
    finally:
        outermost = configurable.get("checkpoint_map", {}).get("")
        if outermost and (saver := configurable.get(CHECKPOINTER)):
            place = {"thread_id": configurable["thread_id"], "checkpoint_ns": "", "checkpoint_id": outermost}
            saver.put_writes({"configurable": place}, [(RESUME, None)], NOBODY)


def _put_before() -> list[object]:
    """What the task at work asked before it was stopped, read off what LangGraph keeps of it."""
    configurable = get_config()["configurable"]
    saver = configurable.get(CHECKPOINTER)
    if saver is None or not configurable.get(RESUMING):
        return []
    place, _, task = configurable["checkpoint_ns"].rpartition("|")
    facts = {"checkpoint_ns": place, "checkpoint_id": configurable["checkpoint_map"][place]}
    found = saver.get_tuple({"configurable": {"thread_id": configurable["thread_id"], **facts}})
    own = (task.rpartition(":")[2], INTERRUPT)
    return [
        waiting.value for *kind, put in (found and found.pending_writes) or () if (*kind,) == own for waiting in put
    ]


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
