"""What `output` says of a job's answers: their schema, where their fields stand, what becomes of invalid ones."""

from __future__ import annotations

import re
from typing import Any

from batchforge.config.answer_fields import Lists, checked_schema, schema_of_fields, valid_schema
from batchforge.config.config_files import add_at, read_yaml_file
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import ProblemList
from batchforge.nearest import did_you_mean
from batchforge.source_tree import SourceTree
from batchforge.spec import AnswerSource


def read_answer(
    node: ConfigNode, tools: ConfigNode | None, lists: Lists, tree: SourceTree, problems: ProblemList
) -> dict[str, Any]:
    """As settings of an `OutputSpec`.

    Problems: BF105 what does not go together, BF160 to BF164 of a schema, BF165 `from` cannot be as it is.
    """
    reader = _AnswerSettings(node, tools, lists, tree, problems)
    source = reader.source()
    schema = reader.schema(source)
    if schema is None:
        reader.refuse_without_fields()
    return {"source": source, "schema": schema, **reader.others()}


class _AnswerSettings:
    def __init__(
        self, node: ConfigNode, tools: ConfigNode | None, lists: Lists, tree: SourceTree, problems: ProblemList
    ) -> None:
        self.node, self.tools, self.lists, self.tree, self.problems = node, tools, lists, tree, problems

    def source(self) -> AnswerSource:
        setting = self.node.get("from")
        if setting is None:
            return AnswerSource()
        if setting.kind == "text":
            return AnswerSource(setting.value)
        if tool := setting.get("tool"):
            self._check_tool(tool)
            return AnswerSource("tool", tool=tool.value)
        self._check_pattern(setting["regex"])
        return AnswerSource("regex", pattern=setting["regex"].value)

    def _check_tool(self, node: ConfigNode) -> None:
        names = [each["name"].raw for each in (self.tools.elements if self.tools else ()) if "name" in each]
        if node.value not in names:
            hint = did_you_mean(node.value, names) or "List it under the job's `tools`."
            self.problems.add("BF165", f"There is no tool `{node.value}`.", location=node.location, hint=hint)

    def _check_pattern(self, node: ConfigNode) -> None:
        try:
            groups = re.compile(node.value).groupindex
        except re.error as exc:
            hint = "Put a \\ before a character that is meant as it stands."
            self.problems.add("BF165", f"The pattern cannot be read: {exc}.", location=node.location, hint=hint)
            return
        if not groups:
            hint = "Write e.g. Category: (?P<category>\\w+)"
            self.problems.add("BF165", "The pattern has no named groups.", location=node.location, hint=hint)
        fields = self.node["fields"].entries if "fields" in self.node else {}
        for name in fields.keys() - groups.keys():
            message = f"The pattern has no group for the field `{name}`."
            hint = did_you_mean(name, groups) or f"Write (?P<{name}>...) in it."
            self.problems.add("BF165", message, location=fields[name].key_location, hint=hint)

    def schema(self, source: AnswerSource) -> dict[str, Any] | None:
        if fields := self.node.get("fields"):
            made = schema_of_fields(fields, self.lists, self.problems)
            return made if source.kind == "structured" else _open(made)
        if schema := self.node.get("schema"):
            return self._given_schema(schema, source)
        if source.kind == "regex":
            return _all_text(source.pattern)
        return self._schema_of_tool(source.tool) if source.kind == "tool" else None

    def _given_schema(self, schema: ConfigNode, source: AnswerSource) -> dict[str, Any] | None:
        """The API takes a part of JSON Schema; what it is not told of may be any."""
        check = checked_schema if source.kind == "structured" else valid_schema
        if schema.entries.keys() != {"file"}:
            return check(schema, self.problems)
        file = schema["file"]
        if file.kind != "text":
            message = "`file` must be text."
            self.problems.add("BF102", message, location=file.location, hint="Write {file: schema.json}.")
            return None
        found = ProblemList()
        node = read_yaml_file(self.tree, file.value, found)
        add_at(file.location, found.items, self.problems)
        return check(node, self.problems) if node is not None else None

    def _schema_of_tool(self, name: str) -> dict[str, Any] | None:
        for tool in self.tools.elements if self.tools else ():
            schema = tool.get("input_schema")
            if "name" in tool and tool["name"].raw == name and schema is not None and schema.kind == "mapping":
                return dict(schema.data)
        return None

    def refuse_without_fields(self) -> None:
        """Settings that do nothing where the answer is text."""
        for name in ("from", "on_invalid"):
            child = self.node.get(name)
            is_understood = name == "from" and any(p.code == "BF165" for p in self.problems.errors)
            if child is not None and not is_understood:
                message = f"`{name}` does nothing without `fields` or `schema`."
                self.problems.add("BF105", message, location=child.key_location, hint="Add `fields`, or remove it.")

    def others(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if "keep" in self.node:
            values["keep"] = tuple(self.node["keep"].data)
        if on_invalid := self.node.get("on_invalid"):
            values["keeps_invalid"] = on_invalid.value == "keep"
            values["retries"] = on_invalid["retry"].value if on_invalid.kind == "mapping" else 0
            values["tells_reason"] = "with_reason" in on_invalid and bool(on_invalid["with_reason"].value)
        return values


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema for answers that may hold more than the fields: what is more is left aside."""
    parts = {name: _open(part) for name, part in schema.get("properties", {}).items()}
    changed = {**schema, **({"properties": parts} if parts else {})}
    if "items" in schema:
        changed["items"] = _open(schema["items"])
    return {name: value for name, value in changed.items() if name != "additionalProperties"}


def _all_text(pattern: str) -> dict[str, Any] | None:
    """A schema of the pattern's named groups."""
    try:
        names = list(re.compile(pattern).groupindex)
    except re.error:
        return None
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
