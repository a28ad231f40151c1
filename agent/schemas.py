"""The schemas that models fill in: plan, report, verification, synthesis.

They have no defaults, because strict providers require every field. A validator before them is lenient towards what a
weak model leaves out, so that the schema a model reads stays strict.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from plan_execute.agent.truncation import sanitize

ScalarKind = Literal["text", "number", "integer", "boolean", "date", "email", "url", "id", "choice"]
YieldKind = Literal[
    ScalarKind,
    "list[text]",
    "list[number]",
    "list[integer]",
    "list[boolean]",
    "list[date]",
    "list[email]",
    "list[url]",
    "list[id]",
    "list[choice]",
]


NULL_WORDS = frozenset({"", "null", "none", "nil", "n/a"})
"""What models write for null."""
NOTHING_WORDS = frozenset({"-", "no", "nothing", "nothing missing", "nothing is missing", "not applicable"})
"""What models write when nothing is missing, or nothing was a surprise."""
YES_WORDS = frozenset({"true", "yes", "y", "1", "met", "done"})
"""What models write for true."""

STATUSES = {
    **dict.fromkeys(("success", "successful", "completed", "complete", "done"), "succeeded"),
    **dict.fromkeys(("failure", "error"), "failed"),
}
"""What models write for the status of a report."""

_NUMBER = re.compile(r"[\W_]*(?:r[a-z]*)?[\W_]*(\d+)(?:\W*$|[.:)]\s)", re.IGNORECASE)
"""The number of a requirement: 1, R1, requirement 1, 1: its text."""
_ID = re.compile(r"(?:done:)?\W*(?:m|milestone)?[\W_]*(\d+)\b", re.IGNORECASE)
"""The id of a milestone: m1, M1, 1, done:m1, milestone 1, m1: its goal."""
_LIST_KIND = re.compile(r"(?:list|array)(?:\s+of\s+|\[)(\w+)\]?|(\w+)\[\]")
KIND_WORDS = {
    **{kind: kind for kind in get_args(ScalarKind)},
    **dict.fromkeys(("string", "str"), "text"),
    **dict.fromkeys(("float", "decimal"), "number"),
    "int": "integer",
    "bool": "boolean",
    "datetime": "date",
    "uri": "url",
    "enum": "choice",
}
"""What models write for a kind."""
_AND = re.compile(r"\s*(?:[,;&]|\band\b)\s*", re.IGNORECASE)


def _or_null(schema: dict[str, Any]) -> None:
    """Let a model write null in place of a value; what it means is the validator's to say."""
    schema["anyOf"] = [{key: schema.pop(key) for key in ("type", "items") if key in schema}, {"type": "null"}]


