"""Arguments for a tool call, formed from the words of a goal: the model chooses, code narrows what can be said.

A tool says what language a text argument is written in with `tool.metadata["languages"] = {argument: language}`:
"arithmetic", "keywords", or "sql" together with `tool.metadata["schema"]`. Other arguments go by their JSON schema.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.small_models import sql as compact_sql
from plan_execute.agent.small_models.choice import Form, choose
from plan_execute.agent.small_models.words import (
    ANAPHORA,
    POINTER,
    Operand,
    content_words,
    joined,
    operands,
    sentences,
    stem,
    stems,
)

EXPRESSION = Form(
    "Write the expression that answers the question. Use every letter.",
    answer="Expression",
    examples=(
        ("What is A times B?", "A * B"),
        ("What is A% of B?", "A% of B"),
        ("Divide A by B", "A / B"),
        ("Subtract A from B", "B - A"),
        ("Add A to B", "A + B"),
        ("Take A% off B", "B - A% of B"),
        ("A boxes with B nails each", "A * B"),
        ("What is A minus B?", "A - B"),
        ("Divide B by A", "B / A"),
        ("What do A such tickets cost? (B)", "A * B"),
        ("what is A of B", "A * B"),
        ("Raise B by A%", "B + A% of B"),
        ("Multiply the sum of A and B by C", "(A + B) * C"),
        ("how much is A plus B", "A + B"),
        ("Multiply B by A", "A * B"),
        ("how much is A% of B", "A% of B"),
        ("Share B among A people", "B / A"),
        ("the sum of A and B", "A + B"),
        ("What is A divided by B plus C?", "A / B + C"),
        ("How much do A people pay? (B)", "A * B"),
    ),
)
NUMBER = Form(
    "Say which number of the text the question needs.",
    answer="Number",
    examples=(
        ("What does the boat trip cost? (A ticket for the boat trip costs 14 dollars and lasts 3 hours.)", "14"),
        ("How long does the boat trip last? (A ticket for the boat trip costs 14 dollars and lasts 3 hours.)", "3"),
        ("the length of the bridge (Built in 1931, the bridge is 120 metres long.)", "120"),
    ),
)
SPAN = Form(
    "Copy from the question the words that are asked for.",
    answer="Copied",
    examples=(
        ("city: What is the weather in Quito tomorrow?", "Quito"),
        ("title: Open the report Ice Cores", "Ice Cores"),
        ("name: Call Ann Lee", "Ann Lee"),
    ),
)
YES_NO = Form("Say yes or no.", examples=(("loud: Ring the bell loudly", "yes"), ("loud: Ring the bell", "no")))

LETTERS = "ABCDEFGH"


def language_of(tool: BaseTool) -> str | None:
    """The language of a tool's text argument, if it declares one."""
    return next(iter(_languages(tool).values()), None)


def argument_of(tool: BaseTool, language: str) -> str:
    """The argument of a tool that is written in a language."""
    return next(name for name, spoken in _languages(tool).items() if spoken == language)


def can_form(tool: BaseTool, goal: str, inputs: Mapping[str, str], *, follows: bool = False) -> bool:
    """Whether arguments for a tool can be formed from a goal and the results it builds on.

    Args:
        tool: The tool.
        goal: What to achieve.
        inputs: Results of earlier milestones.
        follows: Whether results will be there that are not known yet.
    """
    language = language_of(tool)
    if language == "arithmetic":
        known = len(operands(goal))
        given = len(operands(joined(inputs)))
        return known > 1 or bool(known and (given or follows)) or given > 1
    if language == "sql":
        return compact_sql.can_query(goal, (tool.metadata or {}).get("schema", {}))
    if language == "keywords":
        return not all(word.isdecimal() for word in content_words(goal))
    about = {stem(word) for word in tool.name.split("_")[1:] or [tool.name]}
    return bool(about & stems(goal)) and all(_can_fill(field, goal) for field in _required_fields(tool).values())


def form_arguments(
    model: BaseChatModel, tool: BaseTool, goal: str, inputs: Mapping[str, str], values: Mapping[str, Sequence[str]]
) -> Dialogue[dict[str, Any]]:
    """Form the arguments of one call.

    Args:
        model: The model that chooses.
        tool: The tool to call.
        goal: What to achieve.
        inputs: Results of earlier milestones.
        values: For a database, stored texts that occur in the goal, with their places.
    """
    told = _with_inputs(goal, inputs)
    arguments: dict[str, Any] = {}
    for name, field in _required_fields(tool).items():
        match _languages(tool).get(name):
            case "arithmetic":
                arguments[name] = yield from form_expression(model, goal, inputs)
            case "sql":
                schema = (tool.metadata or {}).get("schema", {})
                arguments[name] = yield from compact_sql.form_query(model, told, schema, values)
            case "keywords":
                arguments[name] = " ".join(content_words(told)[:12])
            case _:
                arguments[name] = yield from _fill(model, name, field, told)
    return arguments


def form_expression(model: BaseChatModel, goal: str, inputs: Mapping[str, str]) -> Dialogue[str]:
    """Have the model put the numbers, which it sees as letters, into one expression that uses all of them."""
    text = goal.strip()
    numbers = operands(text)
    if inputs and (len(numbers) < 2 or ANAPHORA.search(text)):
        given = yield from _choose_input(model, text, inputs)
        if given is not None:
            pointer = POINTER.search(text)
            start, end = pointer.span() if pointer else (len(text) + 2, len(text) + 3)
            text = text if pointer else f"{text} (x)"
            numbers = sorted([*numbers, Operand(start, end, given.digits, percent=False)])
    numbers = numbers[: len(LETTERS)]
    lettered = _letter(text, numbers)
    expression = yield from choose(model, EXPRESSION, lettered, expressions([n.percent for n in numbers]))
    for letter, number in zip(LETTERS, numbers, strict=False):
        expression = re.sub(rf"\b{letter}\b", number.digits, expression)
    return expression


