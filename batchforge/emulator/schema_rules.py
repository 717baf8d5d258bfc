"""Which JSON Schemas structured outputs and strict tools take: a subset, with limits on its size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchforge.emulator.json_bytes import json_bytes
from batchforge.emulator.shapes import Check, Refused, anything, check_under, list_of, mapping, string, string_or

TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_ANNOTATIONS = frozenset({"title", "description", "default", "$schema", "$id", "$comment", "examples"})
_KEYWORDS_OF_ALL = frozenset({"type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions"}) | _ANNOTATIONS
_KEYWORDS_OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems"}),
    "string": frozenset({"format", "pattern"}),
}
STRICT_TOOLS = 20
OPTIONAL_PROPERTIES = 24
UNIONS = 16
NESTING = 64
# Backreferences, lookaround and word boundaries are more than a regular language.
_HARD_PATTERN = re.compile(r"\\[1-9bB]|\(\?(?:[=!]|<[=!]|P=)")
_REMEMBERED = 1024

Schema = Mapping[str, Any]
_taken: set[bytes] = set()


def check_output_schema(schema: Schema) -> None:
    _check_once(json_bytes(schema), [("output_config.format.schema", schema)])


def check_strict_tools(tools: Sequence[Mapping[str, Any]]) -> None:
    """Strict tools share the limits of one request."""
    strict = [(f"tools.{i}.custom.input_schema", t["input_schema"]) for i, t in enumerate(tools) if _is_strict(t)]
    if len(strict) > STRICT_TOOLS:
        raise Refused(f"A maximum of {STRICT_TOOLS} tools may be strict. Found {len(strict)}.", "tools")
    if strict:
        _check_once(json_bytes(strict), strict)


def _is_strict(tool: Mapping[str, Any]) -> bool:
    return bool(tool.get("strict")) and "input_schema" in tool


def _check_once(key: bytes, schemas: Sequence[tuple[str, Schema]]) -> None:
    """Most requests of a batch carry the same schema."""
    if key in _taken:
        return
    optional = unions = 0
    for name, schema in schemas:
        checker = _Checker(schema)
        try:
            checker.check(schema, 0)
        except Refused as refused:
            raise refused.under(name) from None
        optional, unions = optional + checker.optional, unions + checker.unions
    _check_complexity(optional, unions)
    if len(_taken) >= _REMEMBERED:
        _taken.clear()
    _taken.add(key)


def _check_complexity(optional: int, unions: int) -> None:
    if optional > OPTIONAL_PROPERTIES:
        raise Refused(
            f"Schemas contains too many optional parameters ({optional}), which would make grammar compilation "
            "inefficient. Reduce the number of optional parameters in your tool schemas "
            f"(limit: {OPTIONAL_PROPERTIES})."
        )
    if unions > UNIONS:
        raise Refused(
            f"Schemas contains too many parameters with union types ({unions} parameters with type arrays or anyOf). "
            f"Reduce the number of nullable or union-typed parameters (limit: {UNIONS} parameters with unions)."
        )


class _Checker:
    """Walks one schema, counting what is limited. As from the API, a refusal does not say where in the schema."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.optional = 0
        self.unions = 0

    def check(self, schema: Any, depth: int) -> None:
        if depth > NESTING:
            raise Refused("Schema is too complex for compilation.")
        _check_keyword_shapes(schema)
        if "$ref" in schema:
            self._check_ref(schema)
        types = self._types(schema)
        self._check_keywords(schema, types)
        self._check_values(schema)
        self._check_parts(schema, types, depth)

    def _types(self, schema: Schema) -> tuple[str, ...]:
        declared = schema.get("type", ())
        types = (declared,) if isinstance(declared, str) else tuple(declared)
        for name in types:
            if name not in TYPES:
                raise Refused(f"'{name}' is not a type that is supported")
        if len(types) > 1 or "anyOf" in schema:
            self.unions += 1
        if not types and not _KEYWORDS_OF_ALL.intersection(schema) - _ANNOTATIONS:
            raise Refused("Schema must have a 'type', 'enum', 'const', 'anyOf', 'allOf' or '$ref'")
        return types

    def _check_keywords(self, schema: Schema, types: tuple[str, ...]) -> None:
        allowed = _KEYWORDS_OF_ALL.union(*(_KEYWORDS_OF_TYPE.get(name, frozenset()) for name in types))
        unknown = sorted(keyword for keyword in schema if keyword not in allowed)
        if not unknown:
            return
        kind = types[0] if types else "schema"
        if len(unknown) == 1:
            raise Refused(f"For '{kind}' type, property '{unknown[0]}' is not supported")
        raise Refused(f"For '{kind}' type, properties {', '.join(unknown)} are not supported")

    def _check_values(self, schema: Schema) -> None:
        values = schema.get("enum")
        if values is not None and not values:
            raise Refused("enum must have at least one value")
        if any(isinstance(value, dict | list) for value in values or ()):
            raise Refused("enum values must be strings, numbers, booleans or null")
        if "format" in schema and schema["format"] not in FORMATS:
            raise Refused(f"format '{schema['format']}' is not supported")
        if "minItems" in schema and schema["minItems"] not in (0, 1):
            raise Refused("For 'array' type, 'minItems' values other than 0 or 1 are not supported")
        if "pattern" in schema:
            _check_pattern(schema["pattern"])

    def _check_parts(self, schema: Schema, types: tuple[str, ...], depth: int) -> None:
        if "object" in types:
            self._check_object(schema, depth)
        if "items" in schema:
            self.check(schema["items"], depth + 1)
        for keyword in ("anyOf", "allOf"):
            for part in schema.get(keyword, ()):
                self.check(part, depth + 1)
        for keyword in ("$defs", "definitions"):
            for part in (schema.get(keyword) or {}).values():
                self.check(part, depth + 1)

    def _check_object(self, schema: Schema, depth: int) -> None:
        if schema.get("additionalProperties") is not False:
            raise Refused("For 'object' type, 'additionalProperties' must be explicitly set to false")
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        for name in required:
            if name not in properties:
                raise Refused(f"Required property '{name}' is not defined in properties")
        self.optional += len(properties) - len(set(required))
        for part in properties.values():
            self.check(part, depth + 1)

    def _check_ref(self, schema: Schema) -> None:
        reference = schema["$ref"]
        if not reference.startswith("#"):
            raise Refused("External $ref is not supported")
        if "allOf" in schema:
            raise Refused("allOf with $ref is not supported")
        resolve(self.root, reference)
        _refuse_recursion(self.root, reference)


