"""`tests:` of a job or a source -> `AssertionSpec`s, each with a name of its own and its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from batchforge.config.config_files import add_at, read_yaml_file
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import Location, ProblemList
from batchforge.nearest import did_you_mean
from batchforge.source_tree import SourceTree
from batchforge.spec import AssertionSpec, Label

Lists = Mapping[str, tuple[Label, ...]]

SETTINGS = ("name", "description", "severity", "warn_if", "error_if", "where", "rows", "limit")
_BOUNDS = {
    "accepted_range": ("min", "max"),
    "length": ("min", "max"),
    "row_count": ("min", "max"),
    "accuracy": ("min",),
    "f1": ("min",),
    "confusion": ("max",),
    "drift": ("max",),
    "cost_per_row": ("max_usd",),
}
MEASURES = frozenset({"row_count", "accuracy", "f1", "confusion", "drift", "cost_per_row"})
"""Kinds that measure one value of the whole table instead of counting rows."""
_NOT_IN_RE2 = re.compile(r"\(\?(?:=|!|<[=!])|\\[1-9]")


class JobTestsReader:
    """Reads the tests of one job or source."""

    def __init__(self, lists: Callable[[], Lists], tree: SourceTree, problems: ProblemList) -> None:
        self._lists, self._tree, self._problems = lists, tree, problems

    def read(self, nodes: Iterable[ConfigNode]) -> tuple[AssertionSpec, ...]:
        """
        Problems: BF190 a test cannot be as it is, BF191 two tests have one name.
        """
        tests: list[AssertionSpec] = []
        for node in nodes:
            kind = next(name for name in node.entries if name not in SETTINGS)
            tests.append(self._test(kind, node[kind], node))
        return with_own_names(tests, self._problems)

    def _test(self, kind: str, setting: ConfigNode, node: ConfigNode) -> AssertionSpec:
        args = self._args(kind, setting)
        self._check_bounds(kind, setting, node)
        settings = {name: node[name].value for name in SETTINGS if name in node}
        name = settings.pop("name", "")
        location = node["name"].location if name else setting.key_location
        return AssertionSpec(kind, name or auto_name(kind, args), args, location=location, **settings)

    def _args(self, kind: str, setting: ConfigNode) -> dict[str, Any]:
        match kind:
            case "not_null" | "unique":
                return {"columns": _texts(setting)}
            case "expression":
                return {"sql": setting.value}
            case "row_count" if setting.kind == "integer":
                return {"min": setting.value, "max": setting.value}
            case "accepted_values":
                return {"column": setting["column"].value, **self._values(setting["values"])}
            case "matches":
                self._check_pattern(setting["pattern"])
            case "json_schema":
                return {"column": setting["column"].value, "schema": self._schema(setting["schema"])}
            case "judge":
                accept = {f"accept_{name}": value for name, value in self._values(setting["accept"]).items()}
                return {**setting.data, "on": _texts(setting["on"]), **accept}
        return dict(setting.data)

    def _values(self, node: ConfigNode) -> dict[str, Any]:
        """The values, and how each was typed: a column of texts is compared with that."""
        if node.kind == "list":
            return {"values": [each.value for each in node.elements], "texts": [each.raw for each in node.elements]}
        lists = self._lists()
        if node.value not in lists:
            hint = did_you_mean(node.value, lists) or "Add it under `lists` in batchforge.yml, or write [a, b]."
            self._problems.add("BF156", f"There is no list `{node.value}`.", location=node.location, hint=hint)
        names = [label.name for label in lists.get(node.value, ())]
        return {"values": names, "texts": names}

    def _schema(self, node: ConfigNode) -> Any:
        file = node.get("file")
        if file is not None and node.entries.keys() == {"file"} and file.kind == "text":
            found = ProblemList()
            read = read_yaml_file(self._tree, file.value, found)
            add_at(file.location, found.items, self._problems)
            node = read or node
        schema = node.data
        if reason := _why_no_schema(schema):
            hint = "Write it as JSON Schema has it."
            self._problem(f"This is no JSON Schema: {reason.rstrip('.')}.", node.key_location, hint)
        return schema

    def _check_pattern(self, node: ConfigNode) -> None:
        if _NOT_IN_RE2.search(node.value):
            hint = "Test it in another way, or with `expression`."
            self._problem("A pattern takes no lookaround and no back-references.", node.location, hint)
            return
        try:
            re.compile(node.value)
        except re.error as exc:
            hint = "Put a \\ before a character that is meant as it stands."
            self._problem(f"The pattern cannot be read: {exc}.", node.location, hint)

    def _check_bounds(self, kind: str, setting: ConfigNode, node: ConfigNode) -> None:
        names = [name for name in _BOUNDS.get(kind, ()) if name in setting]
        thresholds = [name for name in ("warn_if", "error_if") if name in node and kind in MEASURES]
        if kind in _BOUNDS and setting.kind == "mapping" and not names and not thresholds:
            words = " or ".join(f"`{name}`" for name in _BOUNDS[kind])
            others = ", or a `warn_if` or `error_if` beside it" if kind in MEASURES else ""
            self._problem(f"`{kind}` needs {words}{others}.", setting.key_location, "Add it.")
        if names and thresholds:
            message = f"`{names[0]}` and `{thresholds[0]}` say the same thing in two ways."
            self._problem(message, node[thresholds[0]].key_location, "Keep the one that you mean.")
        if len(names) == 2:
            self._check_order(setting[names[0]], setting[names[1]])

    def _check_order(self, low: ConfigNode, high: ConfigNode) -> None:
        if isinstance(low.value, str) != isinstance(high.value, str):
            self._problem("`min` and `max` are a number and a text.", high.location, "Write both in one way.")
        elif low.value > high.value:
            self._problem(f"`min` is {low.raw}, above `max`, which is {high.raw}.", low.location, "Change one of them.")

    def _problem(self, message: str, location: Location, hint: str) -> None:
        self._problems.add("BF190", message, location=location, hint=hint)


def _why_no_schema(schema: Any) -> str:
    import jsonschema_rs

    try:
        jsonschema_rs.validator_for(schema)
    except (ValueError, TypeError) as exc:
        return str(exc).splitlines()[0]
    return ""


def _texts(node: ConfigNode) -> list[str]:
    return [node.value] if node.kind == "text" else [each.value for each in node.elements]


def auto_name(kind: str, args: Mapping[str, Any]) -> str:
    """
    >>> auto_name("unique", {"columns": ["ticket id", "day"]})
    'unique_ticket_id_day'
    """
    parts = args.get("columns") or [args[name] for name in ("column", "job") if name in args]
    words = [kind, *parts] if kind != "judge" else [kind, args["job"]]
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(map(str, words))).strip("_")[:90]


def with_own_names(tests: Sequence[AssertionSpec], problems: ProblemList) -> tuple[AssertionSpec, ...]:
    """A made-up name that is taken gets a number; one that was given must be free."""
    taken: dict[str, AssertionSpec] = {}
    for test in tests:
        name, number = test.name, 1
        is_given = auto_name(test.kind, test.args) != test.name
        while name.casefold() in taken and not is_given:
            number += 1
            name = f"{test.name}_{number}"
        if name.casefold() in taken:
            hint = "Failing rows are stored by the test's name. Give it another one."
            problems.add("BF191", f"Two tests are named `{name}`.", location=test.location, hint=hint)
        taken[name.casefold()] = replace(test, name=name)
    return tuple(taken.values())
