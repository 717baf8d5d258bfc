"""Rows into a table of a DuckDB file, in one transaction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from batchforge.connection import Connection
from batchforge.databases.table_plan import TableColumn, TableWrite, adapted, columns_to_write, not_there
from batchforge.databases.table_statements import (
    STAGE,
    bad_keys,
    create_stage,
    create_table,
    keys_refused,
    moves,
    some_row,
)
from batchforge.errors import BatchForgeError
from batchforge.tables.duck import quoted_text

if TYPE_CHECKING:
    import duckdb


def check_table(connection: Connection, write: TableWrite, file: Path) -> None:
    if not file.is_file() and write.create:
        return
    with _opened(connection, file, read_only=True) as database:
        there = _columns(database, write)
        if there or not write.create:
            _checked(write, there)


def count_some(connection: Connection, write: TableWrite, file: Path) -> int | None:
    """None where there is no table, 0 where it is empty."""
    if not file.is_file():
        return None
    with _opened(connection, file, read_only=True) as database:
        return len(database.execute(some_row(write)).fetchall()) if _columns(database, write) else None


def write_table(connection: Connection, write: TableWrite, rows: Iterable[Mapping[str, Any]], file: Path) -> None:
    with _opened(connection, file, read_only=False) as database:
        database.execute("BEGIN")
        there = _columns(database, write)
        if not there and write.create:
            database.execute(create_table(write, list(write.columns.values())))
            there = _columns(database, write)
        columns = _checked(write, there)
        names = [column.name for column in columns]
        database.execute(create_stage(write, names))
        _fill(database, columns, rows, file)
        if write.mode == "upsert" and (found := database.execute(bad_keys(write)).fetchall()):
            raise keys_refused(write, found)
        for statement in moves(write, names):
            database.execute(statement)
        database.execute("COMMIT")


@contextmanager
def _opened(connection: Connection, file: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    try:
        database = duckdb.connect(str(file), read_only=read_only)
        try:
            database.execute("SET enable_progress_bar = false")
            database.execute("SET TimeZone = 'UTC'")
            yield database
        finally:
            database.close()
    except duckdb.Error as exc:
        message = f"the connection `{connection.name}`: {str(exc).splitlines()[0]}"
        raise BatchForgeError("BF238", message, location=connection.location) from exc


def _checked(write: TableWrite, there: Sequence[TableColumn]) -> list[TableColumn]:
    if not there:
        raise not_there(write)
    return columns_to_write(write, there)


def _columns(database: duckdb.DuckDBPyConnection, write: TableWrite) -> list[TableColumn]:
    *schema, table = write.parts
    found = database.execute(
        "SELECT column_name, data_type, NOT is_nullable AND column_default IS NULL FROM duckdb_columns() "
        "WHERE table_name = ? AND schema_name = ? AND database_name = current_database() ORDER BY column_index",
        [table, schema[0] if schema else "main"],
    ).fetchall()
    return [TableColumn(*row) for row in found]


def _fill(
    database: duckdb.DuckDBPyConnection, columns: Sequence[TableColumn], rows: Iterable[Mapping[str, Any]], file: Path
) -> None:
    """By a private file of JSON lines: row by row would take a hundred times as long."""
    spool = file.with_name(f".{file.name}.{os.getpid()}.rows")
    encode = msgspec.json.Encoder().encode
    families = [(f"c{index}", column.name, column.family) for index, column in enumerate(columns)]
    longest = 0
    try:
        with os.fdopen(os.open(spool, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as lines:
            for row in rows:
                line = encode({cell: _spooled(row.get(name), family) for cell, name, family in families}) + b"\n"
                longest = max(longest, len(line))
                lines.write(line)
        types = ", ".join(f"c{index}: {quoted_text(_read_as(column))}" for index, column in enumerate(columns))
        cells = ", ".join(
            f"from_base64(c{index})" if column.family == "bytes" else f"c{index}"
            for index, column in enumerate(columns)
        )
        database.execute(
            f"INSERT INTO {STAGE} SELECT {cells} FROM read_json({quoted_text(str(spool))}, "  # noqa: S608
            f"format = 'newline_delimited', columns = {{{types}}}, maximum_object_size = {max(longest * 2, 16 << 20)})"
        )
    finally:
        spool.unlink(missing_ok=True)


def _spooled(value: Any, family: str) -> Any:
    return value if family in ("json", "bytes") else adapted(value, family)


def _read_as(column: TableColumn) -> str:
    return "VARCHAR" if column.family == "bytes" else column.type
