"""selectors.yml, and any files in selectors/ -> named selections, every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from batchforge.config.config_files import read_config_file
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, Location, ProblemList
from batchforge.graph import find_cycle
from batchforge.nearest import did_you_mean
from batchforge.selection.criteria import Combined, Criterion, Selection, checked, criteria_of, parse_word
from batchforge.source_tree import SourceTree

SELECTORS_FILE = "selectors.yml"
_FILES = (SELECTORS_FILE, "selectors.yaml", "selectors/**/*.yml", "selectors/**/*.yaml")
_NOTHING = Combined("union", ())
_SWITCHES = {"parents": "has_parents", "children": "has_children", "childrens_parents": "is_around"}
_DEPTHS = ("parents_depth", "children_depth")
_OF_A_METHOD = ("method", "value", *_SWITCHES, *_DEPTHS, "exclude")


@dataclass(slots=True)
class Selectors:
    by_name: dict[str, Selection] = field(default_factory=dict)
    default: str | None = None
    """The one that holds where nothing else is asked for."""
    locations: dict[str, Location] = field(default_factory=dict)


def load_selectors(tree: SourceTree, problems: ProblemList) -> Selectors:
    """All selectors of the project. What is wrong goes into `problems`; what is wrong selects nothing."""
    selectors = Selectors()
    for path in _paths(tree, problems):
        node = read_config_file(tree, path, "selectors.schema.json", problems)
        for each in node["selectors"].elements if node is not None else ():
            _add(each, selectors, problems)
    _check_references(selectors, problems)
    return selectors


def _paths(tree: SourceTree, problems: ProblemList) -> Iterator[str]:
    try:
        yield from dict.fromkeys(path for pattern in _FILES for path in tree.glob(pattern))
    except BatchForgeError as exc:
        problems.extend(exc)


def _add(node: ConfigNode, selectors: Selectors, problems: ProblemList) -> None:
    name, location = str(node["name"].value), node["name"].location
    if name in selectors.by_name:
        message = f"The selector `{name}` is also defined in {selectors.locations[name]}."
        problems.add("BF195", message, location=location, hint="Rename one of them.")
        return
    selectors.by_name[name] = _Reader(problems).read(node["definition"])
    selectors.locations[name] = location
    if "default" in node and node["default"].value:
        if selectors.default is not None:
            message = f"`{selectors.default}` is the default selector already."
            problems.add("BF195", message, location=node["default"].location, hint="Only one can be.")
        selectors.default = name


def _check_references(selectors: Selectors, problems: ProblemList) -> None:
    named = {
        name: tuple(each.value for each in criteria_of(selection, {}) if each.method == "selector")
        for name, selection in selectors.by_name.items()
    }
    for name, others in named.items():
        for other in others:
            if other not in named:
                hint = did_you_mean(other, named) or f"Selectors here: {', '.join(named)}."
                message = f"There is no selector `{other}`, which `{name}` names."
                problems.add("BF195", message, location=selectors.locations[name], hint=hint)
    cycle = find_cycle({name: tuple(other for other in others if other in named) for name, others in named.items()})
    if cycle:
        message = f"These selectors name each other: {' -> '.join(cycle)}."
        problems.add("BF195", message, location=selectors.locations[cycle[0]], hint="Write one of them out.")
        selectors.by_name[cycle[0]] = _NOTHING


@dataclass(frozen=True, slots=True)
class _Reader:
    problems: ProblemList

    def read(self, node: ConfigNode) -> Selection:
        try:
            if node.kind == "text":
                return parse_word(node.value, node.location)
            if node.kind == "mapping":
                return self._mapping(node)
        except BatchForgeError as exc:
            self.problems.extend(exc)
            return _NOTHING
        return self._wrong(node, "A definition is text or a mapping.", "Write e.g. `tag:nightly`, or {tag: nightly}.")

    def _mapping(self, node: ConfigNode) -> Selection:
        how = next((name for name in ("union", "intersection") if name in node), None)
        if how is not None:
            return self._combined(node, "union" if how == "union" else "intersection")
        if len(node.entries) == 1:
            ((name, value),) = node.entries.items()
            return self._criterion(node, name, value)
        if "method" in node and "value" in node:
            return self._method(node)
        hint = f"Write {{tag: nightly}}, or `method` and `value` with {', '.join(_OF_A_METHOD[2:])}."
        return self._wrong(node, "A definition of several settings needs `method` and `value`.", hint)

    def _combined(self, node: ConfigNode, how: str) -> Selection:
        children = node[how]
        if len(node.entries) > 1:
            hint = f"Put the rest into the list of `{how}`; `exclude` is an entry of it too."
            return self._wrong(node, f"`{how}` stands alone.", hint)
        if children.kind != "list":
            return self._wrong(children, f"`{how}` is a list of definitions.", f"Write {how}: [..., ...].")
        excludes = [child for child in children.elements if "exclude" in child.entries]
        if len(excludes) > 1:
            return self._wrong(excludes[1], f"`{how}` has more than one `exclude`.", "Put all of it into one list.")
        included = tuple(self.read(child) for child in children.elements if "exclude" not in child.entries)
        combined = Combined("union" if how == "union" else "intersection", included)
        return self._without(combined, excludes[0]["exclude"]) if excludes else combined

    def _method(self, node: ConfigNode) -> Selection:
        for name, child in node.entries.items():
            if name not in _OF_A_METHOD:
                hint = did_you_mean(name, _OF_A_METHOD) or f"Settings here: {', '.join(_OF_A_METHOD)}."
                return self._wrong(child, f"`{name}` is not a setting of a definition.", hint)
        criterion = self._criterion(node, str(node["method"].value), node["value"])
        return self._without(criterion, node["exclude"]) if "exclude" in node else criterion

    def _criterion(self, node: ConfigNode, name: str, value: ConfigNode) -> Selection:
        if value.kind in ("mapping", "list", "null"):
            return self._wrong(value, f"`{name}` takes one value.", "For several, write a union.")
        method, *arguments = name.split(".")
        text = str(value.value).lower() if value.kind == "boolean" else str(value.raw or value.value)
        criterion = Criterion(f"{name}:{text}", method, text, tuple(arguments))
        depths: dict[str, Any] = {depth: _depth(node[depth]) for depth in _DEPTHS if depth in node}
        switches: dict[str, Any] = {ours: node[name].value is True for name, ours in _SWITCHES.items() if name in node}
        return checked(replace(criterion, **depths, **switches), node.location)

    def _without(self, included: Selection, exclude: ConfigNode) -> Selection:
        if exclude.kind != "list":
            return self._wrong(exclude, "`exclude` is a list of definitions.", "Write exclude: [...].")
        return Combined("difference", (included, *(self.read(child) for child in exclude.elements)))

    def _wrong(self, node: ConfigNode, message: str, hint: str) -> Selection:
        self.problems.add("BF195", message, location=node.location, hint=hint)
        return _NOTHING


def _depth(node: ConfigNode) -> int | None:
    """0 in YAML is no limit, as in dbt; `0+name` on the command line is the name alone."""
    return (node.value or None) if node.kind == "integer" else None
