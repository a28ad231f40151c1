"""Interrupts: a run stops to ask a person, and resumes with their HITL decision."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar

from langchain_core.runnables.config import set_config_context
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.config import get_config
from langgraph.types import interrupt
from pydantic import AfterValidator, BaseModel, ValidationError

from plan_execute.agent.codes import DecisionType
from plan_execute.agent.truncation import json_safe, sanitize

T = TypeVar("T")

REVIEW_PLAN = "review_plan"
"""Name of the action request to review a plan."""
ASK_USER = "ask_user"
"""Name of the action request for information that only the user has."""
REPEAT_CALL = "repeat_call"
"""Name of the action request about a call whose outcome is unknown."""
EDITED = "Edited by a person."
"""The reason of a revision that a person wrote."""
INVALID_ANSWER = "Invalid answer: "
"""What stands before the reason when a person is asked again."""


class HumanDecision(BaseModel):
    """What a person decided, in the shape that LangChain's human-in-the-loop middleware and Agent Chat UI use."""

    type: DecisionType
    message: Annotated[str, AfterValidator(sanitize)] = ""
    edited_action: dict[str, Any] = {}


class InvalidAnswer(NamedTuple):
    """Why an answer is invalid; the person is asked again with this reason."""

    text: str


class HumanRequest(NamedTuple):
    """What a person is asked to decide: an action, its description, and the types of decision that make sense."""

    name: str
    args: Mapping[str, Any]
    description: str
    allowed: tuple[DecisionType, ...]
    takes_words: bool = False
    """Whether a text that neither approves nor rejects is a response."""
    answer_field: str | None = None
    """The argument that a response fills in, for clients that can edit arguments and not respond."""

    @property
    def decision_types(self) -> list[DecisionType]:
        """The types of decision that a client may offer."""
        return [*self.allowed, "edit"] if self.answer_field else list(self.allowed)

    @property
    def response_schema(self) -> dict[str, Any]:
        """The JSON schema of what resumes the run."""
        action = {
            "type": "object",
            "properties": {"name": {"const": self.name}, "args": {"type": "object"}},
            "required": ["name", "args"],
        }
        decision = {
            "type": "object",
            "properties": {
                "type": {"enum": self.decision_types},
                "message": {"type": "string", "description": "Why it is rejected, or the response."},
                **({"edited_action": action} if "edit" in self.decision_types else {}),
            },
            "required": ["type"],
        }
        decisions = {"type": "array", "items": decision, "minItems": 1, "maxItems": 1}
        return {"type": "object", "properties": {"decisions": decisions}, "required": ["decisions"]}


def interrupt_for_decision(request: HumanRequest, handle: Callable[[HumanDecision], T | InvalidAnswer]) -> T:
    """Interrupt the run until a person has made a valid decision; an invalid answer is asked for again with the reason.

    The run stops at LangGraph's `interrupt` until it is resumed with `{"decisions": [{"type": ...}]}`. LangGraph then
    runs the calling node again from its top, so nothing before this call may have a side effect.

    Args:
        request: What the person is asked.
        handle: Turns a decision into the result, or says why it is invalid.

    Returns:
        What `handle` returned for the first valid decision.
    """
    objection = ""
    while True:
        answer = interrupt_once(_payload(request, objection), request.response_schema)
        decision = read_decision(answer, request)
        result = decision if isinstance(decision, InvalidAnswer) else handle(decision)
        if not isinstance(result, InvalidAnswer):
            return result
        objection = result.text


def was_interrupted_for(request: HumanRequest) -> bool:
    """Tell whether the current task was interrupted for this request before.

    The person's decision then counts, even if the settings of the resume no longer ask for it.
    """
    configs = _payload(request, "")["review_configs"]
    return any(isinstance(value, dict) and value.get("review_configs") == configs for value in pending_interrupts())


def can_interrupt() -> bool:
    """Tell whether a run can be interrupted: only with a checkpointer to store it."""
    return active_checkpointer() is not None


def _payload(request: HumanRequest, objection: str) -> dict[str, Any]:
    description = f"{INVALID_ANSWER}{objection}\n\n{request.description}" if objection else request.description
    return {
        "action_requests": [{"name": request.name, "args": dict(request.args), "description": description}],
        "review_configs": [{"action_name": request.name, "allowed_decisions": request.decision_types}],
    }


def read_decision(answer: object, request: HumanRequest) -> HumanDecision | InvalidAnswer:
    """Read what a person decided, however their client says it.

    Args:
        answer: `{"decisions": [{"type": ...}]}`, or one decision alone; a decision of Agent Inbox (`accept`, `ignore`,
            `response`, `edit`); edited arguments alone; True, False, or words such as "yes", "approve" or
            "reject: too expensive"; other words, where the request takes them.
        request: What the person was asked.
    """
    try:
        decision = HumanDecision.model_validate(_as_decision(answer, request))
    except ValidationError:
        decision = None
    if decision is None or decision.type not in request.decision_types:
        types = " | ".join(f'"{kind}"' for kind in request.decision_types)
        return InvalidAnswer(f'got {str(answer)[:100]!r}, expected {{"decisions": [{{"type": {types}, ...}}]}}.')
    if decision.type != "edit":
        return decision
    args = decision.edited_action.get("args")
    if isinstance(args, dict):
        args = {name: _as_before(value, request.args.get(name)) for name, value in args.items()}
        decision.edited_action["args"] = args
    if request.answer_field is None:
        return decision
    given = args.get(request.answer_field) if isinstance(args, dict) else None
    return HumanDecision(type="respond", message="" if given is None else str(given))


