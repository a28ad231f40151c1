"""The settings of a run: what a user may tune, and which setting wins."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, field_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from plan_execute.agent.errors import ConfigurationError, did_you_mean, validation_problems

ModelSpec = str | SkipJsonSchema[InstanceOf[BaseChatModel]] | None
Granularity = Literal["coarse", "balanced", "fine"]

MODEL_FIELDS = ("planner_model", "executor_model", "synthesizer_model", "verifier_model")
BUNDLED = "local:smollm2"
"""The bundled model."""
_FILE_PROVIDERS = frozenset({"local", "huggingface"})
"""Providers whose models may be files of this machine."""
PASSED_MODELS = "passed_models"
"""Key in frozen settings of the fields that had a chat model which only the run was given, and not the graph."""


def _studio(*nodes: str, prompt: bool = False) -> JsonDict:
    """Tell LangGraph Studio at which nodes of the drawing a setting is edited, and whether it is part of a prompt."""
    return {"langgraph_nodes": list(nodes), **({"langgraph_type": "prompt"} if prompt else {})}


class Size(NamedTuple):
    """What a granularity means: most milestones in a plan, most tool calls in a milestone."""

    milestones: int
    tool_calls: int


_LEVELS: Mapping[str, Sequence[Any]] = {
    "trust": ("open", "auto", "strict"),
    "review": ("never", "first", "every"),
    "verify": ("rules", "model"),
    "approve_tainted": (False, True),
}
"""Settings of safety, each with its values from the loosest to the tightest."""
_LIMITS = (
    "max_milestones",
    "max_replans",
    "max_attempts",
    "max_parallel",
    "max_model_calls",
    "max_tool_calls",
    "milestone_timeout",
)
"""Settings that limit what a run may do."""

SIZES: Mapping[Granularity, Size] = {"coarse": Size(6, 25), "balanced": Size(25, 12), "fine": Size(100, 6)}


class Budget(BaseModel):
    """The most a run may cost; empty means no limit. A run that crosses a limit ends with the results it has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    heavy_calls: int | None = Field(default=None, ge=1, title="Heavy calls")
    """Calls of the planner and the synthesizer together; a milestone's last attempt counts as the executor's."""
    tokens: int | None = Field(default=None, ge=1, title="Tokens")
    """Input and output tokens of all models."""
    usd: float | None = Field(default=None, gt=0, title="US dollars")
    """Cost of all models; a model without a known price counts as crossing it."""
    seconds: float | None = Field(default=None, gt=0, title="Seconds")
    """Working time; waiting for a person or a restart does not count, milestones side by side each do."""


