"""The text of a CSV cell -> the value of its declared type. An empty cell of a type other than text is null."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from batchforge.tables.json_text import decode_json

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("is not an integer")
    try:
        return int(text)
    except ValueError as exc:
        raise ValueError("has too many digits") from exc


def _number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("is too large for a number")
    return value


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("is not a boolean (true, false, yes, no, 1, 0)")
    return value


def _json(text: str) -> Any:
    try:
        return decode_json(text)
    except ValueError as exc:
        raise ValueError(f"is not JSON: {exc}") from exc


CELL_TYPES: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "json": _json,
}
"""Types other than text. Each takes the cell without the blanks around it and raises ValueError with the reason."""


def convert_cell(convert: Callable[[str], Any], cell: str) -> Any:
    text = cell.strip(" \t\r\n")
    return convert(text) if text else None