class _Lenient(BaseModel):
    """Accepts what weak models send: missing or null lists and texts, one item for a list, numbers for texts.

    A list may also be JSON in a text, or an object by the first field of its items, whose values have the other fields
    or are the second field alone. A boolean that is not clearly true is false.
    """

    model_config = ConfigDict(extra="ignore")
    essential: ClassVar[frozenset[str]] = frozenset()
    """Fields that must not be missing."""
    exact: ClassVar[frozenset[str]] = frozenset()
    """Fields that are not coerced."""
    may_be_blank: ClassVar[frozenset[str]] = frozenset()
    """Fields whose empty text is not null."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        for name, field in cls.model_fields.items():
            if name in cls.exact or (name in cls.may_be_blank and filled.get(name) == ""):
                continue
            if filled.get(name) is None and name not in cls.essential:
                filled |= _empty(name, field.annotation)
            elif name in filled:
                filled[name] = _coerce(filled[name], field.annotation)
        return filled


class PinnedCallDraft(_Lenient):
    """A tool call whose arguments are already known when the plan is made."""

    essential: ClassVar[frozenset[str]] = frozenset({"tool"})
    tool: str = Field(description="Name of one of the milestone's tools.")
    args: str = Field(
        description='Its arguments, a JSON object as text; "$m1.total" stands for the value `total` that m1 yields.'
    )


class YieldDraft(_Lenient):
    """A typed value that a milestone passes on to those that depend on it."""

    essential: ClassVar[frozenset[str]] = frozenset({"name"})
    may_be_blank: ClassVar[frozenset[str]] = frozenset({"path"})
    name: str = Field(description="A short name, letters and digits.")
    kind: YieldKind = Field(description="The type of the value.")
    options: list[str] = Field(description="The possible values, for the kind 'choice' only.")
    path: str | None = Field(
        description="JSON pointer to the value in the result of its last call, such as /0/total; '' for the whole "
        "result. Null: the executor reads the value."
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _as_kind(cls, kind: Any) -> Any:
        """Read a kind as models write it: text[], list of texts, str."""
        if not isinstance(kind, str):
            return kind
        found = _LIST_KIND.fullmatch(kind.strip().casefold())
        item = next(filter(None, found.groups())) if found else kind.strip().casefold()
        item = KIND_WORDS.get(item) or KIND_WORDS.get(item.removesuffix("s"), item)
        return f"list[{item}]" if found else item

    @field_validator("path", mode="before")
    @classmethod
    def _as_pointer(cls, path: Any) -> Any:
        return "" if path in {"/", "#", "$", "."} else path


class MilestoneDraft(_Lenient):
    """One piece of work that a single executor can carry out on its own."""

    essential: ClassVar[frozenset[str]] = frozenset({"goal"})
    id: str = Field(description="A short id such as m1, unique in this plan.")
    goal: str = Field(
        validation_alias=AliasChoices("goal", "description", "task", "title"),
        description="What to achieve, self-contained: the executor sees neither the request nor the rest of the plan.",
    )
    done_when: str = Field(description="What has to be known, or to be seen, so that it is done.")
    pitfalls: list[str] = Field(description="What may go wrong here and how to avoid it.")
    tools: list[str] = Field(description="Names of the tools it needs, from the catalogue; no others will work.")
    depends_on: list[str] = Field(
        description="Ids of earlier milestones whose results it needs; empty if it needs none."
    )
    covers: list[int] = Field(description="Numbers of the requirements it contributes to, counted from 1.")
    calls: list[PinnedCallDraft] = Field(
        json_schema_extra=_or_null,
        description="Tool calls whose arguments are known already, in order; code makes them. Else null.",
    )
    yields: list[YieldDraft] = Field(
        json_schema_extra=_or_null, description="Typed values it passes on to later calls; else null."
    )
    open: bool = Field(
        json_schema_extra=_or_null,
        description="True if it needs a tool that acts, with arguments that cannot be known in advance: a person is "
        "asked whether it may.",
    )


class PlanDraft(_Lenient):
    """A plan: what is asked for, how it will be reached, and the milestones on the way."""

    strategy: str = Field(description="The overall approach, in two or three sentences.")
    requirements: list[str] = Field(description="Everything the request asks for, one checkable sentence each.")
    givens: list[str] = Field(description="Facts stated in the request.")
    unknowns: list[str] = Field(description="What has to be found out.")
    pitfalls: list[str] = Field(description="What could make the whole plan fail.")
    answer: str | None = Field(
        description="Only when nothing needs to be looked up or done: the complete answer. Otherwise null."
    )
    milestones: list[MilestoneDraft] = Field(description="The work, in order; empty only with a direct answer.")


class ReportedValue(_Lenient):
    """A typed value, written as text."""

    essential: ClassVar[frozenset[str]] = frozenset({"name"})
    name: str = Field(description="The name the brief gave it.")
    value: str = Field(description="The value as text.")


class MilestoneReport(_Lenient):
    """Report how the milestone ended. Call this once, alone, after the tools have answered."""

    status: Literal["succeeded", "failed", "blocked"] = Field(
        description="succeeded: done as required; failed: tried and failed; blocked: something is missing."
    )
    result: str = Field(description="What was found or done: the figures and names themselves; partial findings too.")
    missing: str | None = Field(description="If blocked, what information or access is missing; else null.")
    surprise: str | None = Field(description="What contradicts the goal's assumptions, else null.")
    values: SkipJsonSchema[list[ReportedValue]] = Field(description="The values the brief asks to yield; else empty.")

    @field_validator("status", mode="before")
    @classmethod
    def _as_status(cls, status: Any) -> Any:
        return STATUSES.get(status, status) if isinstance(status, str) else status

    @field_validator("missing", "surprise")
    @classmethod
    def _as_nothing(cls, text: str | None) -> str | None:
        return None if text is not None and text.strip(" .\n\t").casefold() in NOTHING_WORDS else text


class Verification(_Lenient):
    """Whether a milestone is done, judged by the evidence alone."""

    reason: str = Field(description="What in the evidence shows it, or what is missing.")
    done: bool = Field(description="True only if the evidence shows that it is done.")


class RequirementVerdict(_Lenient):
    """Whether one requirement is met, and by which milestones."""

    number: int = Field(description="The requirement's number.")
    met: bool = Field(description="True only if the results show it.")
    milestones: list[str] = Field(description="Ids of the milestones whose results show it.")
    note: str | None = Field(description="If unmet, what is missing; else null.")

    @field_validator("milestones")
    @classmethod
    def _as_ids(cls, milestones: list[str]) -> list[str]:
        """Read the ids in what a model wrote; a text without one stays as it is, and supports nothing."""
        texts: list[str] = []
        for text in milestones:
            parts = _AND.split(text)
            texts += parts if all(map(_ID.fullmatch, parts)) else [text]
        return [f"m{found[1]}" if (found := _ID.match(text)) else text for text in texts]


class Synthesis(_Lenient):
    """The answer to the request, and a verdict on each requirement."""

    essential: ClassVar[frozenset[str]] = frozenset({"answer"})
    exact: ClassVar[frozenset[str]] = frozenset({"structured_response"})
    answer: str = Field(description="The complete answer for the person who asked.")
    requirements: list[RequirementVerdict] = Field(description="One verdict for each requirement.")


def _empty(name: str, annotation: Any) -> dict[str, Any]:
    """Return a missing field's default: an empty list or text, null, or false; none for other types."""
    if get_origin(annotation) is list:
        return {name: []}
    if type(None) in get_args(annotation):
        return {name: None}
    if annotation is bool:
        return {name: False}
    return {name: ""} if annotation is str else {}


