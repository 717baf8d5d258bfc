"""A JSON Schema -> the part of it that the API takes; what it leaves out is checked once the answer is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LEFT_OUT = frozenset(
    [
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "not", "if", "then"),
        *("else", "minProperties", "maxProperties", "propertyNames", "patternProperties", "dependentRequired"),
        *("dependentSchemas", "dependencies"),
    ]
)
"""Keywords that the API refuses, and that only narrow what is accepted: a schema without them fits all that it did."""
_UNUSUAL_PATTERN = re.compile(r"\(\?[=!<]|\\[bB1-9]")
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")


def is_left_out(name: str, value: Any) -> bool:
    """Whether the API is not told of a keyword with this value."""
    if name == "pattern":
        return isinstance(value, str) and _UNUSUAL_PATTERN.search(value) is not None
    return name in LEFT_OUT or (name == "minItems" and value not in (0, 1)) or name == "oneOf"


def api_schema(schema: Any) -> Any:
    """
    >>> api_schema({"type": "integer", "minimum": 0})
    {'type': 'integer'}
    """
    if not isinstance(schema, Mapping):
        return schema
    taken: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _NAMED_SCHEMAS and isinstance(value, Mapping):
            taken[name] = {key: api_schema(each) for key, each in value.items()}
        elif name in ("anyOf", "allOf", "oneOf"):
            # Whatever fits exactly one fits any.
            taken["anyOf" if name == "oneOf" else name] = [api_schema(each) for each in value]
        elif name == "items":
            taken[name] = api_schema(value)
        elif name == "minItems" and is_left_out(name, value):
            taken[name] = 1
        elif not is_left_out(name, value):
            taken[name] = value
    return taken
