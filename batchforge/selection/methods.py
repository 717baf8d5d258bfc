"""A node and a criterion -> whether it matches, method by method; what changed and how a run went are values here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from batchforge.selection.criteria import Criterion, Selection
from batchforge.selection.nodes import Node

_WILD = frozenset("*?[]")


@dataclass(frozen=True, slots=True)
class Changes:
    """Now, compared with an earlier state of the project."""

    parts: Mapping[str, Collection[str]]
    """Id of what was there before and is modified -> which parts."""
    new: frozenset[str] = frozenset()
    removed: tuple[str, ...] = ()
    """Ids of what is gone or disabled."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What words can ask for beside the graph. None: not known, and not needed where no word asks."""

    changes: Changes | None = None
    results: Mapping[str, str] | None = None
    """Id -> its status in the last run."""
    touched: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Commit -> ids of what has changed files since."""
    selectors: Mapping[str, Selection] = field(default_factory=dict)


def matches(node: Node, criterion: Criterion, facts: Facts) -> bool:
    return _METHODS[criterion.method](node, criterion, facts)


def _has_fqn(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    if node.kind == "source":
        return False
    return any(_is_named(fqn, criterion.value) for fqn in (node.fqn, node.fqn[1:]))


def _is_named(fqn: Sequence[str], value: str) -> bool:
    """The name alone; or folders and name from the front, where a part with a wildcard takes in all the rest."""
    if fqn[-1] == value or ("." not in value and _is_wild(value) and fnmatchcase(fqn[-1], value)):
        return True
    steps, wanted = ".".join(fqn).split("."), value.split(".")
    if len(steps) < len(wanted):
        return False
    for number, (step, part) in enumerate(zip(steps, wanted, strict=False)):
        if _is_wild(part):
            return fnmatchcase(".".join(steps[number:]), ".".join(wanted[number:]))
        if step != part:
            return False
    return True


def _is_wild(text: str) -> bool:
    return not _WILD.isdisjoint(text)


def _is_at_path(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    pattern = [part for part in criterion.value.split("/") if part not in ("", ".")]
    steps = node.path.split("/")
    return any(_is_path(steps[:count], pattern) for count in range(len(steps) + 1)) if criterion.value else False


def _is_path(steps: Sequence[str], pattern: Sequence[str]) -> bool:
    """`*` stays within a folder, `**` stands for any folders."""
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_is_path(steps[skipped:], pattern[1:]) for skipped in range(len(steps) + 1))
    return bool(steps) and fnmatchcase(steps[0], pattern[0]) and _is_path(steps[1:], pattern[1:])


def _has_file(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    name = node.path.rpartition("/")[2]
    return fnmatchcase(name, criterion.value) or fnmatchcase(name.rpartition(".")[0], criterion.value)


def _has_tag(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return any(fnmatchcase(tag, criterion.value) for tag in node.tags)


def _is_in_group(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return bool(node.group) and fnmatchcase(str(node.group), criterion.value)


def _has_config(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    value: Any = node.config if criterion.arguments else None
    for name in criterion.arguments:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    values = value if isinstance(value, list | tuple) else [value]
    return any(_is_value(each, criterion.value) for each in values)


def _is_value(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    return isinstance(value, str | int | float) and str(value) == wanted


def _is_source(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return node.kind == "source" and _is_scoped(node, criterion.value)


def _is_exposure(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return node.kind == "exposure" and _is_scoped(node, criterion.value)


def _is_scoped(node: Node, value: str) -> bool:
    """`name`, or `project.name`."""
    project, dot, name = value.rpartition(".")
    return fnmatchcase(node.name, name) and (not dot or fnmatchcase(node.fqn[0], project))


def _is_of_type(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return node.kind == criterion.value


def _is_test_of_type(node: Node, criterion: Criterion, _facts: Facts) -> bool:
    return node.kind == "test" and criterion.value in (node.test_type, "data", "")


def _is_in_state(node: Node, criterion: Criterion, facts: Facts) -> bool:
    changes = facts.changes
    assert changes is not None
    if node.kind == "test":
        return False  # its job is modified with it
    state, _, part = criterion.value.partition(".")
    is_new = node.id in changes.new
    if state in ("new", "old"):
        return is_new == (state == "new")
    if part:
        # What a job includes is not new because the job is.
        is_new_part = is_new and node.kind == "job" and part != "macro"
        return is_new_part or part in changes.parts.get(node.id, ())
    # A source or an exposure that is new changes nothing by itself: what reads it is modified.
    is_modified = node.id in changes.parts or (is_new and node.kind == "job")
    return is_modified == (state == "modified")


def _has_result(node: Node, criterion: Criterion, facts: Facts) -> bool:
    assert facts.results is not None
    return facts.results.get(node.id) == criterion.value


def _is_touched(node: Node, criterion: Criterion, facts: Facts) -> bool:
    return node.id in facts.touched[criterion.value]


_METHODS: Mapping[str, Callable[[Node, Criterion, Facts], bool]] = {
    "fqn": _has_fqn,
    "path": _is_at_path,
    "file": _has_file,
    "tag": _has_tag,
    "group": _is_in_group,
    "config": _has_config,
    "source": _is_source,
    "exposure": _is_exposure,
    "resource_type": _is_of_type,
    "test_type": _is_test_of_type,
    "state": _is_in_state,
    "result": _has_result,
    "git": _is_touched,
}
