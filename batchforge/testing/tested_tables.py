"""Rows of outputs -> tables in a private DuckDB that can read nothing else. Rows are held on disk, not in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from batchforge.tables.duck import open_duckdb, quoted_name, quoted_text
from batchforge.tables.parquet_writing import ParquetWriter
from batchforge.whole_file import whole_file

if TYPE_CHECKING:
    import duckdb

ROW_NUMBER = "row#"
"""Our own column, from 0; a name that no JSON key is likely to have, and no user sees."""
_MEMORY = "256MB"
_FETCH_ROWS = 1_000
_FAILURE = "_failure"


@dataclass(frozen=True, slots=True)
class TestedTable:
    """One output as a table."""

    __test__ = False
    name: str
    """Of the view with its rows."""
    types: Mapping[str, str]
    """Column -> DuckDB's type."""
    row_count: int

    @property
    def relation(self) -> str:
        """The view with row numbers."""
        return quoted_name(f"{self.name} {ROW_NUMBER}")

    def rows_where(self, conditions: Sequence[str]) -> str:
        """A query for the rows for which all conditions are true."""
        return f"SELECT * FROM {self.relation} WHERE {' AND '.join(conditions)}"


class TestedTables:
    """The tables of one or more outputs."""

    __test__ = False

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._count = 0

    def add(
        self,
        name: str,
        rows: Iterable[Mapping[str, Any]],
        columns: Sequence[str] = (),
        kinds: Mapping[str, str] | None = None,
    ) -> TestedTable:
        """A table of these rows. `columns` come first, also where there are no rows; `kinds` are as for Parquet.

        Of columns that differ only in case, which SQL cannot tell apart, the later ones get a number: `Text_2`.
        """
        path = self._folder / f"{self._count}.parquet"
        self._count += 1
        count = self._write(path, rows, columns, kinds or {})
        self._connection.execute(
            f"CREATE VIEW {quoted_name(f'{name} {ROW_NUMBER}')} AS SELECT * RENAME (file_row_number AS "
            f"{quoted_name(ROW_NUMBER)}) FROM read_parquet({quoted_text(str(path))}, file_row_number = true)"
        )
        numbered = quoted_name(f"{name} {ROW_NUMBER}")
        excluded = quoted_name(ROW_NUMBER)
        self._connection.execute(f"CREATE VIEW {quoted_name(name)} AS SELECT * EXCLUDE ({excluded}) FROM {numbered}")
        described = self.fetch(f"DESCRIBE {quoted_name(name)}")
        return TestedTable(name, {column: kind for column, kind, *_ in described}, count)

    def _write(
        self, path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], kinds: Mapping[str, str]
    ) -> int:
        names = _Names()
        stream = iter(rows)
        first = next(stream, None)
        given = list(dict.fromkeys([*columns, *(first or ())]))
        writer = ParquetWriter(path, [names.of(column) for column in given] or ["nothing"], kinds)
        count = 0
        try:
            for row in () if first is None else _chained(first, stream):
                writer.write({names.of(column): value for column, value in row.items()})
                count += 1
            writer.finish()
        finally:
            writer.close()
        return count

    # ---- asking

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, list(values)).fetchall()

    def number(self, sql: str) -> Any:
        """The one value of a query."""
        return self.fetch(sql)[0][0]

    def stream(self, sql: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._connection.cursor().execute(sql)
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from rows

    def column_of(self, sql: str, name: str) -> Iterator[Any]:
        """One column of a query's rows."""
        return (value for (value,) in self.stream(f"SELECT {quoted_name(name)} FROM ({sql}\n)"))

    def check(self, sql: str) -> None:
        """Raises duckdb.Error where the query cannot be understood; nothing is worked out."""
        self._connection.execute(f"EXPLAIN {sql}")

    def statements(self, sql: str) -> int:
        """How many statements a text of SQL holds."""
        return len(self._connection.extract_statements(sql))

    def write_rows(self, sql: str, path: Path) -> None:
        """The rows of a query as JSON lines; the file is there only where there are rows."""
        found = self._folder / "found.jsonl"
        self._connection.execute(f"COPY ({sql}) TO {quoted_text(str(found))} (FORMAT json)")
        if found.stat().st_size:
            with found.open("rb") as source, whole_file(path) as partial, partial.open("wb") as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
        found.unlink()


class _Names:
    """Names for columns that differ in more than their case."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._taken: set[str] = {ROW_NUMBER, "file_row_number"}

    def of(self, column: str) -> str:
        known = self._known.get(column)
        if known is None:
            known, number = column, 1
            while known.lower() in self._taken:
                number += 1
                known = f"{column}_{number}"
            self._known[column] = known
            self._taken.add(known.lower())
        return known


def _chained(first: Mapping[str, Any], rest: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield first
    yield from rest


@contextmanager
def open_tables() -> Iterator[TestedTables]:
    with TemporaryDirectory(prefix="batchforge-") as folder, open_duckdb() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {quoted_text(folder + '/spill')}")
        connection.execute(f"SET allowed_directories = [{quoted_text(folder + '/')}]")
        connection.execute("SET TimeZone = 'UTC'")
        # Tests come from pull requests: they read the rows that they test, and nothing else of this machine.
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield TestedTables(connection, Path(folder))


def value_of(cell: Any, kind: str) -> Any:
    """A cell as the JSON value that was put into the table."""
    if cell is None or kind == "VARCHAR":
        return cell
    if kind == "JSON":
        return json.loads(cell)
    return int(cell) if kind.startswith("DECIMAL") else cell