def _coerce(value: Any, annotation: Any) -> Any:
    if get_origin(annotation) is list:
        (item_type,) = get_args(annotation)
        return [_coerce(item, item_type) for item in _items(value, item_type) if item is not None]
    if annotation is bool:
        return str(value).strip(" .!").casefold() in YES_WORDS
    if annotation is int and isinstance(value, str) and (number := _NUMBER.match(value)):
        return int(number[1])
    if annotation == str | None and _is_nothing(value):
        return None
    if annotation in (str, str | None):
        return sanitize(value if isinstance(value, str) else _as_text(value))
    if get_origin(annotation) is Literal and isinstance(value, str):
        return value.strip().lower()
    return value


def _as_text(value: Any) -> str:
    """Write a value that should be a text as JSON, or as Python does where it is not JSON."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _items(value: Any, item_type: Any) -> list[Any]:
    """Read the items of a value that should be a list."""
    value = _parsed(value)
    if isinstance(value, str) and item_type is int and not _NUMBER.match(value):
        value = _AND.split(value)
    if isinstance(value, Mapping) and isinstance(item_type, type) and issubclass(item_type, BaseModel):
        fields = item_type.model_fields.keys()
        key, content, *_ = fields
        if not value.keys() & fields:
            whole = [v if isinstance(v, Mapping) and v.keys() & fields else {content: v} for v in value.values()]
            value = [{key: name, **item} for name, item in zip(value, whole, strict=True)]
    items = value if isinstance(value, list) else [value]
    return [] if len(items) == 1 and _is_nothing(items[0]) else items


def _parsed(value: Any) -> Any:
    """Parse a text that is the JSON of a list or an object; return anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if isinstance(parsed, list | dict) else value


def _is_nothing(value: Any) -> bool:
    return isinstance(value, str) and value.strip().casefold() in NULL_WORDS
