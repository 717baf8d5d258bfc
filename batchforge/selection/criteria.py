"""`2+tag:nightly+1,path:jobs/raw alone` -> a tree of criteria, unions, intersections and differences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from batchforge.errors import Location, UsageError
from batchforge.nearest import did_you_mean

METHODS: Mapping[str, str] = {
    "fqn": "a name, a folder, or both with dots between",
    "path": "a file or folder of the project, with globs",
    "file": "a job file's name, without folder",
    "tag": "a tag",
    "group": "a group",
    "config": "config.SETTING:VALUE",
    "source": "a declared source",
    "exposure": "a declared exposure",
    "resource_type": "job, source, exposure or test",
    "test_type": "generic, singular, or data for both",
    "state": "new, old, modified, unmodified or modified.PART, compared with --state",
    "result": "success, warn, fail, error or skipped in the last run, and pass of a test",
    "git": "jobs whose files changed since a commit",
    "selector": "a selector of selectors.yml",
}
RESOURCE_TYPES = ("job", "source", "exposure", "test")
TEST_TYPES = ("generic", "singular", "data", "unit")
"""As in dbt; there are no unit tests of prompts, so that `unit` selects none."""
PARTS: Mapping[str, str] = {
    "prompt": "the messages",
    "system": "the system prompt",
    "macro": "templates that prompts include",
    "model": "the model",
    "params": "parameters of the request",
    "caching": "the cache policy",
    "input": "where the rows come from, and the files' content",
    "schema": "what an answer looks like, and where it goes",
    "tests": "its tests",
    "meta": "its `meta`",
    "run": "how it is run: mode, budgets, packing, order",
    "folder": "the folder of its file",
}
"""What of a job can be modified."""
STATES = ("new", "old", "modified", "unmodified", *(f"modified.{part}" for part in PARTS))

_WORD = re.compile(
    r"(?P<around>@)?"
    r"(?P<parents>(?P<parents_depth>[0-9]*)\+)?"
    r"((?P<method>[\w.]+):)?(?P<value>.*?)"
    r"(?P<children>\+(?P<children_depth>[0-9]*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One word: what `method` and `value` match, and how far from there along the graph."""

    word: str
    method: str
    value: str
    arguments: tuple[str, ...] = ()
    """Of `config.meta.owner`: meta and owner."""
    is_around: bool = False
    """@: with its descendants, and all that those need."""
    has_parents: bool = False
    parents_depth: int | None = None
    """None: all the way."""
    has_children: bool = False
    children_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """Of a difference, the first part without the others. Without parts: nothing."""

    how: Literal["union", "intersection", "difference"]
    parts: tuple[Selection, ...]
    word: str = ""
    """As it was typed, for saying that it matches nothing. Empty: that is not said."""


Selection: TypeAlias = Criterion | Combined

ALL = Combined("union", tuple(Criterion(f"{kind}:*", kind, "*") for kind in ("fqn", "source", "exposure")))


def parse_selection(select: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """Words as given on the command line; one argument may hold several, between spaces. Without any: everything."""
    included = parse_union(select) if select else ALL
    return Combined("difference", (included, parse_union(exclude))) if exclude else included


def parse_union(arguments: Sequence[str]) -> Combined:
    return Combined("union", tuple(_intersection(word) for argument in arguments for word in argument.split()))


def _intersection(word: str) -> Combined:
    return Combined("intersection", tuple(parse_word(part) for part in word.split(",")), word)


def parse_word(word: str, location: Location | None = None) -> Criterion:
    """
    Raises:
        UsageError: BF902 the word does not say which jobs are meant.
    """
    match = _WORD.fullmatch(word)
    assert match is not None
    method, *arguments = (match["method"] or _usual_method(match["value"])).split(".")
    return checked(
        Criterion(
            word,
            method,
            match["value"],
            tuple(arguments),
            is_around=match["around"] is not None,
            has_parents=match["parents"] is not None,
            parents_depth=_depth(match["parents_depth"]),
            has_children=match["children"] is not None,
            children_depth=_depth(match["children_depth"]),
        ),
        location,
    )


def _usual_method(value: str) -> str:
    if "/" in value:
        return "path"
    return "file" if value.lower().endswith((".yml", ".yaml", ".sql")) else "fqn"


def _depth(digits: str | None) -> int | None:
    return int(digits) if digits else None


def checked(criterion: Criterion, location: Location | None = None) -> Criterion:
    """
    Raises:
        UsageError: BF902
    """
    if criterion.method not in METHODS:
        known = ", ".join(f"{name}:" for name in METHODS)
        hint = did_you_mean(criterion.method, METHODS) or f"A word is a job's name, a glob, or one of {known}."
        raise _unclear(criterion, f"`{criterion.method}:` is not a way to choose", hint, location)
    if criterion.is_around and criterion.has_children:
        hint = "@ takes all descendants already."
        raise _unclear(criterion, "`@` and a `+` at the end do not go together", hint, location)
    if words := _VALUES.get(criterion.method):
        message = words(criterion.value)
        if message:
            raise _unclear(criterion, message, f"`{criterion.method}:` takes {METHODS[criterion.method]}.", location)
    return criterion


def _unclear(criterion: Criterion, reason: str, hint: str, location: Location | None) -> UsageError:
    message = f"`{criterion.word}` does not say which jobs are meant: {reason}."
    return UsageError("BF902", message, hint=hint, location=location)


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    return lambda value: "" if value in names else f"`{value}` is none of {', '.join(names)}"


def _dots(most: int) -> Callable[[str], str]:
    return lambda value: "" if value.count(".") <= most else f"`{value}` has more than {most} dot"


_VALUES: Mapping[str, Callable[[str], str]] = {
    "resource_type": _one_of(RESOURCE_TYPES),
    "test_type": lambda value: value and _one_of(TEST_TYPES)(value),  # without a value it means all, as in dbt
    "state": _one_of(STATES),
    "source": _dots(1),
    "exposure": _dots(1),
}


def criteria_of(selection: Selection, selectors: Mapping[str, Selection]) -> Iterator[Criterion]:
    """All criteria, those of selectors that are named too."""
    if isinstance(selection, Combined):
        for part in selection.parts:
            yield from criteria_of(part, selectors)
        return
    yield selection
    if selection.method == "selector" and selection.value in selectors:
        yield from criteria_of(selectors[selection.value], selectors)