class Price(BaseModel):
    """What a model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    input: float = Field(ge=0)
    """A million input tokens."""
    output: float = Field(ge=0)
    """A million output tokens."""


class Context(BaseModel):
    """Settings of one run. Every default is what a careful user would choose; what a run sets wins over the graph's."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    planner_model: ModelSpec = Field(default=None, title="Planner model", json_schema_extra=_studio("planner"))
    """The heavy model that plans, as `provider:model`, for example `openai:gpt-5`. Empty: chosen by what is there."""
    executor_model: ModelSpec = Field(default=None, title="Executor model", json_schema_extra=_studio("executor"))
    """The light model that carries out milestones, as `provider:model`. Empty: the planner's, if that is named."""
    synthesizer_model: ModelSpec = Field(
        default=None, title="Synthesizer model", json_schema_extra=_studio("synthesize")
    )
    """The heavy model that writes the answer, as `provider:model`. Empty: the planner's."""
    verifier_model: ModelSpec = Field(default=None, title="Verifier model", json_schema_extra=_studio("executor"))
    """The light model that verifies milestones if `verify` is `model`, as `provider:model`. Empty: the executor's."""
    planner_instructions: str = Field(
        default="",
        title="Instructions for the planner",
        json_schema_extra=_studio("planner", "synthesize", prompt=True),
    )
    """What the planner (and the synthesizer) should know beyond the request: house rules, style, language."""
    executor_instructions: str = Field(
        default="", title="Instructions for the executor", json_schema_extra=_studio("executor", "react", prompt=True)
    )
    """What every executor should know; it sees nothing else of the run."""
    granularity: Granularity = Field(default="balanced", title="Granularity")
    """How large a milestone is: coarse (at most 6, 25 tool calls each), balanced (25, 12) or fine (100, 6)."""
    max_milestones: int | None = Field(default=None, ge=1, title="Most milestones in a plan")
    """Overrides what the granularity allows."""
    max_replans: int = Field(default=3, ge=0, title="Most replans")
    """How many times a failing strategy may be revised before the run is aborted."""
    max_attempts: int = Field(default=2, ge=1, title="Most attempts at a milestone")
    """How often one milestone is tried when it fails for a passing reason; anything else goes to the planner."""
    max_parallel: int = Field(default=1, ge=1, title="Milestones at once")
    """How many independent milestones run at the same time; 1 is strictly sequential, in plan order."""
    review: Literal["never", "first", "every"] = Field(
        default="never", title="Review of plans", json_schema_extra=_studio("review")
    )
    """Which plans a person sees before they run: none, the first, or every revision too. Needs a checkpointer."""
    approve_tools: tuple[str, ...] = Field(default=(), title="Tools to approve", json_schema_extra=_studio("executor"))
    """Names of tools whose every call a person approves, with its exact arguments. Needs a checkpointer."""
    trust: Literal["auto", "strict", "open"] = Field(
        default="auto", title="Trust", json_schema_extra=_studio("planner", "executor")
    )
    """Whether what tools return may steer the run: open; strict: only typed values cross; auto: strict where needed."""
    approve_tainted: bool = Field(default=False, title="Approve tainted calls", json_schema_extra=_studio("executor"))
    """Whether a person approves a pinned call that acts with a value from an untrusted tool. Needs a checkpointer."""
    ask_user: bool = Field(default=False, title="Ask the user", json_schema_extra=_studio("ask_user"))
    """Whether a milestone that lacks information asks the user for it, before a replan. Needs a checkpointer."""
    max_model_calls: int = Field(default=25, ge=2, title="Most model calls in a milestone")
    """The executor's calls of its model within one milestone; on the last it can only report."""
    max_tool_calls: int | None = Field(default=None, ge=1, title="Most tool calls in a milestone")
    """Overrides what the granularity allows."""

    client: Literal["program", "chat"] = Field(default="program", title="Client", json_schema_extra=_studio("review"))
    """What shows the run. For a chat a plan to review is a text, and the executor's messages are not streamed."""
    milestone_timeout: float = Field(default=600, gt=0, title="Seconds for a milestone")
    """After this long nothing new is started in a milestone and a call under way is abandoned."""
    structured_output: Literal["auto", "json_schema", "function_calling", "prompt"] = Field(
        default="auto", title="Structured output"
    )
    """How plans and answers are asked for: native JSON schema, a tool to call, in words; auto: the best there is."""
    verify: Literal["rules", "model"] = Field(default="rules", title="Verification")
    """Who checks a milestone that reports success: plain rules, or also the verifier model against `done_when`."""
    escalate: bool = Field(default=False, title="Escalate")
    """Whether a milestone that failed goes to the planner's model for another attempt, before a replan."""
    budget: Budget = Field(default=Budget(), title="Budget", json_schema_extra=_studio("replan_gate"))
    """What a whole run may cost."""
    prices: dict[str, Price] = Field(default={}, title="Prices")
    """Prices by model name, for models whose price is not known or is another for you."""

    if not TYPE_CHECKING:  # type checkers read the signature off the fields

        def __init__(self, **settings: Any) -> None:
            """Validate the settings; LangGraph calls this too, with the dict that a run passes as `context=`.

            Raises:
                ConfigurationError: A field is unknown or its value is invalid; one sentence says which and why.
            """
            try:
                super().__init__(**settings)
            except ValidationError as error:
                raise ConfigurationError(_describe_invalid(error)) from None

    @field_validator(*MODEL_FIELDS)
    @classmethod
    def _named_with_provider(cls, value: object) -> object:
        if isinstance(value, str):
            check_model_name(value)
        return value

    @property
    def milestone_limit(self) -> int:
        """The most milestones a plan may have."""
        return self.max_milestones or SIZES[self.granularity].milestones

    @property
    def tool_call_limit(self) -> int:
        """The most tool calls a milestone may make."""
        return self.max_tool_calls or SIZES[self.granularity].tool_calls

    def over(self, other: "Context") -> "Context":
        """Override another context by what was set here; fields left at their default override nothing."""
        return other.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def freeze(self, defaults: "Context | None" = None) -> dict[str, Any]:
        """Return the settings as plain JSON for the state, without what was left empty.

        Model instances are left out, because they cannot be stored.

        Args:
            defaults: The graph's, which has its own instances still when the run is resumed; others are named under
                `PASSED_MODELS`.
        """
        instances = [name for name in MODEL_FIELDS if isinstance(getattr(self, name), BaseChatModel)]
        empty = {name for name in Context.model_fields if getattr(self, name) is None} - self.model_fields_set
        frozen = self.model_dump(mode="json", exclude={*instances, *empty})
        if passed := [name for name in instances if getattr(self, name) is not getattr(defaults or self, name)]:
            frozen[PASSED_MODELS] = passed
        return frozen


def make_context(settings: Mapping[str, Any] | Context | None = None, **fields: Any) -> Context:
    """Build a context from a mapping.

    Raises:
        ConfigurationError: A field is unknown or its value is invalid.
    """
    return settings if isinstance(settings, Context) else Context(**{**(settings or {}), **fields})


