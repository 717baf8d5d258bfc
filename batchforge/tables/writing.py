"""Rows -> a CSV, TSV, JSONL or Parquet file that replaces the old one as a whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.json_text import encode_json, whole_characters
from batchforge.tables.options import DELIMITERS
from batchforge.tables.parquet_writing import ParquetWriter, check_parquet_columns
from batchforge.whole_file import whole_file

BUFFER_BYTES = 1 << 18
_ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")
_FORMULA_START = re.compile(r"[=+\-@\t\r＝＋－＠]")
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)*([eE][+-]?[0-9]+)?%?")


class _Sink(Protocol):
    """One format's way to write."""

    def write(self, values: Mapping[str, Any]) -> None: ...

    def finish(self) -> None:
        """When this returns, the file is complete, as far as other processes can see."""

    def close(self) -> None: ...


class TableWriter:
    """Takes rows one by one. A column that a row does not have is null."""

    def __init__(self, sink: _Sink, columns: Sequence[str], shown_as: str) -> None:
        self._sink = sink
        self._columns = frozenset(columns)
        self._shown_as = shown_as

    def write(self, values: Mapping[str, Any]) -> None:
        """Raises ValueError for a column that the table does not have: nothing may get lost silently."""
        if not values.keys() <= self._columns:
            raise ValueError(f"{self._shown_as} has no column {sorted(values.keys() - self._columns)}")
        try:
            self._sink.write(values)
        except OSError as exc:
            raise not_written(self._shown_as, exc) from exc


class _JsonLinesWriter:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._file = path.open("wb", buffering=BUFFER_BYTES)

    def write(self, values: Mapping[str, Any]) -> None:
        if tuple(values) != self._columns:
            values = {column: values.get(column) for column in self._columns}
        self._file.write(encode_json(values) + b"\n")

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _DelimitedWriter:
    """Quotes what must be quoted, and no more. Null is an empty cell; lists and objects are JSON."""

    def __init__(self, path: Path, columns: Sequence[str], delimiter: str, *, escape_formulas: bool) -> None:
        self._columns = columns
        self._delimiter = delimiter
        self._escape = without_formula if escape_formulas else str
        self._special = re.compile(f'[{re.escape(delimiter)}"\r\n\ufeff]')
        self._file = path.open("wb", buffering=BUFFER_BYTES)
        self._write_line(columns)

    def write(self, values: Mapping[str, Any]) -> None:
        self._write_line([values.get(column) for column in self._columns])

    def _write_line(self, cells: Sequence[Any]) -> None:
        # A line of one empty cell would be an empty line, which is no row.
        line = self._delimiter.join(map(self._cell, cells)) or '""'
        self._file.write(whole_characters(line + "\n").encode())

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        text = self._escape(value) if isinstance(value, str) else encode_json(value).decode()
        return '"' + text.replace('"', '""') + '"' if self._special.search(text) else text

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def without_formula(text: str) -> str:
    """A ' before a text that a spreadsheet would run as a formula; plain numbers are none."""
    return f"'{text}" if _FORMULA_START.match(text) and not _PLAIN_NUMBER.fullmatch(text) else text


@contextmanager
def open_writer(
    path: Path,
    columns: Sequence[str],
    *,
    kinds: Mapping[str, str] | None = None,
    escape_formulas: bool = False,
    shown_as: str = "",
) -> Iterator[TableWriter]:
    """A writer to `path`, which errors call `shown_as`.

    Leaves `path` as it was unless the block ends well; then the new file is there, complete and durable.

    `kinds` are for Parquet: the types of columns that are known (text, integer, number, boolean, json, or a list such
    as text[]), so that a column's type does not depend on the rows; values that do not fit make it wider.
    """
    check_writable(path, columns)
    shown_as = shown_as or str(path)
    of_the_rows: OSError | None = None
    try:
        with whole_file(path, is_durable=True) as partial:
            sink = _open_sink(path, partial, columns, kinds or {}, escape_formulas)
            try:
                try:
                    yield TableWriter(sink, columns, shown_as)
                except OSError as exc:
                    of_the_rows = exc
                    raise
                sink.finish()
            finally:
                with suppress(OSError):  # what a full disk could not take is told of by then
                    sink.close()
    except OSError as exc:
        if exc is of_the_rows:
            raise
        raise not_written(shown_as, exc) from exc


def check_writable(path: Path, columns: Sequence[str]) -> None:
    """Whether such a file can be written at all; to be asked before the rows cost anything.

    Raises:
        BatchForgeError: its ending tells no format, or the format cannot hold these columns.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise BatchForgeError(
            "BF703",
            f"the ending of an output file tells its format, and that of '{path.name}' tells none",
            hint=f"Use one of {', '.join(_ENDINGS)}.",
        )
    if path.suffix.lower() == ".parquet":
        check_parquet_columns(columns)


def _open_sink(
    path: Path, partial: Path, columns: Sequence[str], kinds: Mapping[str, str], escape_formulas: bool
) -> _Sink:
    match path.suffix.lower():
        case ".jsonl":
            return _JsonLinesWriter(partial, columns)
        case ".parquet":
            return ParquetWriter(partial, columns, kinds)
        case ending:
            return _DelimitedWriter(partial, columns, DELIMITERS[ending[1:]], escape_formulas=escape_formulas)


def not_written(shown_as: str, exc: OSError) -> BatchForgeError:
    return BatchForgeError(
        "BF701",
        f"the file cannot be written: {exc.strerror or exc}",
        location=Location(shown_as),
        hint="The old file, if there was one, is untouched.",
    )
