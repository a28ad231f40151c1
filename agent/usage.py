"""What calls cost, counted by role and by model."""

from collections.abc import Iterable
from typing import TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from plan_execute.agent.question import Dialogue
from plan_execute.agent.state import ModelUsage, Role, RoleUsage, add_usage

T = TypeVar("T")


def tallied(role: Role, dialogue: Dialogue[T]) -> Dialogue[tuple[T, dict[str, RoleUsage]]]:
    """Count every question of a dialogue; the result comes back together with the account."""
    account: dict[str, RoleUsage] = {}
    try:
        question = next(dialogue)
        while True:
            reply = yield question
            account = add_usage(account, count_call(role, question.model, reply.message))
            question = dialogue.send(reply)
    except StopIteration as end:
        return end.value, account


def count_call(role: Role, model: BaseChatModel | None, message: AIMessage | None) -> dict[str, RoleUsage]:
    """Account for one call; a model that reports no tokens is counted as a call of zero tokens."""
    metadata = message.usage_metadata if message is not None else None
    used = ModelUsage(
        calls=1,
        input_tokens=metadata["input_tokens"] if metadata else 0,
        output_tokens=metadata["output_tokens"] if metadata else 0,
        usd=None,
    )
    reported = message.response_metadata.get("model_name") if message is not None else None
    name = str(reported or (model_name(model) if model is not None else "unknown"))
    return {role: RoleUsage(**used, models={name: used})}


def sum_usage(accounts: Iterable[dict[str, RoleUsage]]) -> dict[str, RoleUsage]:
    """Add accounts up."""
    total: dict[str, RoleUsage] = {}
    for account in accounts:
        total = add_usage(total, account)
    return total


def model_name(model: BaseChatModel) -> str:
    """Name a model as its provider does, else by its class."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__
