"""Schemas of arguments as servers write them, made into ones that every reader takes: small, plain, without references.

They come from others: a reference may lead to another host, hold itself or grow beyond all bounds, a pattern may take
a regular expression forever. What is left out here, the server checks.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from plan_execute.tools.characters import drop_invisible, is_invisible

MOST_PARTS = 500
"""Most subschemas of one schema; what comes after them may be anything."""
DEEPEST = 12
"""How deep subschemas may be nested."""
SIZE_LIMIT = 20_000
"""Most characters of all names, descriptions and values of one schema."""
TEXT_LIMIT = 1_000
"""Most characters of one description."""
NAME_LIMIT = 64
"""Most characters of the name of an argument."""
REFERENCE = "$ref"
"""What LangChain takes for a reference wherever it stands, also among names and values."""
_TYPES = {"string", "number", "integer", "boolean", "array", "object", "null"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_SIZES = {"minLength", "maxLength", "minItems", "maxItems"}


def plain_schema(given: Mapping[str, Any], redact: Callable[[str], str] = str) -> dict[str, Any]:
    """Make a schema of arguments plain.

    Args:
        given: A JSON schema, from whatever source.
        redact: Takes secrets out of a text.

    Returns:
        One of type `object` with `properties`; at the top it has no alternatives, which providers refuse.
    """
    schema = _Reader(given, redact).read(given)
    kept = {key: value for key, value in schema.items() if key in {"properties", "required", "additionalProperties"}}
    return {"type": "object", "properties": {}, **kept}


class _Reader:
    def __init__(self, root: Mapping[str, Any], redact: Callable[[str], str]) -> None:
        self.root = root
        self.redact = redact
        self.parts_left = MOST_PARTS
        self.size_left = SIZE_LIMIT

    def read(self, given: object, within: tuple[str, ...] = (), depth: int = 0) -> dict[str, Any]:
        """Read a subschema; `within` are the references that led to it."""
        self.parts_left -= 1
        if not isinstance(given, Mapping) or self.parts_left < 0 or depth > DEEPEST:
            return {}
        if isinstance(reference := given.get(REFERENCE), str):
            found = self._find(reference) if reference not in within else None
            beside = {key: value for key, value in given.items() if key != REFERENCE}
            return self.read({**found, **beside}, (*within, reference), depth + 1) if found else {}
        plain: dict[str, Any] = {}
        for key, value in given.items():
            match key, value:
                case "type" | "enum" | "const" | "default", _ if self._is_plain(key, value):
                    plain[key] = value
                case name, int() | float() if name in _BOUNDS and not isinstance(value, bool) and math.isfinite(value):
                    plain[key] = value
                case name, int() if name in _SIZES and not isinstance(value, bool) and value >= 0:
                    plain[key] = value
                case "description" | "format", str():
                    text = drop_invisible(self.redact(value))[:TEXT_LIMIT]
                    plain |= {key: text} if self._fits(text) else {}
                case "additionalProperties", bool():
                    plain[key] = value
                case "additionalProperties" | "items", dict():
                    plain[key] = self.read(value, within, depth + 1)
                case "anyOf" | "oneOf" | "allOf", [_, *_]:
                    plain[key] = [self.read(part, within, depth + 1) for part in value[: MOST_PARTS + 1]]
                case "properties", dict():
                    names = [name for name in value if self._is_name(name)]
                    plain[key] = {name: self.read(value[name], within, depth + 1) for name in names}
        if isinstance(required := given.get("required"), list):
            plain["required"] = [name for name in plain.get("properties", {}) if name in required]
        return plain

    def _find(self, reference: str) -> Mapping[str, Any] | None:
        """Find what a reference within the schema leads to; None for any other."""
        place: Any = self.root
        start, *names = reference.split("/")
        for name in names:
            if not isinstance(place, Mapping):
                return None
            place = place.get(name.replace("~1", "/").replace("~0", "~"))
        return place if start == "#" and isinstance(place, Mapping) else None

    def _fits(self, text: str) -> bool:
        self.size_left -= len(text)
        return self.size_left >= 0

    def _is_name(self, name: str) -> bool:
        return 0 < len(name) <= NAME_LIMIT and name != REFERENCE and self._may_be_seen(name)

    def _is_plain(self, key: str, value: object) -> bool:
        """Tell whether the value of a keyword is of the form that it has to have, short, and all to be seen."""
        if key == "type":
            kinds = value if isinstance(value, list) and value else [value]
            return all(isinstance(kind, str) and kind in _TYPES for kind in kinds)
        if key == "enum" and not (isinstance(value, list) and value):
            return False
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except ValueError:
            return False
        return REFERENCE not in text and self._may_be_seen(text)

    def _may_be_seen(self, text: str) -> bool:
        """Tell whether a text can stay as it is: nothing in it is a secret or cannot be seen, and it fits."""
        return not any(map(is_invisible, text)) and self.redact(text) == text and self._fits(text)
