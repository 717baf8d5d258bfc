"""The values of a column -> the one Parquet type that holds them all without loss; JSON text where none does."""

from __future__ import annotations

from typing import Any

NULL = "null"
JSON = "json"

SQL_TYPES = {
    NULL: "VARCHAR",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "long": "BIGINT",
    "huge": "DECIMAL(38, 0)",
    "number": "DOUBLE",
    JSON: "JSON",
}
_INTEGERS = ("integer", "long", "huge")
_EXACT_IN_DOUBLE = 2**53
_EXACT_IN_BIGINT = 2**63
_EXACT_IN_DECIMAL = 10**38


def sql_type(kind: str) -> str:
    """`text[]` and its like are lists."""
    return f"{SQL_TYPES[kind.removesuffix('[]')]}[]" if kind.endswith("[]") else SQL_TYPES[kind]


def kind_of(value: Any) -> str:
    match value:
        case None:
            return NULL
        case str():
            return "text"
        case bool():
            return "boolean"
        case int():
            return _integer_kind(abs(value))
        case float():
            return "number"
        case list() | tuple():
            return _list_kind(value)
    return JSON


def _integer_kind(magnitude: int) -> str:
    if magnitude <= _EXACT_IN_DOUBLE:
        return "integer"
    if magnitude < _EXACT_IN_BIGINT:
        return "long"
    return "huge" if magnitude < _EXACT_IN_DECIMAL else JSON


def _list_kind(items: list[Any] | tuple[Any, ...]) -> str:
    kind = NULL
    for item in items:
        kind = common_kind(kind, kind_of(item))
    return JSON if kind == JSON or kind.endswith("[]") else f"{kind}[]"


def common_kind(one: str, other: str) -> str:
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    if one in _INTEGERS and other in _INTEGERS:
        return max(one, other, key=_INTEGERS.index)
    if {one, other} == {"integer", "number"}:
        return "number"
    if one.endswith("[]") and other.endswith("[]"):
        inner = common_kind(one.removesuffix("[]"), other.removesuffix("[]"))
        return JSON if inner == JSON else f"{inner}[]"
    return JSON
