"""A `ConfigNode` and a JSON Schema of `schemas/` -> every violation, in plain words, at the key or value that is wrong.

It reads the part of draft 2020-12 that `schemas/` is written in. A general validator says less than a user needs
(`is not valid under any of the given schemas`) and costs more time to import than 500 job files take to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from batchforge.config.yaml_nodes import ConfigNode, Kind
from batchforge.errors import Location, Problem, ProblemList
from batchforge.nearest import did_you_mean

Schema = Mapping[str, Any]

_TYPES_OF_KIND: Mapping[Kind, frozenset[str]] = {
    "mapping": frozenset({"object"}),
    "list": frozenset({"array"}),
    "text": frozenset({"string"}),
    "integer": frozenset({"integer", "number"}),
    "number": frozenset({"number"}),
    "boolean": frozenset({"boolean"}),
    "null": frozenset({"null"}),
    "unknown": frozenset(),
}
_TYPE_WORDS = {
    "object": "a mapping of settings",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_KIND_WORDS: Mapping[Kind, str] = {
    "mapping": "a mapping of settings",
    "list": "a list",
    "text": "text",
    "integer": "a number",
    "number": "a number with a fraction",
    "boolean": "true or false",
    "null": "empty",
    "unknown": "unreadable",
}


class SchemaCheck:
    """Checks nodes against one schema; `schemas` finds the others that it refers to."""

    def __init__(self, schemas: Mapping[str, Schema], name: str, problems: ProblemList) -> None:
        self.schemas = schemas
        self.name = name
        self.problems = problems

    def check(self, node: ConfigNode) -> None:
        self._check(node, self.schemas[self.name], self.name, "the file")

    def _check(self, node: ConfigNode, schema: Schema, home: str, label: str) -> None:
        if node.kind == "unknown":
            return
        schema, home = self._resolve(schema, home)
        if "anyOf" in schema:
            self._check_alternatives(node, schema, home, label)
            return
        types = _types(schema)
        if types and not types & _TYPES_OF_KIND[node.kind]:
            self._wrong_type(node, types, schema, label)
            return
        self._check_value(node, schema, label)
        if node.kind == "mapping":
            self._check_mapping(node, schema, home, label)
        elif node.kind == "list":
            self._check_list(node, schema, home, label)

    def _resolve(self, schema: Schema, home: str) -> tuple[Schema, str]:
        while "$ref" in schema:
            file, _, pointer = schema["$ref"].partition("#")
            home = file or home
            schema = _follow(self.schemas[home], pointer)
        return schema, home

    def _check_alternatives(self, node: ConfigNode, schema: Schema, home: str, label: str) -> None:
        branches = [self._resolve(branch, home) for branch in schema["anyOf"]]
        fitting = [branch for branch in branches if _fits_type(node, branch[0])]
        if not fitting:
            types = frozenset().union(*(_types(branch) for branch, _ in branches))
            self._wrong_type(node, types, schema, label)
        elif len(fitting) == 1:
            self._check(node, *fitting[0], label)
        else:
            self._check_nearest(node, fitting, schema, label)

    def _check_nearest(
        self, node: ConfigNode, branches: Sequence[tuple[Schema, str]], schema: Schema, label: str
    ) -> None:
        """The branch that the node is meant for: by a fixed value such as `type`, else by the settings it requires."""
        by_constant = [branch for branch in branches if _has_constants(node, branch[0])]
        by_required = [branch for branch in by_constant if _has_required(node, branch[0])]
        chosen = by_required or by_constant
        if len(chosen) == 1:
            self._check(node, *chosen[0], label)
        elif not by_constant:
            self._wrong_constant(node, [branch for branch, _ in branches])
        elif not by_required:
            names = sorted({name for branch, _ in by_constant for name in branch.get("required", ())})
            self._needs_one_of(node, names, 0, schema, label)
        else:
            self._check_best(node, chosen, label)

    def _check_best(self, node: ConfigNode, branches: Sequence[tuple[Schema, str]], label: str) -> None:
        trials: list[list[Problem]] = []
        for branch, home in branches:
            trial = SchemaCheck(self.schemas, self.name, ProblemList())
            trial._check(node, branch, home, label)
            trials.append(trial.problems.items)
        fewest = min(trials, key=len)
        self.problems.items.extend(fewest)

    def _check_value(self, node: ConfigNode, schema: Schema, label: str) -> None:
        value = node.value
        if "const" in schema and value != schema["const"]:
            self._add("BF104", f"{_cap(label)} must be `{schema['const']}`.", node.location)
        if "enum" in schema and value not in schema["enum"]:
            self._not_one_of(node, schema["enum"], label)
        if node.kind == "text":
            self._check_text(node, schema, label)
        elif node.kind in ("integer", "number"):
            self._check_number(node, schema, label)

    def _check_text(self, node: ConfigNode, schema: Schema, label: str) -> None:
        if len(node.value) < schema.get("minLength", 0):
            self._add("BF117", f"{_cap(label)} must not be empty.", node.location)
        elif "pattern" in schema and not _pattern(schema["pattern"]).search(node.value):
            words = schema.get("patternErrorMessage") or f"must match {schema['pattern']}"
            self._add("BF117", f"{_cap(label)} {words}, but is {_shown(node)}.", node.location)

    def _check_number(self, node: ConfigNode, schema: Schema, label: str) -> None:
        value = node.value
        if "minimum" in schema and value < schema["minimum"]:
            bound = f"at least {schema['minimum']:,}"
        elif "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            bound = f"more than {schema['exclusiveMinimum']:,}"
        elif "maximum" in schema and value > schema["maximum"]:
            bound = f"at most {schema['maximum']:,}"
        else:
            return
        self._add("BF117", f"{_cap(label)} must be {bound}, but is {node.raw}.", node.location)

    def _check_mapping(self, node: ConfigNode, schema: Schema, home: str, label: str) -> None:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        for name, child in node.entries.items():
            if name in properties:
                self._check(child, properties[name], home, f"`{name}`")
            elif others is False:
                self._unknown(name, child, schema)
            else:
                self._check_name(name, child, *self._resolve(schema.get("propertyNames", {}), home))
                if isinstance(others, Mapping):
                    self._check(child, others, home, f"`{name}`")
        self._check_presence(node, schema, label)

    def _check_name(self, name: str, child: ConfigNode, names: Schema, _home: str) -> None:
        if "pattern" in names and not _pattern(names["pattern"]).search(name):
            words = names.get("patternErrorMessage") or f"must match {names['pattern']}"
            self._add("BF117", f"The name `{name}` {words}.", child.key_location)

    def _check_presence(self, node: ConfigNode, schema: Schema, label: str) -> None:
        for name in schema.get("required", ()):
            if name not in node:
                hint = _first_sentence(schema.get("properties", {}).get(name, {}))
                self._add("BF103", f"`{name}` is missing{_within(label)}.", node.key_location, hint)
        if len(node.entries) < schema.get("minProperties", 0):
            self._add("BF117", f"{_cap(label)} must not be empty.", node.key_location)
        if "oneOf" in schema:
            names = [name for branch in schema["oneOf"] for name in branch["required"]]
            present = [name for name in names if name in node]
            if len(present) != 1:
                self._needs_one_of(node, names, len(present), schema, label)

    def _check_list(self, node: ConfigNode, schema: Schema, home: str, label: str) -> None:
        if len(node.elements) < schema.get("minItems", 0):
            self._add("BF117", f"{_cap(label)} must not be empty.", node.location)
        if "items" in schema:
            for number, child in enumerate(node.elements, 1):
                self._check(child, schema["items"], home, f"item {number} of {label}")
        if schema.get("uniqueItems"):
            self._check_unique(node, label)

    def _check_unique(self, node: ConfigNode, label: str) -> None:
        seen: list[Any] = []
        for child in node.elements:
            if child.data in seen:
                self._add("BF106", f"{_shown(child)} stands twice in {label}.", child.location, "Keep one of them.")
            seen.append(child.data)

    def _unknown(self, name: str, child: ConfigNode, schema: Schema) -> None:
        title = schema.get("title", "").lower()
        article = "an" if title[:1] in tuple("aeiou") else "a"
        what = f"{article} {title} setting" if title else "a setting here"
        known = list(schema.get("properties", {}))
        hint = did_you_mean(name, known) or f"Settings here: {', '.join(known)}."
        self._add("BF101", f"`{name}` is not {what}.", child.key_location, hint)

    def _wrong_type(self, node: ConfigNode, types: Iterable[str], schema: Schema, label: str) -> None:
        wanted = frozenset(types)
        words = schema.get("errorMessage") or f"must be {_type_words(wanted)}"
        is_now = "is empty" if node.kind == "null" else f"is {_KIND_WORDS[node.kind]}"
        hint = _type_hint(node, wanted)
        self._add("BF102", f"{_cap(label)} {words}, but {is_now}.", node.location, hint)

    def _not_one_of(self, node: ConfigNode, allowed: Sequence[Any], label: str) -> None:
        choices = ", ".join(f"`{choice}`" for choice in allowed)
        hint = did_you_mean(str(node.raw), [str(choice) for choice in allowed])
        self._add("BF104", f"{_cap(label)} must be one of {choices}, but is {_shown(node)}.", node.location, hint)

    def _wrong_constant(self, node: ConfigNode, branches: Sequence[Schema]) -> None:
        for name, choices in _constants(branches).items():
            child = node.get(name)
            if child is not None and child.value not in choices:
                self._not_one_of(child, choices, f"`{name}`")

    def _needs_one_of(self, node: ConfigNode, names: Sequence[str], count: int, schema: Schema, label: str) -> None:
        choices = ", ".join(f"`{name}`" for name in names)
        words = schema.get("errorMessage")
        unknown = [name for name in node.entries if not count and did_you_mean(name, names)]
        hint = did_you_mean(unknown[0], names) if unknown else ""
        if count:
            present = [node[name] for name in names if name in node]
            message = f"{_cap(label)} takes exactly one of {choices}, but has {count} of them."
            self._add("BF105", message, present[1].key_location, hint)
        else:
            message = f"{_cap(label)} {words}." if words else f"{_cap(label)} needs one of {choices}."
            self._add("BF105", message, node.key_location, hint)

    def _add(self, code: str, message: str, location: Location, hint: str = "") -> None:
        self.problems.add(code, message, location=location, hint=hint)


def _follow(schema: Schema, pointer: str) -> Schema:
    for part in pointer.strip("/").split("/") if pointer else ():
        schema = schema[part]
    return schema


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    # ECMAScript's $ is the end of the text; Python's also stands before a last newline.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))


def _types(schema: Schema) -> frozenset[str]:
    if "anyOf" in schema:
        return frozenset().union(*(_types(branch) for branch in schema["anyOf"]))
    types = schema.get("type", ())
    return frozenset((types,) if isinstance(types, str) else types)


def _fits_type(node: ConfigNode, schema: Schema) -> bool:
    types = _types(schema)
    return not types or bool(types & _TYPES_OF_KIND[node.kind])


def _has_constants(node: ConfigNode, schema: Schema) -> bool:
    """No fixed value of the schema is contradicted by the node."""
    for name, rule in schema.get("properties", {}).items():
        child = node.get(name)
        if child is not None and "const" in rule and child.value != rule["const"]:
            return False
    return True


def _has_required(node: ConfigNode, schema: Schema) -> bool:
    return all(name in node for name in schema.get("required", ()))


def _constants(branches: Sequence[Schema]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for branch in branches:
        for name, rule in branch.get("properties", {}).items():
            if "const" in rule:
                found.setdefault(name, []).append(rule["const"])
    return found


def _type_words(types: frozenset[str]) -> str:
    shown = types - {"integer"} if "number" in types else types
    return " or ".join(words for name, words in _TYPE_WORDS.items() if name in shown)


def _type_hint(node: ConfigNode, wanted: frozenset[str]) -> str:
    if "string" in wanted and node.raw:
        return f'Put it in quotes: "{node.raw}".'
    if "boolean" in wanted and node.raw.lower() in ("yes", "no", "on", "off"):
        return f"Write {'true' if node.raw.lower() in ('yes', 'on') else 'false'}."
    if wanted & {"integer", "number"} and node.kind == "text":
        return "Write plain digits, without quotes, separators or leading zeros."
    if "array" in wanted and node.raw:
        return f"Write a list: [{node.raw}]."
    if node.kind == "null":
        return "Nothing stands after the colon. If the value is on the next line, indent it."
    return ""


def _shown(node: ConfigNode) -> str:
    if node.kind in ("mapping", "list"):
        return _KIND_WORDS[node.kind]
    text = node.raw if len(node.raw) <= 60 else node.raw[:57] + "..."
    return f"`{text}`"


def _within(label: str) -> str:
    return "" if label == "the file" else f" in {label}"


def _cap(label: str) -> str:
    return label[:1].upper() + label[1:]


def _first_sentence(schema: Schema) -> str:
    description: str = schema.get("description", "")
    return description.split(". ")[0].rstrip(".") + "." if description else ""
