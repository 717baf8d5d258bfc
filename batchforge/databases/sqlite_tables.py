"""Rows into a table of a SQLite file, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from batchforge.connection import Connection
from batchforge.databases.sqlite_file import told
from batchforge.databases.table_plan import TableColumn, TableWrite, adapted, columns_to_write, not_there
from batchforge.databases.table_statements import (
    STAGE,
    bad_keys,
    create_stage,
    create_table,
    keys_refused,
    listed,
    moves,
    some_row,
)
from batchforge.tables.duck import quoted_name

_TYPES = {"VARCHAR": "TEXT", "DOUBLE": "REAL", "FLOAT": "REAL", "BLOB": "BLOB", "BOOLEAN": "BOOLEAN"}
_INTEGERS = ("BIGINT", "INTEGER", "SMALLINT")


def check_table(connection: Connection, write: TableWrite, file: Path) -> None:
    if not file.is_file() and write.create:
        return
    with told(connection), closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        there = _columns(database, write)
        if there or not write.create:
            _checked(write, there)


def count_some(connection: Connection, write: TableWrite, file: Path) -> int | None:
    """None where there is no table, 0 where it is empty."""
    if not file.is_file():
        return None
    with told(connection), closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        return len(database.execute(some_row(write)).fetchall()) if _columns(database, write) else None


def write_table(connection: Connection, write: TableWrite, rows: Iterable[Mapping[str, Any]], file: Path) -> None:
    with (
        told(connection),
        closing(sqlite3.connect(file, timeout=connection.timeout_s, isolation_level=None)) as database,
    ):
        database.execute("BEGIN IMMEDIATE")
        there = _columns(database, write)
        if not there and write.create:
            database.execute(create_table(write, [_type(kind) for kind in write.columns.values()]))
            there = _columns(database, write)
        columns = _checked(write, there)
        names = [column.name for column in columns]
        database.execute(create_stage(write, names))
        _fill(database, columns, rows)
        if write.mode == "upsert" and (found := database.execute(bad_keys(write)).fetchall()):
            raise keys_refused(write, found)
        for statement in moves(write, names):
            database.execute(statement)
        database.execute(f"DROP TABLE {STAGE}")
        database.execute("COMMIT")


def _checked(write: TableWrite, there: Sequence[TableColumn]) -> list[TableColumn]:
    """A column of SQLite holds values of any type."""
    if not there:
        raise not_there(write)
    return columns_to_write(write, there, checks_types=False)


def _columns(database: sqlite3.Connection, write: TableWrite) -> list[TableColumn]:
    *schema, table = write.parts
    of_schema = f"{quoted_name(schema[0])}." if schema else ""
    found = database.execute(f"PRAGMA {of_schema}table_info({quoted_name(table)})").fetchall()
    return [
        TableColumn(name, kind, bool(is_required) and default is None and not (in_key and kind.upper() == "INTEGER"))
        for _, name, kind, is_required, default, in_key in found
    ]


def _fill(database: sqlite3.Connection, columns: Sequence[TableColumn], rows: Iterable[Mapping[str, Any]]) -> None:
    families = [(column.name, _family(column)) for column in columns]
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {STAGE} ({listed([column.name for column in columns])}) VALUES ({marks})"  # noqa: S608
    database.executemany(statement, ([adapted(row.get(name), family) for name, family in families] for row in rows))


def _family(column: TableColumn) -> str:
    """Lists and objects are text; true and false are 1 and 0 wherever they stand."""
    return column.family if column.family in ("json", "bytes") else "other"


def _type(kind: str) -> str:
    if kind in _INTEGERS:
        return "INTEGER"
    return _TYPES.get(kind, "TEXT")
