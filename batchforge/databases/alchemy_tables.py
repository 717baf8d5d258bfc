"""Rows into a table of any other database, by SQLAlchemy, in one transaction: those of the same keys go first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from batchforge.connection import Connection
from batchforge.databases.alchemy import open_engine, told
from batchforge.databases.table_plan import DELIVERY, TableColumn, TableWrite, adapted, columns_to_write, not_there
from batchforge.databases.table_statements import keys_refused
from batchforge.spill import SpillCounter

if TYPE_CHECKING:
    import sqlalchemy

ROWS_AT_ONCE = 500
_KEY_LENGTH = 255
"""Some databases take no text of any length as a key."""


def check_table(connection: Connection, write: TableWrite) -> None:
    engine, url = open_engine(connection)
    with told(url, connection), engine.connect() as database:
        there = _columns(database, write)
        if there or not write.create:
            _checked(write, there)


def count_some(connection: Connection, write: TableWrite) -> int | None:
    """None where there is no table, 0 where it is empty."""
    import sqlalchemy

    engine, url = open_engine(connection)
    with told(url, connection), engine.connect() as database:
        if not _columns(database, write):
            return None
        some = sqlalchemy.select(sqlalchemy.literal(1)).select_from(_table(write, [])).limit(1)
        return len(database.execute(some).fetchall())


def write_table(connection: Connection, write: TableWrite, rows: Iterable[Mapping[str, Any]]) -> None:
    engine, url = open_engine(connection)
    with told(url, connection), engine.begin() as database:
        there = _columns(database, write)
        if not there and write.create:
            _make(database, write)
            there = _columns(database, write)
        columns = _checked(write, there)
        table = _table(write, [column.name for column in columns])
        _remove_before(database, write, table)
        with SpillCounter() as seen:
            for some in _batches(rows, columns):
                if write.mode == "upsert":
                    _remove_same(database, write, table, some, seen)
                database.execute(table.insert(), some)


def _checked(write: TableWrite, there: Sequence[TableColumn]) -> list[TableColumn]:
    if not there:
        raise not_there(write)
    return columns_to_write(write, there)


def _columns(database: sqlalchemy.Connection, write: TableWrite) -> list[TableColumn]:
    import sqlalchemy

    inspector = sqlalchemy.inspect(database)
    *schema, name = write.parts
    if not inspector.has_table(name, schema=schema[0] if schema else None):
        return []
    return [
        TableColumn(
            column["name"],
            str(column["type"]),
            not column["nullable"] and column.get("default") is None and column.get("autoincrement", False) is not True,
        )
        for column in inspector.get_columns(name, schema=schema[0] if schema else None)
    ]


def _table(write: TableWrite, names: Sequence[str]) -> sqlalchemy.TableClause:
    import sqlalchemy

    *schema, name = write.parts
    return sqlalchemy.table(name, *map(sqlalchemy.column, names), schema=schema[0] if schema else None)


def _make(database: sqlalchemy.Connection, write: TableWrite) -> None:
    import sqlalchemy

    *schema, name = write.parts
    columns = [
        sqlalchemy.Column(
            column, _type(kind, is_key=column in write.key), primary_key=write.mode == "upsert" and column in write.key
        )
        for column, kind in write.columns.items()
    ]
    sqlalchemy.Table(name, sqlalchemy.MetaData(), *columns, schema=schema[0] if schema else None).create(database)


def _type(kind: str, *, is_key: bool) -> Any:
    import sqlalchemy

    types: dict[str, Any] = {
        "BOOLEAN": sqlalchemy.Boolean(),
        "BIGINT": sqlalchemy.BigInteger(),
        "INTEGER": sqlalchemy.Integer(),
        "SMALLINT": sqlalchemy.SmallInteger(),
        "DOUBLE": sqlalchemy.Float(53),
        "FLOAT": sqlalchemy.Float(24),
    }
    return types.get(kind, sqlalchemy.String(_KEY_LENGTH) if is_key else sqlalchemy.Text())


def _remove_before(database: sqlalchemy.Connection, write: TableWrite, table: sqlalchemy.TableClause) -> None:
    if write.mode == "replace":
        database.execute(table.delete())
    elif write.mode == "append":
        database.execute(table.delete().where(table.c[DELIVERY] == write.delivery))


def _remove_same(
    database: sqlalchemy.Connection,
    write: TableWrite,
    table: sqlalchemy.TableClause,
    rows: Sequence[Mapping[str, Any]],
    seen: SpillCounter,
) -> None:
    import sqlalchemy

    keys = [tuple(row[name] for name in write.key) for row in rows]
    bad = [key for key in keys if None in key or seen.add(repr(key).encode())]
    if bad:
        raise keys_refused(write, bad[:3])
    same = [sqlalchemy.and_(*(table.c[name] == row[name] for name in write.key)) for row in rows]
    database.execute(table.delete().where(sqlalchemy.or_(*same)))


def _batches(rows: Iterable[Mapping[str, Any]], columns: Sequence[TableColumn]) -> Iterator[list[dict[str, Any]]]:
    families = [(column.name, _family(column)) for column in columns]
    adapting = ({name: adapted(row.get(name), family) for name, family in families} for row in rows)
    while some := list(islice(adapting, ROWS_AT_ONCE)):
        yield some


def _family(column: TableColumn) -> str:
    """Lists go as JSON: few databases have lists."""
    return "json" if column.family == "list" else column.family
