"""What an answer looks like -> the JSON Schema that Claude answers by, made from `fields` or checked from `schema`.

The API takes a part of JSON Schema and tells so hours later, row by row; here it is told at once, at the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchforge.config.label_lists import inline_labels
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import ProblemList
from batchforge.nearest import did_you_mean
from batchforge.spec import Label

Lists = Mapping[str, tuple[Label, ...]]

MAX_OPTIONAL, MAX_UNIONS = 24, 16
_SIMPLE = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "default",
        "title",
        "description",
        "examples",
        "format",
        "pattern",
        "minItems",
        "$schema",
        "$comment",
    ]
)
_SAY_IT = "Say it in the field's `description`; an answer can be checked once it is there."
_REFUSED = {
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"), _SAY_IT
    ),
    **dict.fromkeys(("maxItems", "uniqueItems", "contains", "minContains", "maxContains"), _SAY_IT),
    "oneOf": "Write `anyOf`.",
    "not": _SAY_IT,
}
_UNUSUAL_PATTERN = re.compile(r"\(\?[=!<]|\\[bB1-9]")


def schema_of_fields(fields: ConfigNode, lists: Lists, problems: ProblemList) -> dict[str, Any]:
    """`output.fields` as JSON Schema. All fields are required, but for those that say `optional: true`."""
    return _FieldReader(lists, problems).read(fields)


def checked_schema(node: ConfigNode, problems: ProblemList) -> dict[str, Any]:
    """`output.schema` with `additionalProperties: false` where it was missing, and what the API refuses listed."""
    return _SchemaReader(node, problems).read()


@dataclass(slots=True)
class _FieldReader:
    lists: Lists
    problems: ProblemList
    optional: int = 0

    def read(self, fields: ConfigNode) -> dict[str, Any]:
        schema = self._object(fields)
        if self.optional > MAX_OPTIONAL:
            message = f"{self.optional} fields are optional; the API takes {MAX_OPTIONAL} at most."
            self.problems.add("BF162", message, location=fields.key_location, hint="Make some of them required.")
        return schema

    def _object(self, fields: ConfigNode) -> dict[str, Any]:
        required = [name for name, child in fields.entries.items() if not self._is_optional(child)]
        return {
            "type": "object",
            "properties": {name: self._field(child) for name, child in fields.entries.items()},
            "required": required,
            "additionalProperties": False,
        }

    def _is_optional(self, node: ConfigNode) -> bool:
        setting = node.get("optional")
        is_optional = setting is not None and setting.value is True
        self.optional += is_optional
        return is_optional

    def _field(self, node: ConfigNode) -> dict[str, Any]:
        if node.kind == "text":
            return {"type": _SIMPLE[node.value]}
        schema = self._long_form(node)
        if description := node.get("description"):
            schema["description"] = description.value
        return schema

    def _long_form(self, node: ConfigNode) -> dict[str, Any]:
        if simple := node.get("type"):
            return {"type": _SIMPLE[simple.value]}
        if labels := node.get("one_of"):
            return {"type": "string", "enum": self._labels(labels)}
        if element := node.get("list_of"):
            return {"type": "array", "items": self._field(element)}
        return self._object(node["fields"])

    def _labels(self, node: ConfigNode) -> list[str]:
        if node.kind == "list":
            return [label.name for label in inline_labels(node, self.problems)]
        if node.value not in self.lists:
            known = ", ".join(self.lists)
            hint = did_you_mean(node.value, self.lists) or (
                f"Lists here: {known}." if known else "Add it under `lists` in batchforge.yml, or write [label, label]."
            )
            self.problems.add("BF156", f"There is no list `{node.value}`.", location=node.location, hint=hint)
            return []
        return [label.name for label in self.lists[node.value]]


@dataclass(slots=True)
class _SchemaReader:
    root: ConfigNode
    problems: ProblemList
    optional: int = 0
    unions: int = 0
    definitions: dict[str, ConfigNode] = field(default_factory=dict)

    def read(self) -> dict[str, Any]:
        for group in ("$defs", "definitions"):
            child = self.root.get(group)
            for name, definition in (child.entries if child is not None else {}).items():
                self.definitions[f"#/{group}/{name}"] = definition
        schema = self._schema(self.root)
        self._check_root()
        self._check_recursion()
        self._check_limit(self.optional, MAX_OPTIONAL, "optional fields")
        self._check_limit(self.unions, MAX_UNIONS, "fields of several types (`anyOf`, or a list of types)")
        return schema

    def _schema(self, node: ConfigNode) -> dict[str, Any]:
        if node.kind != "mapping":
            self._add("BF160", "A JSON Schema is a mapping.", node)
            return {}
        schema: dict[str, Any] = {name: self._keyword(name, child) for name, child in node.entries.items()}
        if self._is_object(node):
            self._check_object(node)
            schema["additionalProperties"] = False
        self.unions += "anyOf" in node or ("type" in node and node["type"].kind == "list")
        return schema

    def _keyword(self, name: str, node: ConfigNode) -> Any:
        if name in ("properties", "$defs", "definitions"):
            return {key: self._schema(child) for key, child in node.entries.items()}
        if name == "items":
            return self._schema(node)
        if name in ("anyOf", "allOf"):
            return [self._schema(child) for child in node.elements]
        self._check_keyword(name, node)
        return node.data

    def _check_keyword(self, name: str, node: ConfigNode) -> None:
        match name:
            case "type":
                self._check_type(node)
            case "enum":
                self._check_enum(node)
            case "$ref":
                self._check_reference(node)
            case "format" if node.value not in _FORMATS:
                self._refuse(
                    node, f"The API does not know the format `{node.raw}`.", f"It takes {', '.join(_FORMATS)}."
                )
            case "pattern" if _UNUSUAL_PATTERN.search(node.raw):
                self._refuse(node, "The API takes no lookaround, \\b or back-references in a pattern.", _SAY_IT)
            case "minItems" if node.value not in (0, 1):
                self._refuse(node, f"The API takes `minItems` 0 or 1, but not {node.raw}.", _SAY_IT)
            case _ if name not in _KEYWORDS:
                hint = _REFUSED.get(name) or did_you_mean(name, _KEYWORDS) or _SAY_IT
                self.problems.add(
                    "BF160", f"The API does not take `{name}` in a schema.", location=node.key_location, hint=hint
                )

    def _check_type(self, node: ConfigNode) -> None:
        for child in node.elements or (node,):
            if child.value not in _TYPES:
                hint = did_you_mean(child.raw, _TYPES) or f"Types: {', '.join(sorted(_TYPES))}."
                self._refuse(child, f"`{child.raw}` is not a type of JSON Schema.", hint)

    def _check_enum(self, node: ConfigNode) -> None:
        if node.kind != "list" or not node.elements:
            self._refuse(node, "`enum` is a list of values.", "Write enum: [a, b].")
        for child in node.elements:
            if child.kind in ("mapping", "list"):
                self._refuse(child, "The API takes only texts, numbers, true, false and null in `enum`.", "")

    def _check_reference(self, node: ConfigNode) -> None:
        if node.raw not in self.definitions:
            hint = did_you_mean(node.raw, self.definitions) or "References lead to `#/$defs/name` in the same schema."
            self._add("BF161", f"`{node.raw}` is not defined in this schema.", node, hint)

    def _is_object(self, node: ConfigNode) -> bool:
        if "type" not in node:
            return "properties" in node
        return "object" in (node["type"].value, *(child.value for child in node["type"].elements))

    def _check_object(self, node: ConfigNode) -> None:
        closed = node.get("additionalProperties")
        if closed is not None and closed.value is not False:
            self._add("BF163", "The API takes objects with `additionalProperties: false` only.", closed, "Remove it.")
        properties = node["properties"].entries if "properties" in node else {}
        required = node["required"].elements if "required" in node else ()
        for child in required:
            if child.raw not in properties:
                hint = did_you_mean(child.raw, properties)
                self._refuse(child, f"`{child.raw}` is required, but is not one of `properties`.", hint)
        self.optional += len(properties.keys() - {child.raw for child in required})

    def _check_root(self) -> None:
        node, steps = self.root, 0
        while "$ref" in node and node["$ref"].raw in self.definitions and steps <= len(self.definitions):
            node, steps = self.definitions[node["$ref"].raw], steps + 1
        if "type" in node and node["type"].value != "object":
            hint = "Put it into a field: {type: object, properties: {answer: ...}, required: [answer]}."
            self._add("BF160", "An answer is an object, so that its fields can be columns.", node["type"], hint)

    def _check_recursion(self) -> None:
        for name in self.definitions:
            if name in _reachable(name, self.definitions):
                self._add("BF161", f"`{name}` contains itself; the API takes no recursion.", self.definitions[name])
                return

    def _check_limit(self, count: int, limit: int, what: str) -> None:
        if count > limit:
            self._add("BF162", f"The schema has {count} {what}; the API takes {limit} at most.", self.root)

    def _refuse(self, node: ConfigNode, message: str, hint: str) -> None:
        self.problems.add("BF160", message, location=node.location, hint=hint)

    def _add(self, code: str, message: str, node: ConfigNode, hint: str = "") -> None:
        self.problems.add(code, message, location=node.key_location, hint=hint)


def _references(node: ConfigNode) -> Iterator[str]:
    for name, child in node.entries.items():
        if name == "$ref":
            yield child.raw
        yield from _references(child)
    for child in node.elements:
        yield from _references(child)


def _reachable(start: str, definitions: Mapping[str, ConfigNode]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for name in _references(definitions[todo.pop()]):
            if name in definitions and name not in seen:
                seen.add(name)
                todo.append(name)
    return seen
