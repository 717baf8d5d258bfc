"""A state's whole contents into another store, table by table, verified by counts and digests."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from batchforge.errors import StateError
from batchforge.state.schema import MIGRATIONS
from batchforge.state.sql_state import SqlState
from batchforge.streams import in_chunks

_ROWS_PER_STEP = 2_000
_NOT_COPIED = frozenset({"leases"})
"""What belongs to a place, and not to what is remembered there."""
_OF_THE_STORE = ("schema",)
"""Entries of `meta` that each store writes for itself."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: str
    order: str
    """Columns by which its rows have one order."""


@dataclass(frozen=True, slots=True)
class CopiedTable:
    name: str
    rows: int
    sha256: str


@cache
def tables() -> tuple[Table, ...]:
    """Of the present schema, as an empty SQLite database tells it."""
    with closing(sqlite3.connect(":memory:")) as db:
        for script in MIGRATIONS:
            db.executescript(script)
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return tuple(_table(db, name) for name in names if name not in _NOT_COPIED)


def _table(db: sqlite3.Connection, name: str) -> Table:
    found = db.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", (name,)).fetchall()
    key = sorted((place, column) for column, place in found if place)
    return Table(name, ", ".join(column for column, _ in found), ", ".join(column for _, column in key))


def copy_state(source: SqlState, destination: SqlState) -> list[CopiedTable]:
    """
    Raises:
        StateError: BF514 the destination holds something already, BF515 what arrived is not what was sent.
    """
    if (held := filled_table(destination)) is not None:
        raise StateError(
            "BF514",
            f"the state {destination.url} is not empty: it has rows in `{held}`",
            hint="Name a place where there is no state yet. Two states are not merged.",
        )
    return [_copied(source, destination, table) for table in tables()]


def _copied(source: SqlState, destination: SqlState, table: Table) -> CopiedTable:
    for rows in in_chunks(_rows(source, table), _ROWS_PER_STEP):
        destination.fill(table.name, table.columns, rows)
    sent, arrived = summed_up(source, table), summed_up(destination, table)
    if sent != arrived:
        raise StateError(
            "BF515",
            f"`{table.name}` of {destination.url} has {arrived.rows:,} rows with another digest than the "
            f"{sent.rows:,} of {source.url}",
            hint="Something wrote to one of them meanwhile. Remove the new state, and migrate again with nobody at "
            "work. The old one is as it was.",
        )
    return arrived


def summed_up(state: SqlState, table: Table) -> CopiedTable:
    digest, count, encode = hashlib.sha256(), 0, msgspec.msgpack.Encoder().encode
    for row in _rows(state, table):
        digest.update(encode(tuple(row)))
        count += 1
    return CopiedTable(table.name, count, digest.hexdigest())


def filled_table(state: SqlState) -> str | None:
    """The first table that has rows; whose answers it is to hold may be written down already."""
    for table in tables():
        if table.name != "meta" and next(iter(_rows(state, table)), None) is not None:
            return table.name
    return None


def _rows(state: SqlState, table: Table) -> Iterator[Any]:
    marks = ", ".join("?" for _ in _OF_THE_STORE)
    where, values = (f"WHERE name NOT IN ({marks}) ", _OF_THE_STORE) if table.name == "meta" else ("", ())
    return state.query(f"SELECT {table.columns} FROM {table.name} {where}ORDER BY {table.order}", values)
