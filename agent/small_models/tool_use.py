"""Tool use, read from the words of a goal: code lists the tools and arguments that are possible, the model chooses.

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
from plan_execute.agent.small_models.arithmetic import read_expression
from plan_execute.agent.small_models.choice import choose
from plan_execute.agent.small_models.prompts import NUMBER, SPAN, TOOL, YES_NO
from plan_execute.agent.small_models.sql import Schema, can_query, form_query
from plan_execute.agent.small_models.words import (
    ANAPHORA,
    FUNCTION_WORDS,
    UnsupportedGoalError,
    content_words,
    joined,
    leaves_out,
    left_over,
    operands,
    refers_back,
    requested_action,
    stem,
    stems,
)

LABELS = {"arithmetic": "calculate", "sql": "database", "keywords": "search"}
"""What the model knows a tool as, by the language of its argument; any other tool goes by its own name."""


def language_of(tool: BaseTool) -> str | None:
    """Return the language of a tool's text argument, if it declares one."""
    return next(iter(_languages(tool).values()), None)


def argument_of(tool: BaseTool, language: str) -> str:
    """Return the argument of a tool that is written in a language."""
    return next(name for name, declared in _languages(tool).items() if declared == language)


def schema_of(tool: BaseTool) -> Schema:
    """Return the database schema that a tool declares; empty if it declares none."""
    schema: Schema = (tool.metadata or {}).get("schema", {})
    return schema


def can_form(tool: BaseTool, goal: str, inputs: Mapping[str, str], *, follows: bool = False) -> bool:
    """Tell whether arguments for a tool can be formed from a goal and the results it builds on.

    Args:
        tool: The tool.
        goal: What to achieve.
        inputs: Results of earlier milestones.
        follows: Whether there will be results that are not known yet.
    """
    match language_of(tool):
        case "arithmetic":
            return read_expression(goal, inputs, follows=follows) is not None
        case "sql":
            return can_query(goal, schema_of(tool))
        case "keywords":
            return not all(word.isdecimal() for word in content_words(goal))
    about = {stem(word) for word in tool.name.split("_")[1:] or [tool.name]}
    return bool(about & stems(goal)) and all(_can_fill(field, goal) for field in _required_fields(tool).values())


def able_tools(tools: Sequence[BaseTool], goal: str, *, follows: bool) -> list[BaseTool]:
    """Return the tools that may be used for a goal.

    Args:
        tools: The tools to filter.
        goal: A goal that asks for an action, such as "delete", is left to tools with that verb in their name.
        follows: Whether the goal builds on an earlier result; if not, a goal that refers back gets no tool.
    """
    if refers_back(goal) and not follows:
        return []
    verb = requested_action(goal)
    return [tool for tool in tools if verb is None or verb in stems(tool.name)]


def fitting_tools(
    tools: Sequence[BaseTool], goal: str, inputs: Mapping[str, str], *, follows: bool = False
) -> list[BaseTool]:
    """Return the tools whose arguments can be formed; only the calculator, where all of the goal is arithmetic.

    Args:
        tools: The tools to filter.
        goal: What to achieve.
        inputs: Results of earlier milestones.
        follows: Whether there will be results that are not known yet.
    """
    fitting = [tool for tool in tools if can_form(tool, goal, inputs, follows=follows)]
    return [tool for tool in fitting if language_of(tool) == "arithmetic"] or fitting


def choose_tool(model: BaseChatModel, goal: str, tools: Sequence[BaseTool]) -> Dialogue[BaseTool]:
    """Let the model choose the tool for a goal; tools that share a label are shown by name."""
    names = [tool.name.replace("_", " ") for tool in tools]
    labels = [LABELS.get(language_of(tool) or "", name) for tool, name in zip(tools, names, strict=True)]
    shown = [name if labels.count(label) > 1 else label for name, label in zip(names, labels, strict=True)]
    chosen = yield from choose(model, TOOL, goal, list(dict.fromkeys(shown)))
    return dict(zip(shown, tools, strict=True))[chosen]


def form_arguments(
    model: BaseChatModel, tool: BaseTool, goal: str, inputs: Mapping[str, str], values: Mapping[str, Sequence[str]]
) -> Dialogue[dict[str, Any]]:
    """Form the arguments of one call.

    Args:
        model: The model that chooses.
        tool: The tool to call.
        goal: What to achieve.
        inputs: Results of earlier milestones.
        values: For a database, stored texts that occur in the goal, each with its places.

    Raises:
        UnsupportedGoalError: A part of the goal would be left out.
    """
    results = joined(inputs)
    text = f"{goal} ({results[:300]})" if results and ANAPHORA.search(goal) else goal
    arguments: dict[str, Any] = {}
    for name, field in _required_fields(tool).items():
        match _languages(tool).get(name):
            case "arithmetic":
                arguments[name] = _read_expression(goal, inputs)
            case "sql":
                arguments[name] = yield from form_query(model, text, schema_of(tool), values)
            case "keywords":
                arguments[name] = " ".join(content_words(text)[:12])
            case _:
                arguments[name] = yield from _fill(model, name, field, text)
    if language_of(tool) is None:
        said = [tool.name, tool.description, *arguments, *map(str, arguments.values())]
        numbers = {str(value).removesuffix(".0") for value in arguments.values()}
        left = left_over(goal, said, FUNCTION_WORDS)
        left += [number.digits for number in operands(goal) if number.digits not in numbers]
        if left:
            raise leaves_out(f"A call of {tool.name}", left)
    return arguments


def _read_expression(goal: str, inputs: Mapping[str, str]) -> str:
    expression = read_expression(goal, inputs)
    if expression is None:
        raise UnsupportedGoalError(f"The calculation is not certain: {goal}")
    return expression


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
    kind = field.get("type")
    if field.get("enum") or kind in {"boolean", "array"}:
        return True
    return bool(operands(goal) if kind in {"integer", "number"} else _names(goal))


def _fill(model: BaseChatModel, name: str, field: Mapping[str, Any], goal: str) -> Dialogue[Any]:
    """Fill a plain argument with one of its options, a number of the goal, or words of the goal."""
    question = f"{name.replace('_', ' ')}: {goal}"
    kind = field.get("type")
    if options := field.get("enum"):
        chosen = yield from choose(model, SPAN, question, [str(option) for option in options])
        return next(option for option in options if str(option) == chosen)
    if kind == "boolean":
        return (yield from choose(model, YES_NO, question, ["yes", "no"])) == "yes"
    if kind in {"integer", "number"}:
        digits = [operand.digits for operand in operands(goal)]
        chosen = yield from choose(model, NUMBER, question, list(dict.fromkeys(digits)) or ["1"])
        return int(float(chosen)) if kind == "integer" else float(chosen)
    span = yield from choose(model, SPAN, question, _spans(goal))
    return [span] if kind == "array" else span


def _spans(goal: str) -> list[str]:
    """Runs of words that may fill an argument: names, else one or two content words, else the whole goal."""
    words = content_words(goal)
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words) if f"{a} {b}" in goal]
    return _names(goal) or list(dict.fromkeys([*words, *pairs])) or [goal.strip()]


def _names(goal: str) -> list[str]:
    """What is quoted; if nothing is, what is capitalized or looks like a file name."""
    quoted = re.findall(r"[\"“«']([^\"”»']+)[\"”»']", goal)
    capitalized = r"(?<!^)\b[A-Z][\w-]*(?: [A-Z][\w-]*)*|\b[\w-]+\.\w{2,4}\b"
    return list(dict.fromkeys(quoted or re.findall(capitalized, goal)))
