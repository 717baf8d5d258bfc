"""CSV and TSV files -> rows of text, exactly as they stand between the delimiters; typed cells where asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from batchforge.errors import BatchForgeError, Location
from batchforge.nearest import did_you_mean
from batchforge.tables.cells import CELL_TYPES, convert_cell
from batchforge.tables.options import DELIMITERS, MAX_ROW_CHARS, TableOptions
from batchforge.tables.text_files import lines_of, open_text

NumberedCells: TypeAlias = tuple[int, list[str]]
NumberedRow: TypeAlias = tuple[int, dict[str, Any]]


def read_delimited(path: Path, shown_as: str, options: TableOptions) -> Iterator[NumberedRow]:
    """Each row with the line on which it begins. Empty lines are no rows."""
    records = _records(path, shown_as, options)
    first = next(records, None)
    if first is None:
        return
    names = _column_names(first, shown_as, options)
    rows = _named(records if options.header else chain([first], records), names, shown_as)
    typed = {name: convert for name, kind in options.types.items() if (convert := CELL_TYPES.get(kind))}
    _check_typed_columns(options, names, shown_as)
    yield from _converted(rows, typed, shown_as) if typed else rows


def _records(path: Path, shown_as: str, options: TableOptions) -> Iterator[NumberedCells]:
    csv.field_size_limit(MAX_ROW_CHARS)
    dialect = _dialect(options)
    with open_text(path, shown_as, options.encoding) as text:
        reader = csv.reader(lines_of(text, shown_as), **dialect)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as exc:
            raise _malformed(str(exc), Location(shown_as, line), options) from exc


def _dialect(options: TableOptions) -> dict[str, Any]:
    """strict, because the lenient reader glues `"a"b` together and swallows the file after an unclosed quote."""
    delimiter = options.delimiter or DELIMITERS.get(options.format, ",")
    for name, value in (("delimiter", delimiter), ("quote", options.quote)):
        if value is not None and (len(value) != 1 or value in "\r\n"):
            raise BatchForgeError("BF214", f"{name} must be one character and no line end, not {value!r}")
    if delimiter == options.quote:
        raise BatchForgeError("BF214", f"delimiter and quote are both {delimiter!r}", hint="Change one of them.")
    quoting = csv.QUOTE_NONE if options.quote is None else csv.QUOTE_MINIMAL
    return {"delimiter": delimiter, "quotechar": options.quote, "quoting": quoting, "strict": True}


def _malformed(reason: str, location: Location, options: TableOptions) -> BatchForgeError:
    no_quotes = "If quotes are ordinary characters in this file, set `quote: null`."
    if reason.startswith("unexpected end of data"):
        return BatchForgeError("BF206", "a quoted cell of this row is never closed", location=location, hint=no_quotes)
    if "expected after" in reason:
        message = f"text follows the closing {options.quote} of a quoted cell"
        return BatchForgeError("BF206", message, location=location, hint=f"Double the quote inside. {no_quotes}")
    if reason.startswith("new-line character"):
        hint = "Quote the cell, or end the lines with LF or CRLF."
        return BatchForgeError(
            "BF206", "a carriage return stands inside an unquoted cell", location=location, hint=hint
        )
    if reason.startswith("field larger"):
        message = f"a cell of this row is longer than {MAX_ROW_CHARS:,} characters"
        return BatchForgeError("BF206", message, location=location, hint=f"Is a quote never closed? {no_quotes}")
    return BatchForgeError("BF206", reason, location=location)


def _column_names(first: NumberedCells, shown_as: str, options: TableOptions) -> tuple[str, ...]:
    line, cells = first
    names = tuple(cells) if options.header else options.columns or tuple(f"c{n}" for n in range(1, len(cells) + 1))
    for position, name in enumerate(names):
        if not name:
            message = f"column {position + 1} of the header has no name"
        elif name in names[:position]:
            message = f"the column name '{name}' stands twice in the header"
        else:
            continue
        hint = "Give each column a name of its own; for a file without a header, set `header: false`."
        raise BatchForgeError("BF204", message, location=Location(shown_as, line), hint=hint)
    return names


def _named(records: Iterator[NumberedCells], names: tuple[str, ...], shown_as: str) -> Iterator[NumberedRow]:
    for line, cells in records:
        if len(cells) != len(names):
            raise _ragged(len(cells), len(names), Location(shown_as, line))
        yield line, dict(zip(names, cells))  # noqa: B905  (checked above; once more would cost a tenth)


def _ragged(cells: int, columns: int, location: Location) -> BatchForgeError:
    hint = (
        "A cell that holds the delimiter or a line end must be quoted; check `delimiter:` and `quote:` too."
        if cells > columns
        else "Check `delimiter:`, and whether a line end stands inside an unquoted cell."
    )
    message = f"the row has {_count(cells, 'cell')}, but there are {_count(columns, 'column')}"
    return BatchForgeError("BF205", message, location=location, hint=hint)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_typed_columns(options: TableOptions, names: tuple[str, ...], shown_as: str) -> None:
    for name in options.types:
        if name not in names:
            hint = did_you_mean(name, names) or f"The columns are {', '.join(names)}."
            message = f"`types:` names the column '{name}', which the file does not have"
            raise BatchForgeError("BF210", message, location=Location(shown_as), hint=hint)


def _converted(
    rows: Iterator[NumberedRow], typed: dict[str, Callable[[str], Any]], shown_as: str
) -> Iterator[NumberedRow]:
    for line, row in rows:
        for name, convert in typed.items():
            try:
                row[name] = convert_cell(convert, row[name])
            except ValueError as exc:
                raise _bad_cell(name, row[name], str(exc), Location(shown_as, line)) from exc
        yield line, row


def _bad_cell(name: str, cell: str, reason: str, location: Location) -> BatchForgeError:
    shown = cell if len(cell) <= 40 else f"{cell[:40]}…"
    hint = f"Correct the cell, or declare `types: {{{name}: text}}`."
    return BatchForgeError("BF207", f"column '{name}': {shown!r} {reason}", location=location, hint=hint)
