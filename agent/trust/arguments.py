"""Whether the arguments of a call fit its tool; for a pinned call this is checked before the plan runs."""

from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from plan_execute.agent.errors import validation_problems


def argument_problem(tool: BaseTool | None, args: Mapping[str, Any], vague: Collection[str] = ()) -> str | None:
    """Say why arguments are invalid; None if they are valid, or if the tool's schema cannot check them.

    Args:
        tool: The tool.
        args: Its arguments by name.
        vague: Names of arguments of which only the type is known.
    """
    schema = tool.tool_call_schema if tool else None
    if isinstance(schema, dict):
        return _json_schema_problem(schema, args, vague)
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return None
    fields = schema.model_fields
    names = {*fields, *(field.alias for field in fields.values() if field.alias)}
    if schema.model_config.get("extra") != "allow" and (unknown := sorted(args.keys() - names)):
        return f"there is no argument {unknown[0]!r}; there are: {', '.join(fields) or 'none'}."
    try:
        schema.model_validate(dict(args))
    except ValidationError as error:
        listed = zip(error.errors(), validation_problems(error, "the arguments"), strict=True)
        problems = (text for found, text in listed if not (_place(found["loc"]) in vague and _is_detail(found["type"])))
        return next((f"{text}." for text in problems), None)
    return None


def _place(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]) if loc else ""


def _is_detail(kind: str) -> bool:
    """Tell whether an error is about a value itself, and not about its type."""
    return not kind.endswith(("_type", "_parsing"))


def _json_schema_problem(schema: Mapping[str, Any], args: Mapping[str, Any], vague: Collection[str]) -> str | None:
    # Imported here because it is slow, and only tools with a JSON schema need it.
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # it has no types
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # it has no types
    from referencing import Registry

    properties = schema.get("properties") or {}
    if not schema.get("additionalProperties") and (unknown := sorted(args.keys() - properties)):
        return f"there is no argument {unknown[0]!r}; there are: {', '.join(properties) or 'none'}."
    try:
        # With a registry of its own it does not fetch what a reference leads to.
        errors = list(validator_for(schema)(schema, registry=Registry()).iter_errors(dict(args)))
    except Exception:  # noqa: BLE001 - the schema is another's, and may be wrong in any way
        return None
    sure = [e for e in errors if not (_place(tuple(e.absolute_path)) in vague and e.validator != "type")]
    worst = best_match(sure)
    return f"{worst.json_path.removeprefix('$').strip('.') or 'the arguments'}: {worst.message}." if worst else None
