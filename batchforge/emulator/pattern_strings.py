"""A string that matches a regular expression: one found in a text if there is any, else the simplest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

SEARCHED_CHARACTERS = 4_000
"""Some patterns are slow on long texts."""
_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}
_OPPOSITES = {"CATEGORY_NOT_DIGIT": "a", "CATEGORY_NOT_WORD": "-", "CATEGORY_NOT_SPACE": "a"}
_CANDIDATES = "a0A-_. bcdefghijklmnopqrstuvwxyz123456789BCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+,/:;<=>?@[]^`{|}~\\()\"\té"


def string_for(pattern: str, text: str) -> str:
    simplest = _simplest(pattern)
    if simplest is None:
        return ""
    loose = _unanchored(pattern)
    found = loose.search(text, 0, SEARCHED_CHARACTERS) if loose else None
    # A match in the text may lean on what stands around it, so it must also match alone.
    if found is not None and found.group() and re.search(pattern, found.group()):
        return found.group()
    return simplest


@lru_cache(maxsize=256)
def _unanchored(pattern: str) -> re.Pattern[str] | None:
    bare = pattern.removeprefix("^")
    if bare.endswith("$") and not bare.endswith("\\$"):
        bare = bare[:-1]
    try:
        return re.compile(bare)
    except re.error:
        return None


@lru_cache(maxsize=256)
def _simplest(pattern: str) -> str | None:
    try:
        parsed: Any = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except re.error:
        return None
    return _sequence(parsed)


def _sequence(parsed: Iterable[tuple[Any, Any]]) -> str:
    return "".join(_element(str(operator), argument) for operator, argument in parsed)


def _element(operator: str, argument: Any) -> str:
    match operator:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return next(char for char in _CANDIDATES if char != chr(argument))
        case "ANY":
            return "a"
        case "IN":
            return _one_of(argument)
        case "BRANCH":
            return _sequence(argument[1][0])
        case "SUBPATTERN":
            return _sequence(argument[-1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _sequence(argument[2]) * int(argument[0])
        case "ATOMIC_GROUP":
            return _sequence(argument)
    return ""


def _one_of(members: Sequence[tuple[Any, Any]]) -> str:
    """The first candidate that a character class takes."""
    names = [(str(operator), argument) for operator, argument in members]
    negated = names[0][0] == "NEGATE"
    if not negated:
        operator, argument = names[0]
        if operator == "LITERAL":
            return chr(argument)
        if operator == "RANGE":
            return chr(argument[0])
        return {**_CATEGORIES, **_OPPOSITES}[str(argument)]
    return next((char for char in _CANDIDATES if not any(_takes(member, char) for member in names[1:])), "\0")


def _takes(member: tuple[str, Any], char: str) -> bool:
    operator, argument = member
    if operator == "LITERAL":
        return chr(argument) == char
    if operator == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    category = str(argument)
    inside = {"DIGIT": char.isdigit(), "WORD": char.isalnum() or char == "_", "SPACE": char.isspace()}
    kind = category.removeprefix("CATEGORY_").removeprefix("NOT_")
    return inside[kind] != ("NOT_" in category)
