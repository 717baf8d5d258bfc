"""A SQLite file: opened read-only, with nothing but reading allowed to the statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from batchforge.connection import Connection
from batchforge.databases.snapshot_writing import Column, Written, write_snapshot
from batchforge.errors import BatchForgeError
from batchforge.snapshots.snapshot_inputs import AskedQuery

FETCH_ROWS = 2_000
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


def take_snapshot(connection: Connection, asked: AskedQuery, path: Path, file: Path) -> Written:
    with told(connection), closing(_open_for_reading(connection, file)) as database:
        database.execute("BEGIN")
        database.set_authorizer(_only_reading)
        text = asked.query.with_placeholders(lambda name: f":{name}")
        with closing(database.execute(text, dict(asked.params))) as cursor:
            columns = [Column(name) for name, *_ in cursor.description or ()]
            return write_snapshot(path, columns, _rows(cursor), asked.sorted_by)


def look_at(connection: Connection, file: Path) -> None:
    """
    Raises:
        BatchForgeError: BF238 it is no database, or may not be read.
    """
    with told(connection), closing(_open_for_reading(connection, file)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _open_for_reading(connection: Connection, file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=connection.timeout_s, isolation_level=None)
    database.execute("PRAGMA query_only = ON")
    return database


def _only_reading(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _rows(cursor: sqlite3.Cursor) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(FETCH_ROWS):
        yield from rows


@contextmanager
def told(connection: Connection) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        message = f"the connection `{connection.name}`: {exc}"
        raise BatchForgeError("BF238", message, location=connection.location) from exc
