"""Files of an output -> the same files without the rows of some keys; everything else in them stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchforge.spec import InputSpec
from batchforge.tables.duck import open_duckdb, quoted_text
from batchforge.tables.json_text import encode_json
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from batchforge.tables.writing import open_writer, without_formula
from batchforge.whole_file import whole_file

Cells = tuple[str, ...]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """What rows of a file are known by: the key's columns where the file has them, else request or values."""

    input: InputSpec
    keys: frozenset[str]
    custom_ids: frozenset[str]
    """Of requests that no other row has."""
    columns: tuple[str, ...]
    values: frozenset[Cells]
    """In the order of `columns`; of rows whose like does not stay."""

    def matcher(self, columns: Collection[str]) -> Callable[[Row], bool]:
        """For a file with these columns."""
        if "_key" in columns and "_place" in columns:
            return lambda row: row["_key"] in self.keys
        key = self.input.key
        if key and self.input.on_duplicate != "suffix" and set(key) <= set(columns):
            wanted = {cells for text in self.keys for cells in spellings(key_cells(text, len(key)))}
            return lambda row: cells_of(row, key) in wanted
        return self._by_content

    def _by_content(self, row: Row) -> bool:
        return row.get("_request_id") in self.custom_ids or cells_of(row, self.columns) in self.values


def key_cells(key: str, columns: int) -> Cells:
    """The cells that a key was made of."""
    return (key,) if columns == 1 else tuple(_cell(value) for value in json.loads(key))


def cells_of(row: Row, columns: Sequence[str]) -> Cells:
    return tuple(_cell(row.get(column)) for column in columns)


def _cell(value: Any) -> str:
    """A value as any format of a table spells it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else encode_json(value).decode()


def spellings(cells: Cells) -> tuple[Cells, Cells]:
    """As they are, and as a CSV file for spreadsheets holds them."""
    return cells, tuple(without_formula(cell) for cell in cells)


def count_rows(path: Path, erased: ErasedRows) -> int:
    """How many rows of the file would go."""
    return len(_positions(path, erased))


def remove_rows(path: Path, erased: ErasedRows) -> int:
    """Write the file anew without them; returns how many they were."""
    positions = _positions(path, erased)
    if positions:
        _WRITERS[format_of(path.name)](path, positions)
    return len(positions)


def _positions(path: Path, erased: ErasedRows) -> list[int]:
    found: list[int] = []
    matches: Callable[[Row], bool] | None = None
    for position, (_, row) in enumerate(read_rows(path, path.name, TableOptions(format_of(path.name)))):
        matches = matches or erased.matcher(row)
        if matches(row):
            found.append(position)
    return found


def _rewrite_lines(path: Path, positions: Sequence[int]) -> None:
    gone = set(positions)
    with whole_file(path, is_durable=True) as partial, path.open("rb") as old, partial.open("xb") as new:
        lines = (line for line in old if line.strip())
        new.writelines(line for position, line in enumerate(lines) if position not in gone)


def _rewrite_delimited(path: Path, positions: Sequence[int]) -> None:
    gone = set(positions)
    rows = read_rows(path, path.name, TableOptions(format_of(path.name)))
    columns = list(next(rows)[1])
    with open_writer(path, columns) as table:
        for row in _kept(path, gone):
            table.write(row)


def _kept(path: Path, gone: Collection[int]) -> Iterator[Row]:
    rows = read_rows(path, path.name, TableOptions(format_of(path.name)))
    return (row for position, (_, row) in enumerate(rows) if position not in gone)


def _rewrite_parquet(path: Path, positions: Sequence[int]) -> None:
    """Through DuckDB alone, so that every column keeps its type."""
    with whole_file(path, is_durable=True) as partial, open_duckdb() as connection:
        connection.execute("CREATE TABLE gone AS SELECT unnest(?::BIGINT[]) AS position", [list(positions)])
        connection.execute(
            f"COPY (SELECT * EXCLUDE (file_row_number) FROM read_parquet({quoted_text(str(path))}, "  # noqa: S608
            "file_row_number = true) WHERE file_row_number NOT IN (SELECT position FROM gone)) "
            f"TO {quoted_text(str(partial))} (FORMAT parquet, COMPRESSION zstd)"
        )


_WRITERS: Mapping[str, Callable[[Path, Sequence[int]], None]] = {
    "jsonl": _rewrite_lines,
    "csv": _rewrite_delimited,
    "tsv": _rewrite_delimited,
    "parquet": _rewrite_parquet,
}
