"""A choice between options by calibrated log-probabilities: what the question adds to the likelihood of each."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from plan_execute.agent.small_models.engine import Completion, Engine

FULLY_SCORED = 16
"""Up to so many options, each is scored to its last token; of more, only the best token is followed at each step."""

CACHED = 500
"""How many results for neutral prompts are cached: the same few prompts come again and again."""

_neutral_tokens: dict[tuple[Engine, str], dict[str, float]] = {}


class Choice(NamedTuple):
    """The option chosen for a property, the score of each option that was scored to its end, and the tokens used."""

    property: str
    option: str
    scores: dict[str, float]
    usage: Completion


def choose_option(engine: Engine, prompt: str, neutral: Sequence[str], schema: dict[str, Any]) -> Choice:
    """Choose from a schema's only enum, token by token: log-probability after the prompt minus that after neutral ones.

    Args:
        engine: The loaded model.
        prompt: The text that the option continues.
        neutral: The same text with questions that have no content: the baseline that is subtracted.
        schema: A JSON schema with exactly one property, an enum of strings.

    Raises:
        ValueError: The schema has another form.
    """
    name, options = _single_enum(schema)
    usage = Completion()
    leaves: dict[str, float] = {}
    open_groups = [("", 0.0, options)]
    while open_groups:
        prefix, score, group = open_groups.pop()
        if len(group) == 1:
            leaves[group[0].strip()] = score
            continue
        after_question, tokens = engine.next_tokens(prompt + prefix)
        usage.input_tokens += tokens
        after_neutral = [_neutral_next_tokens(engine, text + prefix, usage) for text in neutral]
        usage.output_tokens += 1
        parts = [
            (prefix + token, score + _gain(token, after_question, after_neutral), members)
            for token, members in _group_by_token(group, prefix, after_question).items()
        ]
        open_groups += parts if len(options) <= FULLY_SCORED else [max(parts, key=itemgetter(1))]
    best = max(leaves, key=lambda option: leaves[option])
    return Choice(name, best, {option: round(score, 3) for option, score in leaves.items()}, usage)


def _neutral_next_tokens(engine: Engine, prompt: str, usage: Completion) -> dict[str, float]:
    """The likeliest next tokens after a neutral prompt, cached; what has to be read is added to the usage."""
    key = (engine, prompt)
    if key not in _neutral_tokens:
        _neutral_tokens[key], tokens = engine.next_tokens(prompt)
        usage.input_tokens += tokens
        while len(_neutral_tokens) > CACHED:
            _neutral_tokens.pop(next(iter(_neutral_tokens)), None)
    return _neutral_tokens[key]


def _group_by_token(options: Sequence[str], prefix: str, candidates: dict[str, float]) -> dict[str, list[str]]:
    """Options by the token that comes next in them."""
    groups: dict[str, list[str]] = {}
    for option in options:
        rest = option[len(prefix) :] + "\n"
        token = max((token for token in candidates if token and rest.startswith(token)), key=len, default=rest)
        groups.setdefault(token, []).append(option)
    return groups


def _gain(token: str, after_question: dict[str, float], after_neutral: Sequence[dict[str, float]]) -> float:
    """How much likelier the question makes a token; one that is not among the candidates counts as the least likely."""
    question, *neutral = (
        candidates.get(token, min(candidates.values(), default=0.0)) for candidates in (after_question, *after_neutral)
    )
    return question - sum(neutral) / max(len(neutral), 1)


def _single_enum(schema: dict[str, Any]) -> tuple[str, list[str]]:
    properties = schema.get("properties", {})
    if len(properties) == 1:
        ((name, field),) = properties.items()
        if field.get("enum") and all(isinstance(option, str) for option in field["enum"]):
            return name, [f" {option}" for option in dict.fromkeys(field["enum"])]
    raise ValueError("`neutral` decides a schema with exactly one property, an enum of strings.")
