"""What an answer looks like -> the JSON Schema that Claude answers by, made from `fields` or checked from `schema`.

The API takes a part of JSON Schema and tells so hours later, row by row; here it is told at once, at the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchforge.config.api_schema import LEFT_OUT, is_left_out
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
_RULES = {
    "string": {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    "integer": {"min": "minimum", "max": "maximum"},
    "number": {"min": "minimum", "max": "maximum"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
}
"""Type of a field -> its rules in YAML, and as JSON Schema has them."""
_LATER = "Say it in the field's `description` too: Claude is not told of it otherwise."


def schema_of_fields(fields: ConfigNode, lists: Lists, problems: ProblemList) -> dict[str, Any]:
    """`output.fields` as JSON Schema. All fields are required, but for those that say `optional: true`."""
    return _FieldReader(lists, problems).read(fields)


def checked_schema(node: ConfigNode, problems: ProblemList) -> dict[str, Any]:
    """`output.schema` with `additionalProperties: false` where it was missing. What the API refuses is listed, as are
    the rules that it is not told of."""
    before = len(problems.items)
    schema = _SchemaReader(node, problems).read()
    return valid_schema(node, problems, schema) if any(p.code == "BF164" for p in problems.items[before:]) else schema


def valid_schema(node: ConfigNode, problems: ProblemList, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """A schema by which answers are only checked: any JSON Schema of draft 2020-12."""
    import jsonschema_rs

    schema = node.data if schema is None else schema
    try:
        jsonschema_rs.validator_for(schema)
    except (ValueError, TypeError) as exc:
        reason = str(exc).splitlines()[0].rstrip(".")
        hint = "Write it as JSON Schema has it."
        problems.add("BF160", f"This is no JSON Schema: {reason}.", location=node.key_location, hint=hint)
    return schema


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
        self._add_rules(schema, node)
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

    def _add_rules(self, schema: dict[str, Any], node: ConfigNode) -> None:
        """What is checked once the answer is there."""
        keywords = _RULES.get("" if "enum" in schema else str(schema["type"]), {})
        for name in ("min", "max", "min_length", "max_length", "pattern"):
            if name in node and name not in keywords:
                message = f"`{name}` does nothing for such a field."
                self.problems.add("BF105", message, location=node[name].key_location, hint="Remove it.")
            elif name in node:
                schema[keywords[name]] = node[name].value

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
        if name in ("anyOf", "allOf", "oneOf"):
            if name == "oneOf":
                self._check_keyword(name, node)
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
            case _ if is_left_out(name, node.data):
                message = f"The API does not take this `{name}`; it is checked once the answer is there."
                self.problems.warn("BF164", message, location=node.key_location, hint=_LATER)
            case _ if name not in _KEYWORDS:
                hint = did_you_mean(name, _KEYWORDS | LEFT_OUT) or "Remove it."
                message = f"`{name}` is no keyword of JSON Schema that the API takes."
                self.problems.add("BF160", message, location=node.key_location, hint=hint)

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