def can_answer(text: str, value: object) -> bool:
    """Tell whether a text answers an interrupt.

    Args:
        text: What a person wrote.
        value: The interrupt's; what tools interrupted with may be answered by any text.
    """
    match value:
        case {"action_requests": [{"name": name, "args": args}], "review_configs": [{"allowed_decisions": allowed}]}:
            request = HumanRequest(name, args, "", tuple(allowed), takes_words=name in {REVIEW_PLAN, ASK_USER})
            return isinstance(read_decision(text, request), HumanDecision)
    return True


_YES = frozenset({"accept", "approve", "approved", "go", "go ahead", "lgtm", "ok", "okay", "true", "y", "yes"})
_NO = frozenset({"false", "n", "no", "reject", "rejected"})
_INBOX: Mapping[object, DecisionType] = {"accept": "approve", "ignore": "reject", "response": "respond"}
"""Agent Inbox's types of decision that have another name there."""


def _as_decision(answer: object, request: HumanRequest) -> object:
    """Put an answer into the shape of a decision, if it is known what it means."""
    match answer:
        case bool():
            return {"type": "approve" if answer else "reject"}
        case str():
            return _read_words(answer.strip(), request)
        case {"decisions": [first, *_]} | [first, *_]:
            return _as_decision(first, request)
        case {"type": str(kind), "args": args, **rest}:
            renamed = {**rest, "type": _INBOX.get(kind, kind)}
            if isinstance(args, dict):
                return {"edited_action": {"name": args.get("action"), "args": args.get("args")}, **renamed}
            return {"message": str(args or ""), **renamed}
        case {"type": _}:
            return answer
        case dict() if answer and answer.keys() <= request.args.keys():
            return {"type": "edit", "edited_action": {"name": request.name, "args": answer}}
    return answer


def _read_words(text: str, request: HumanRequest) -> object:
    if text[:1] in {"{", "["}:
        with suppress(ValueError, RecursionError):
            return _as_decision(json.loads(text), request)
    word, _, reason = text.partition(":")
    if word.strip().casefold() == "reject":
        return {"type": "reject", "message": reason.strip()}
    plain = text.rstrip(".!").casefold()
    if "approve" in request.allowed and plain in _YES | _NO:
        return {"type": "approve" if plain in _YES else "reject"}
    return {"type": "respond", "message": text} if request.takes_words else text


def _as_before(value: object, before: object) -> object:
    """Read a value that was no text, and that a client let a person edit as text."""
    if isinstance(value, str) and before is not None and not isinstance(before, str):
        with suppress(ValueError, RecursionError):
            read = json.loads(value)
            return read if json_safe(read) == read else value
    return value


_CHECKPOINTER = "__pregel_checkpointer"
"""Key of `configurable` under which LangGraph passes a node the active checkpointer."""
_RESUMING = "__pregel_resuming"
"""Key under which it passes whether the node may have been started before."""
_SCRATCHPAD = "__pregel_scratchpad"
"""Key under which it passes the resume values."""
_NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""The task under which it stores a resume value that names no interrupt."""


def active_checkpointer() -> BaseCheckpointSaver[Any] | None:
    """Return the checkpointer of the run that the calling node belongs to; its host's if it has none of its own."""
    saver = _configurable().get(_CHECKPOINTER)
    return saver if isinstance(saver, BaseCheckpointSaver) else None


def interrupt_once(payload: Mapping[str, Any], response_schema: dict[str, Any]) -> object:
    """Call LangGraph's `interrupt` so that a resume value that names no interrupt resolves one pending interrupt only.

    LangGraph gives such a value to the first `interrupt` that runs, and leaves it in the checkpoint until the step of
    the outermost graph ends. It would so resolve the interrupt of a parallel milestone that had not asked yet or, after
    a crash or a resume without a value, the next one: one approval would cover a call that nobody has seen.

    Returns:
        The resume value.
    """
    saver, config = active_checkpointer(), get_config()
    configurable = config["configurable"]
    if not pending_interrupts():
        scratchpad = replace(configurable[_SCRATCHPAD], get_null_resume=lambda _=False: None)
        config = {**config, "configurable": {**configurable, _SCRATCHPAD: scratchpad}}
    try:
        with set_config_context(config) as context:
            return context.run(lambda: interrupt(payload, response_schema=response_schema))
    finally:
        outermost = configurable.get("checkpoint_map", {}).get("")
        if saver is not None and outermost:
            checkpoint = {"thread_id": configurable["thread_id"], "checkpoint_ns": "", "checkpoint_id": outermost}
            saver.put_writes({"configurable": checkpoint}, [(RESUME, None)], _NULL_TASK)


def is_resuming() -> bool:
    """Tell whether the current task may have been started before, and so may have pending interrupts."""
    configurable = _configurable()
    return bool(configurable.get(_CHECKPOINTER) and configurable.get(_RESUMING))


def pending_interrupts() -> list[object]:
    """Return the values of the interrupts at which the current task was stopped."""
    saver, configurable = active_checkpointer(), _configurable()
    if saver is None or not configurable.get(_RESUMING):
        return []
    namespace, _, task = configurable["checkpoint_ns"].rpartition("|")
    parent = {"checkpoint_ns": namespace, "checkpoint_id": configurable["checkpoint_map"][namespace]}
    checkpoint = saver.get_tuple({"configurable": {"thread_id": configurable["thread_id"], **parent}})
    writes = (checkpoint.pending_writes if checkpoint else None) or ()
    own = (task.rpartition(":")[2], INTERRUPT)
    return [pending.value for key, channel, value in writes if (key, channel) == own for pending in value]


def _configurable() -> Mapping[str, Any]:
    try:
        configurable: Mapping[str, Any] = get_config().get("configurable", {})
    except RuntimeError:  # outside a graph
        return {}
    return configurable
