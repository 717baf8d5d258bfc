"""Rows and lists -> text as a model reads it best: filters of prompts. The same value gives the same text, always.

Prompts are made of this text, so a change of it would ask requests anew: tests hold it fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from batchforge.token_estimate import estimate_text_tokens

_BOUNDARY_CHARACTERS = 40
"""How far back a cut moves to stand between words."""
_CHARACTERS_A_TOKEN = 8


def text_of_cell(value: Any) -> str:
    """A value in the place of a text: nothing for null, JSON for what has parts."""
    if value is None:
        return ""
    if isinstance(value, bool | Mapping | list | tuple):
        return msgspec.json.encode(value).decode()
    return str(value)


def to_xml(value: Any, name: str = "") -> str:
    """`{{ row | xml("claim") }}`: each column an element, each entry of a list an <item>; texts are escaped."""
    inner = _xml_inside(value)
    if not name:
        return inner
    tag = _xml_name(name)
    return f"<{tag}>\n{inner}\n</{tag}>" if isinstance(value, Mapping | list | tuple) else f"<{tag}>{inner}</{tag}>"


def _xml_inside(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(to_xml(item, str(key)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(to_xml(item, "item") for item in value)
    return text_of_cell(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _xml_name(name: str) -> str:
    safe = "".join(c if c.isalpha() or c.isdecimal() or c in "_-." else "_" for c in name)
    return safe if safe[:1].isalpha() or safe[:1] == "_" else f"_{safe}"


def to_csv(rows: Any, columns: Sequence[str] | None = None, delimiter: str = ",") -> str:
    """`{{ row.orders | csv }}`: a header and a line for each row; only these `columns`, where they are given."""
    header, cells = _table(rows, columns)
    lines = [header, *cells] if header else cells
    return "\n".join(delimiter.join(_csv_cell(cell, delimiter) for cell in line) or '""' for line in lines)


def _csv_cell(text: str, delimiter: str) -> str:
    needs_quotes = any(sign in text for sign in (delimiter, '"', "\n", "\r"))
    return '"{}"'.format(text.replace('"', '""')) if needs_quotes else text


def to_markdown_table(rows: Any, columns: Sequence[str] | None = None) -> str:
    """`{{ row.orders | markdown_table }}`: a table of Markdown; only these `columns`, where they are given."""
    header, cells = _table(rows, columns)
    if not header:
        return ""
    lines = [header, ["---"] * len(header), *([_markdown_cell(cell) for cell in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_cell(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "<br>", text.replace("|", "\\|"))


def _table(rows: Any, columns: Sequence[str] | None) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, in the order in which they first come, and the cells."""
    given: list[Any] = [rows] if isinstance(rows, Mapping) else list(_listed(rows))
    if columns is not None:
        header = list(columns)
    else:
        header = list(dict.fromkeys(str(key) for row in given if isinstance(row, Mapping) for key in row))
    return header, [_cells(row, header) for row in given]


def _listed(rows: Any) -> Iterable[Any]:
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise TypeError(f"a table is made of a list of rows, not of {rows!r:.60}")
    return rows


def _cells(row: Any, header: Sequence[str]) -> list[str]:
    if isinstance(row, Mapping):
        return [text_of_cell(row.get(column)) for column in header]
    return [text_of_cell(value) for value in row] if isinstance(row, list | tuple) else [text_of_cell(row)]


def truncate_tokens(text: Any, count: int, end: str = "…") -> str:
    """`{{ row.log | truncate_tokens(2000) }}`: the start of a text, of about so many tokens as they are estimated, cut
    between words; `end` says that it was cut."""
    whole = text_of_cell(text)
    if _fits(whole, count):
        return whole
    cut = _longest_start(whole, count)
    start = whole[:cut]
    before = max((start.rfind(blank) for blank in (" ", "\n", "\t")), default=-1)
    if cut - before <= _BOUNDARY_CHARACTERS and before > 0 and not whole[cut : cut + 1].isspace():
        start = start[:before]
    return start.rstrip() + end


def _longest_start(text: str, count: int) -> int:
    low, high = 0, min(len(text), max(1, count) * _CHARACTERS_A_TOKEN)
    while high < len(text) and _fits(text[:high], count):
        low, high = high, min(len(text), 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(text[:middle], count) else (low, middle)
    return low


def _fits(text: str, count: int) -> bool:
    return estimate_text_tokens(text, "v2") <= count


FILTERS = {"csv": to_csv, "markdown_table": to_markdown_table, "truncate_tokens": truncate_tokens, "xml": to_xml}
