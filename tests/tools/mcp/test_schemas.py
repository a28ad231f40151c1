"""Schemas from servers: whatever they are, what is left of them is small, and every reader takes it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from plan_execute.agent.prompts.planner import describe_catalogue
from plan_execute.agent.trust.arguments import argument_problem
from plan_execute.tools.mcp.schemas import SIZE_LIMIT, plain_schema
from tests.drawn import drawn

KEYWORDS = ["$ref", "$defs", "type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "enum", "const"]
KEYWORDS += ["additionalProperties", "description", "default", "minimum", "maxLength", "pattern", "not", "format"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["string", "object", "#", "#/$defs/a", "#/properties/a", "https://example.com/schema"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS) | st.just("a"), inner),
    max_leaves=30,
)


class Remote(BaseTool):
    name: str = "remote"
    description: str = "A tool of a server."

    def _run(self, /, **arguments: Any) -> str:
        return ""


@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), VALUES), args=st.dictionaries(st.just("a"), VALUES))
def test_any_schema_becomes_one_that_every_reader_takes(schema: dict[str, Any], args: dict[str, Any]) -> None:
    drawn("schema of a server")
    plain = plain_schema(schema)
    Draft202012Validator.check_schema(plain)
    assert '"$ref":' not in json.dumps(plain)
    tool = Remote(args_schema=plain)
    argument_problem(tool, args)
    describe_catalogue([tool], {})
    assert convert_to_openai_tool(tool)["function"]["parameters"]["type"] == "object"


def test_references_are_filled_in() -> None:
    place = {"type": "object", "properties": {"city": {"type": "string"}, "next": {"$ref": "#/$defs/Place"}}}
    schema = {"properties": {"to": {"$ref": "#/$defs/Place", "description": "Where to."}}, "$defs": {"Place": place}}
    city = {"type": "string"}
    to = {"type": "object", "properties": {"city": city, "next": {}}, "description": "Where to."}
    assert plain_schema(schema) == {"type": "object", "properties": {"to": to}}


def test_schema_that_grows_without_end_stays_small() -> None:
    doubled = {f"d{n}": {"properties": {x: {"$ref": f"#/$defs/d{n + 1}"} for x in "ab"}} for n in range(40)}
    plain = plain_schema({"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubled})
    assert len(json.dumps(plain)) < SIZE_LIMIT


def test_huge_schema_stays_small_and_usable() -> None:
    huge = {
        f"argument {n}": {"type": "string", "description": "d" * 5_000, "enum": ["e" * 50] * 50} for n in range(5_000)
    }
    plain = plain_schema({"properties": huge, "required": list(huge)})
    assert len(json.dumps(plain)) < 4 * SIZE_LIMIT
    assert plain["required"] == list(plain["properties"])


@pytest.mark.parametrize("key", ["anyOf", "oneOf", "allOf", "not", "enum", "$ref"])
def test_top_of_a_schema_has_only_what_providers_take(key: str) -> None:
    plain = plain_schema({key: [{"required": ["a"]}], "properties": {"a": {"type": "string"}}})
    assert plain == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_no_secret_is_left() -> None:
    schema = {"properties": {"a": {"description": "not my-secret", "default": "my-secret"}, "my-secret": {}}}
    plain = plain_schema(schema, lambda text: text.replace("my-secret", "[redacted]"))
    assert plain == {"type": "object", "properties": {"a": {"description": "not [redacted]"}}}


def test_nothing_invisible_and_no_pattern_is_left() -> None:
    schema = {
        "properties": {
            "a": {"description": "seen\u200b\U000e0041", "pattern": "(a+)+$", "enum": ["x", "y\u202e"]},
            "b\u200b": {},
            "c" * 65: {},
        },
        "required": ["a", "b\u200b"],
    }
    assert plain_schema(schema) == {
        "type": "object",
        "properties": {"a": {"description": "seen"}},
        "required": ["a"],
    }