_KEYWORD_SHAPES: Mapping[str, Check] = {
    "type": string_or(list_of(string)),
    "properties": mapping,
    "required": list_of(string),
    "enum": list_of(anything),
    "anyOf": list_of(mapping),
    "allOf": list_of(mapping),
    "$defs": mapping,
    "definitions": mapping,
    "$ref": string,
    "format": string,
    "pattern": string,
}


def _check_keyword_shapes(schema: Any) -> None:
    mapping(schema)
    for keyword, check in _KEYWORD_SHAPES.items():
        if keyword in schema:
            check_under(keyword, check, schema[keyword])


def resolve(root: Schema, reference: str) -> Schema:
    """The part of a schema that an internal reference names."""
    part: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        part = part.get(step) if isinstance(part, dict) else None
    if not isinstance(part, dict):
        raise Refused(f"$ref '{reference}' cannot be resolved")
    return part


def _refuse_recursion(root: Schema, reference: str) -> None:
    """Follow what is referred to from here; coming back is recursion."""
    reached: set[str] = set()
    waiting = list(_references(resolve(root, reference)))
    while waiting:
        inner = waiting.pop()
        if inner == reference:
            name = reference.rsplit("/", 1)[-1]
            raise Refused(f"Circular reference detected in schema definitions: {name} -> {name}")
        if inner.startswith("#") and inner not in reached:
            reached.add(inner)
            waiting.extend(_references(resolve(root, inner)))


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [reference for item in part for reference in _references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [reference for value in part.values() for reference in _references(value)]


def _check_pattern(pattern: str) -> None:
    if _HARD_PATTERN.search(pattern):
        raise Refused(f"pattern '{pattern}' is not supported")
    try:
        re.compile(pattern)
    except re.error as error:
        raise Refused(f"pattern '{pattern}' is not a regular expression: {error}") from None
