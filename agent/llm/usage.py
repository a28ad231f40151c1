"""Usage: what model calls cost by role and by model, and whether a budget is crossed."""

import time
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from plan_execute.agent.codes import Role
from plan_execute.agent.context import Budget, Context, Price
from plan_execute.agent.llm.structured_output import Dialogue, Question
from plan_execute.agent.state import ModelUsage, RoleUsage, RunState, Spent, add_usage

T = TypeVar("T")

NO_BUDGET = Budget()
HEAVY_ROLES: tuple[Role, ...] = ("planner", "synthesizer")


def measured(role: Role, context: Context, dialogue: Dialogue[T], spent: Spent) -> Dialogue[T]:
    """Count the cost of every question of a dialogue.

    Args:
        role: Who asks.
        context: The settings, for the prices.
        dialogue: What is asked.
        spent: The cost of each question is added here before the dialogue goes on, and the seconds at its end.
    """
    began = time.monotonic()
    advance = partial(dialogue.send, None)
    while True:
        try:
            item = advance()
        except StopIteration as end:
            spent["seconds"] += time.monotonic() - began
            return cast("T", end.value)
        try:
            reply = yield item
        except Exception as error:  # noqa: BLE001 - the dialogue decides what it means
            advance = partial(dialogue.throw, error)
            continue
        advance = partial(dialogue.send, reply)
        if isinstance(item, Question):
            counted = count_call(role, item.model, reply.message, context.prices)
            spent["usage"] = add_usage(spent["usage"], counted if reply.error is None else _without_price(counted))


def total(before: Spent | RunState, spent: Spent) -> Spent:
    """Add what was spent since to what a run had cost before."""
    return Spent(usage=add_usage(before["usage"], spent["usage"]), seconds=before["seconds"] + spent["seconds"])


def count_call(
    role: Role, model: BaseChatModel | None, message: AIMessage | None, prices: Mapping[str, Price]
) -> dict[str, RoleUsage]:
    """Count one call; without reported tokens it has zero tokens at an unknown price."""
    reported = message.response_metadata.get("model_name") if message is not None else None
    name = str(reported or (model_name(model) if model is not None else "unknown"))
    used = ModelUsage(calls=1, input_tokens=0, output_tokens=0, usd=None)
    metadata: Mapping[str, Any] = (message.usage_metadata if message is not None else None) or {}
    sent, received = metadata.get("input_tokens"), metadata.get("output_tokens")
    if sent is not None and received is not None:
        cached = (metadata.get("input_token_details") or {}).get("cache_read") or 0
        tokens = max(sent, 0), max(received, 0)
        used = ModelUsage(
            calls=1, input_tokens=tokens[0], output_tokens=tokens[1], usd=_price(name, *tokens, cached, prices)
        )
    return {role: RoleUsage(**used, models={name: used})}


def heavy_calls(usage: Mapping[str, RoleUsage]) -> int:
    """Count the calls of the heavy roles together."""
    return sum(usage[role]["calls"] for role in HEAVY_ROLES if role in usage)


def crossed_budget(
    budget: Budget, before: Spent | RunState, since: Spent | None = None, *, heavy_ahead: int = 0
) -> str | None:
    """Name the limit that is used up; None while there is room.

    Args:
        budget: The limits of the run.
        before: What it had cost by the last step.
        since: What was spent since.
        heavy_ahead: How many more heavy calls the next step needs.
    """
    if budget == NO_BUDGET:
        return None
    spent = total(before, since) if since else before
    usage = spent["usage"]
    if budget.heavy_calls is not None and heavy_calls(usage) + heavy_ahead > budget.heavy_calls:
        return f"the budget of {budget.heavy_calls} heavy calls"
    tokens = sum(role["input_tokens"] + role["output_tokens"] for role in usage.values())
    if budget.tokens is not None and tokens >= budget.tokens:
        return f"the budget of {budget.tokens:,} tokens"
    if budget.seconds is not None and spent["seconds"] >= budget.seconds:
        return f"the budget of {budget.seconds:g} seconds"
    if budget.usd is not None:
        unpriced = [name for role in usage.values() for name, used in role["models"].items() if used["usd"] is None]
        if unpriced:
            return f"the budget of {budget.usd:g} dollars (no price is known for {unpriced[0]!r}: set `prices`)"
        if sum(role["usd"] or 0 for role in usage.values()) >= budget.usd:
            return f"the budget of {budget.usd:g} dollars"
    return None


def model_name(model: BaseChatModel) -> str:
    """Return a model's name at its provider, else its class."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def _without_price(usage: dict[str, RoleUsage]) -> dict[str, RoleUsage]:
    """Set the price to zero, because a call that failed costs nothing."""
    return {
        role: RoleUsage(**{**used, "usd": 0.0, "models": {n: {**m, "usd": 0.0} for n, m in used["models"].items()}})
        for role, used in usage.items()
    }


def _price(name: str, sent: int, received: int, cached: int, prices: Mapping[str, Price]) -> float | None:
    """Return the dollars for a call, by the user's prices or the list of `genai-prices`; None if neither has one."""
    if own := prices.get(name):
        return (sent * own.input + received * own.output) / 1_000_000
    if not _is_priced(name):
        return None
    from genai_prices import Usage, calc_price

    try:
        usage = Usage(input_tokens=sent, output_tokens=received, cache_read_tokens=min(cached, sent) or None)
        return float(calc_price(usage, model_ref=name).total_price)
    except ValueError:  # for example cached tokens without a price
        return None


@lru_cache(maxsize=256)
def _is_priced(name: str) -> bool:
    """Tell whether the list has a model; cached, because it takes milliseconds for one that it does not have."""
    from genai_prices import Usage, calc_price  # here, because it is slow, and not every run needs it

    try:
        calc_price(Usage(), model_ref=name)
    except (LookupError, ValueError):
        return False
    return True
