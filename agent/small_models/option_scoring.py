"""A choice between options, decided by what a question adds to the likelihood of each."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from plan_execute.agent.small_models.engine import Completion, Engine

CANDIDATES = 1000
"""How many next tokens are looked at when options are compared; an option beyond them counts as the last of them."""

ALL_WEIGHED = 16
"""Up to how many options each is weighed to its end; among more, the best token is followed."""

REMEMBERED = 500
"""How many answers to neutral prompts are kept: the same few prompts come again and again."""

_neutral_tokens: dict[tuple[int, str], dict[str, float]] = {}


class Choice(NamedTuple):
    """The option chosen for a property, the score of each option that was weighed to its end, and what it cost."""

    property: str
    option: str
    scores: dict[str, float]
    spent: Completion


def choose_option(engine: Engine, prompt: str, neutral: Sequence[str], schema: dict[str, Any]) -> Choice:
    """Decide a schema's only enum token by token: the log-probability of each option less that after neutral prompts.

    Args:
        engine: The loaded model.
        prompt: The text that the option is to go on.
        neutral: The same texts without a question, which tell how likely an option is anyway.
        schema: A JSON schema with exactly one property, an enum of texts.
    """
    name, options = _single_enum(schema)
    spent = Completion()
    leaves: dict[str, float] = {}
    open_groups = [("", 0.0, options)]
    while open_groups:
        prefix, score, group = open_groups.pop()
        if len(group) == 1:
            leaves[group[0].strip()] = score
            continue
        (told, *untold), tokens = _next_tokens(engine, [text + prefix for text in (prompt, *neutral)])
        spent.input_tokens += tokens
        spent.output_tokens += 1
        parts = [
            (prefix + token, score + _gain(token, told, untold), members)
            for token, members in _group_by_token(group, prefix, told).items()
        ]
        open_groups += parts if len(options) <= ALL_WEIGHED else [max(parts, key=itemgetter(1))]
    best = max(leaves, key=lambda option: leaves[option])
    return Choice(name, best, {option: round(score, 3) for option, score in leaves.items()}, spent)


def _next_tokens(engine: Engine, prompts: Sequence[str]) -> tuple[list[dict[str, float]], int]:
    """What each prompt may go on with, and how many tokens were read; answers to neutral prompts are remembered."""
    candidates, tokens = engine.next_tokens(prompts[0], CANDIDATES)
    answers = [candidates]
    for prompt in prompts[1:]:
        key = (id(engine), prompt)
        if key not in _neutral_tokens:
            _neutral_tokens[key], read = engine.next_tokens(prompt, CANDIDATES)
            tokens += read
            while len(_neutral_tokens) > REMEMBERED:
                _neutral_tokens.pop(next(iter(_neutral_tokens)), None)
        answers.append(_neutral_tokens[key])
    return answers, tokens


def _group_by_token(options: Sequence[str], prefix: str, candidates: dict[str, float]) -> dict[str, list[str]]:
    """Options by the token that comes next in them."""
    groups: dict[str, list[str]] = {}
    for option in options:
        rest = option[len(prefix) :] + "\n"
        token = max((token for token in candidates if token and rest.startswith(token)), key=len, default=rest)
        groups.setdefault(token, []).append(option)
    return groups


def _gain(token: str, told: dict[str, float], untold: Sequence[dict[str, float]]) -> float:
    """By how much the question makes a token likelier; one that is not among the candidates counts as their least."""

    def likelihood(candidates: dict[str, float]) -> float:
        return candidates.get(token, min(candidates.values(), default=0.0))

    return likelihood(told) - sum(map(likelihood, untold)) / max(len(untold), 1)


def _single_enum(schema: dict[str, Any]) -> tuple[str, list[str]]:
    properties = schema.get("properties", {})
    if len(properties) == 1:
        ((name, field),) = properties.items()
        if field.get("enum") and all(isinstance(option, str) for option in field["enum"]):
            return name, [f" {option}" for option in dict.fromkeys(field["enum"])]
    raise ValueError("`neutral` decides a schema with exactly one property, an enum of texts.")
