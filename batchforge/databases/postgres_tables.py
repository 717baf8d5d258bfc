"""Rows into a table of PostgreSQL: copied into a private table, moved from there in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from batchforge.connection import Connection
from batchforge.databases.postgres import connect, driver, told
from batchforge.databases.table_plan import TableColumn, TableWrite, adapted, columns_to_write, not_there
from batchforge.databases.table_statements import (
    STAGE,
    bad_keys,
    create_stage,
    create_table,
    keys_refused,
    listed,
    moves,
    quoted_table,
    some_row,
)

if TYPE_CHECKING:
    import psycopg

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_TYPES = {
    "VARCHAR": "text",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "JSON": "jsonb",
    "BLOB": "bytea",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "HUGEINT": "numeric(38, 0)",
}
_OWN = frozenset(
    {"BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID"}
)


def check_table(connection: Connection, write: TableWrite) -> None:
    """
    Raises:
        BatchForgeError: BF706 it is not there, BF707 it is another one, BF238 the server refuses.
    """
    url = connection.resolve()
    driver(connection)
    with told(url, connection), closing(connect(connection, url)) as database:
        there = _columns(database, write)
        if there or not write.create:
            _checked(write, there)


def count_some(connection: Connection, write: TableWrite) -> int | None:
    """None where there is no table, 0 where it is empty."""
    url = connection.resolve()
    driver(connection)
    with told(url, connection), closing(connect(connection, url)) as database:
        return len(database.execute(some_row(write).encode()).fetchall()) if _columns(database, write) else None


def write_table(connection: Connection, write: TableWrite, rows: Iterable[Mapping[str, Any]]) -> None:
    url = connection.resolve()
    driver(connection)
    with told(url, connection), closing(connect(connection, url)) as database, database.transaction():
        there = _columns(database, write)
        if not there and write.create:
            _execute(database, create_table(write, [_type(kind) for kind in write.columns.values()]))
            there = _columns(database, write)
        columns = _checked(write, there)
        if write.mode != "upsert":  # readers go on; another writer waits, so that it does not double the rows
            _execute(database, f"LOCK TABLE {quoted_table(write)} IN EXCLUSIVE MODE")
        names = [column.name for column in columns]
        _execute(database, create_stage(write, names))
        _copy(database, columns, rows)
        if write.mode == "upsert" and (found := database.execute(bad_keys(write).encode()).fetchall()):
            raise keys_refused(write, found)
        for statement in moves(write, names):
            _execute(database, statement)
        _execute(database, f"DROP TABLE {STAGE}")


def _checked(write: TableWrite, there: Sequence[TableColumn]) -> list[TableColumn]:
    if not there:
        raise not_there(write)
    return columns_to_write(write, there)


def _columns(database: psycopg.Connection[Any], write: TableWrite) -> list[TableColumn]:
    found = database.execute(_COLUMNS, [quoted_table(write)]).fetchall()
    return [TableColumn(*row) for row in found]


def _copy(database: psycopg.Connection[Any], columns: Sequence[TableColumn], rows: Iterable[Mapping[str, Any]]) -> None:
    families = [(column.name, column.family) for column in columns]
    statement = f"COPY {STAGE} ({listed([column.name for column in columns])}) FROM STDIN"
    with database.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row([adapted(row.get(name), family) for name, family in families])


def _execute(database: psycopg.Connection[Any], statement: str) -> None:
    database.execute(statement.encode())


def _type(kind: str) -> str:
    if kind.endswith("[]"):
        return f"{_type(kind.removesuffix('[]'))}[]"
    return _TYPES.get(kind, kind if kind.split("(")[0] in _OWN else "text")