def effective_context(defaults: Context, frozen: Mapping[str, Any] | None, passed: object) -> Context:
    """Find the settings in force: those passed now win over those frozen by the run, and these over the graph's.

    The graph is its operator's: of what it was built with, a run can tighten safety and limits, and not loosen them
    (see `tightened`). Trust, which is decided when the run begins, never becomes less than it was then.

    Args:
        defaults: The graph's.
        frozen: Those in the state. A model that was an instance is missing here and so remains the graph's; None was
            set on purpose.
        passed: What LangGraph passes as context: a `Context`, None on a resume, or a host's own object (ignored).

    Raises:
        ConfigurationError: The run began with a chat model that was passed, and now none is.
    """
    context, given = defaults, passed.model_fields_set if isinstance(passed, Context) else frozenset[str]()
    if missing := next((name for name in (frozen or {}).get(PASSED_MODELS, ()) if name not in given), None):
        raise ConfigurationError(
            f"{missing!r} is missing: this run began with a chat model in `context`, which cannot be stored. Resume it "
            f"with that model, or another one, for example context=Context({missing}=model)."
        )
    if frozen:
        context = Context(**{name: frozen[name] for name in frozen if name in Context.model_fields}).over(context)
    if isinstance(passed, Context):
        context = passed.over(context)
    if frozen and frozen.get("trust") == "strict":
        context = context.model_copy(update={"trust": "strict"})
    return tightened(context, defaults)


def tightened(context: Context, operator: Context) -> Context:
    """Take from a run's settings whatever is looser than its operator's: the tighter of the two counts.

    This is so for `trust`, and of the other settings of safety and the limits for those that the operator has set.

    Args:
        context: The run's.
        operator: What the graph was built with.
    """
    if context is operator:
        return context
    held: dict[str, Any] = {}
    for name, levels in _LEVELS.items():
        if name in operator.model_fields_set or name == "trust":
            held[name] = max(getattr(context, name), getattr(operator, name), key=levels.index)
    for name in operator.model_fields_set.intersection(_LIMITS):
        held[name] = _least((getattr(context, name), getattr(operator, name)))
    if "budget" in operator.model_fields_set:
        both = context.budget, operator.budget
        least: dict[str, Any] = {name: _least(getattr(b, name) for b in both) for name in Budget.model_fields}
        held["budget"] = Budget(**least)
    if operator.approve_tools:
        held["approve_tools"] = tuple(dict.fromkeys([*operator.approve_tools, *context.approve_tools]))
    return context.model_copy(update={name: value for name, value in held.items() if value != getattr(context, name)})


def check_files_named(context: Context, operator: Context) -> None:
    """Check that models are read from files only where the operator has named them, except the bundled one.

    No file is looked for, so whoever may pass `context=` cannot learn from an error which files there are.

    Args:
        context: The settings in force.
        operator: What the graph was built with.

    Raises:
        ConfigurationError: A caller has named one; the sentence is the same whether the file exists or not.
    """
    named = [BUNDLED, *(getattr(operator, field) for field in MODEL_FIELDS)]
    for field in MODEL_FIELDS:
        name = getattr(context, field)
        if isinstance(name, str) and _provider_key(name) in _FILE_PROVIDERS and name not in named:
            raise ConfigurationError(
                f"Model {name!r} cannot be chosen by a run ({field!r}): models in files are those with which the graph "
                f"is built, for example create_plan_execute_agent({name!r})."
            )


def _least(limits: Iterable[float | None]) -> float | None:
    """Return the smallest limit; None is no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


def check_model_name(name: str) -> None:
    """Check that a name can be that of a model, without loading the model.

    Raises:
        ConfigurationError: It is not `provider:model`, or LangChain knows no such provider.
    """
    provider, _, model = name.partition(":")
    if not provider.strip() or not model.strip():
        raise ConfigurationError(f"Unknown model {name!r}: write it as provider:model, for example 'openai:gpt-5'.")
    from langchain.chat_models import base  # here, because most contexts name no model

    providers = getattr(base, "_BUILTIN_PROVIDERS", None)
    if providers is None or provider == "local" or _provider_key(name) in providers:
        return
    near = did_you_mean(provider.lower(), [*providers, "local"])
    advice = f"did you mean '{near}:{model}'?" if near else _EXAMPLES
    raise ConfigurationError(f"Unknown provider {provider!r} in {name!r}: {advice}")


def _provider_key(name: str) -> str:
    """Return the provider in a model's name, as LangChain spells it."""
    return name.partition(":")[0].replace("-", "_").lower()


_EXAMPLES = (
    "write the model as provider:model, for example 'openai:gpt-5', 'anthropic:claude-sonnet-5', 'ollama:qwen3' or "
    "'local:smollm2'."
)
_PARTS: Mapping[str, type[BaseModel]] = {"budget": Budget, "prices": Price}


def _describe_invalid(error: ValidationError) -> str:
    """Put the first problem into a sentence."""
    first = error.errors()[0]
    top = str(first["loc"][0]) if first["loc"] else "context"
    name, _, message = validation_problems(error, "context")[0].partition(": ")
    if first["type"] == "extra_forbidden":
        known = _PARTS.get(top, Context)
        return f"Unknown setting {name!r}: expected one of {', '.join(known.model_fields)}."
    if message.startswith("Unknown "):
        return message
    if top in MODEL_FIELDS:
        name, message = top, "expected provider:model, for example 'openai:gpt-5', or a chat model"
    return f"Bad value {first['input']!r} for {name!r}: {message}."