def expressions(percents: Sequence[bool]) -> list[str]:
    """Every expression that uses all letters, as far as they can be listed; `percents` marks the percentages."""
    letters = LETTERS[: len(percents)]
    plain = [letter for letter, percent in zip(letters, percents, strict=True) if not percent]
    if sum(percents) == 1 and len(plain) == 1:
        rate, base = f"{letters[percents.index(True)]}%", plain[0]
        return [f"{rate} of {base}", f"{base} - {rate} of {base}", f"{base} + {rate} of {base}"]
    if len(percents) < 2:
        return [f"{letter}%" if percent else letter for letter, percent in zip(letters, percents, strict=True)]
    terms = [f"{letter}%" if percent else letter for letter, percent in zip(letters, percents, strict=True)]
    chains = [f" {sign} ".join(terms) for sign in "+*-/"]
    if len(terms) == 2:
        a, b = terms
        return [*chains, f"{b} - {a}", f"{b} / {a}"]
    if len(terms) > 3:
        return [*chains, f"({chains[0]}) / {len(terms)}"]
    found = list(chains)
    for a, b, c in itertools.permutations(terms):
        found += [f"({a} {s} {b}) {t} {c}" for s, t in itertools.product("+-", "*/")]
        found += [f"{a} {s} {b} {t} {c}" for s, t in itertools.product("*/", "+-*/")]
        found += [f"{a} {s} {b} * {c}" for s in "+-"] + [f"{a} / ({b} {s} {c})" for s in "+-"]
    return list(dict.fromkeys(found))


def _choose_input(model: BaseChatModel, text: str, inputs: Mapping[str, str]) -> Dialogue[Operand | None]:
    """The number of the earlier results that the goal needs; where there are several, the model says which."""
    told = joined(inputs)
    found = {operand.digits: operand for operand in operands(told)}
    if not found:
        return None
    digits = yield from choose(model, NUMBER, f"{text} ({' '.join(sentences(told)) or told})", list(found))
    return found[digits]


def _letter(text: str, numbers: Sequence[Operand]) -> str:
    lettered = text
    for letter, number in reversed(list(zip(LETTERS, numbers, strict=False))):
        written = text[number.start : number.end].casefold()
        shown = f"{letter} times" if written in {"twice", "double", "triple"} else f"{letter}{'%' * number.percent}"
        lettered = f"{lettered[: number.start]}{shown}{lettered[number.end :]}"
    return lettered


def _with_inputs(goal: str, inputs: Mapping[str, str]) -> str:
    """The goal, with what it points at where it points at something."""
    told = joined(inputs)
    return f"{goal} ({told[:300]})" if told and ANAPHORA.search(goal) else goal


def _languages(tool: BaseTool) -> dict[str, str]:
    languages: dict[str, str] = (tool.metadata or {}).get("languages", {})
    return languages


def _required_fields(tool: BaseTool) -> dict[str, dict[str, Any]]:
    schema = tool.get_input_jsonschema()
    definitions = schema.get("$defs", {})
    return {
        name: definitions.get(str(field.get("$ref", "")).rpartition("/")[2], field)
        for name, field in schema.get("properties", {}).items()
        if name in schema.get("required", ())
    }


def _can_fill(field: Mapping[str, Any], goal: str) -> bool:
    if field.get("enum") or field.get("type") == "boolean":
        return True
    if field.get("type") in {"integer", "number"}:
        return bool(operands(goal))
    return field.get("type") == "array" or bool(_names(goal))


def _fill(model: BaseChatModel, name: str, field: Mapping[str, Any], goal: str) -> Dialogue[Any]:
    """A plain argument: one of its options, a number of the goal, or words of the goal."""
    about = name.replace("_", " ")
    kind = field.get("type")
    if options := field.get("enum"):
        chosen = yield from choose(model, SPAN, f"{about}: {goal}", [str(option) for option in options])
        return next(option for option in options if str(option) == chosen)
    if kind == "boolean":
        return (yield from choose(model, YES_NO, f"{about}: {goal}", ["yes", "no"])) == "yes"
    if kind in {"integer", "number"}:
        digits = [operand.digits for operand in operands(goal)]
        chosen = yield from choose(model, NUMBER, f"{about}: {goal}", list(dict.fromkeys(digits)) or ["1"])
        return int(float(chosen)) if kind == "integer" else float(chosen)
    span = yield from choose(model, SPAN, f"{about}: {goal}", spans(goal))
    return [span] if kind == "array" else span


def spans(goal: str) -> list[str]:
    """Runs of words of a goal that may fill an argument: names, else up to two words that carry meaning."""
    words = content_words(goal)
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words) if f"{a} {b}" in goal]
    return _names(goal) or list(dict.fromkeys([*words, *pairs])) or [goal.strip()]


def _names(goal: str) -> list[str]:
    """What is quoted, else what is capitalized or looks like a file."""
    if quoted := re.findall(r"[\"“«']([^\"”»']+)[\"”»']", goal):
        return list(dict.fromkeys(quoted))
    return list(dict.fromkeys(re.findall(r"(?<!^)\b[A-Z][\w-]*(?: [A-Z][\w-]*)*|\b[\w-]+\.\w{2,4}\b", goal)))
