"""The emulator's memory: one SQLite file, a folder of bodies beside it. Survives kill -9; processes may share it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    traits TEXT NOT NULL,
    requests INTEGER NOT NULL,
    created_at REAL NOT NULL,
    listed_at REAL NOT NULL,
    cancel_initiated_at REAL,
    decided INTEGER NOT NULL DEFAULT 0,
    results_bytes INTEGER NOT NULL DEFAULT 0,
    succeeded INTEGER NOT NULL DEFAULT 0,
    errored INTEGER NOT NULL DEFAULT 0,
    canceled INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    others INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS requests (
    batch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    first_byte INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (batch, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_custom_id ON requests (custom_id);
CREATE TABLE IF NOT EXISTS outcomes (
    batch INTEGER,
    custom_id TEXT,
    kind TEXT NOT NULL,
    model TEXT,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_5m_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    billed INTEGER NOT NULL DEFAULT 0,
    billed_usd REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS cache_entries (
    prefix BLOB PRIMARY KEY,
    ttl_s INTEGER NOT NULL,
    readable_from_s REAL NOT NULL,
    expires_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS received (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    headers TEXT NOT NULL,
    body TEXT,
    body_bytes INTEGER NOT NULL,
    status INTEGER,
    request_id TEXT NOT NULL,
    fault TEXT
);
CREATE TABLE IF NOT EXISTS minutes (
    workspace TEXT NOT NULL, endpoint TEXT NOT NULL, minute INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (workspace, endpoint, minute)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    filename TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL
);
CREATE TABLE IF NOT EXISTS faults (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT UNIQUE,
    fault TEXT NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0,
    fired INTEGER NOT NULL DEFAULT 0,
    active INTEGER NOT NULL DEFAULT 1
);
"""
TABLES = ("batches", "requests", "outcomes", "cache_entries", "received", "minutes", "files", "faults")
BUSY_TIMEOUT_S = 60.0


class StoreClosed(Exception):
    """The emulator was stopped while somebody still asked."""


class Store:
    """One connection, used by one thread at a time; transactions are short, bodies lie in files."""

    def __init__(self, database: Path) -> None:
        self.bodies = database.with_name(database.name + ".bodies")
        self.bodies.mkdir(mode=0o700, parents=True, exist_ok=True)
        database.touch(mode=0o600)
        self._lock = threading.RLock()
        self._is_closed = False
        self._connection = sqlite3.connect(
            database, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing in this mode; only a machine that loses power could.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._create()

    def _create(self) -> None:
        with self.transaction():
            for statement in SCHEMA.split(";"):
                self._connection.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._is_closed:
                raise StoreClosed
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens or nothing; readers in other processes go on."""
        with self._open() as connection:
            if connection.in_transaction:
                yield
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def execute(self, sql: str, *values: object) -> int:
        """The number of the row that was inserted."""
        with self._open() as connection:
            return connection.execute(sql, values).lastrowid or 0

    def execute_many(self, sql: str, rows: Iterator[tuple[object, ...]] | list[tuple[object, ...]]) -> None:
        with self._open() as connection:
            connection.executemany(sql, rows)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._open() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        with self._open() as connection:
            row: sqlite3.Row | None = connection.execute(sql, values).fetchone()
            return row

    def value(self, sql: str, *values: object) -> Any:
        row = self.row(sql, *values)
        return None if row is None else row[0]

    def fact(self, name: str) -> str | None:
        value: str | None = self.value("SELECT value FROM facts WHERE name = ?", name)
        return value

    def remember(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def fact_or(self, name: str, first: str) -> str:
        """What was remembered under the name; the first one to ask decides, in whatever process."""
        self.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", name, first)
        return self.fact(name) or first

    def reset(self) -> None:
        """Forgets everything but the clock and who it is."""
        with self.transaction():
            for table in TABLES:
                self.execute(f"DELETE FROM {table}")  # noqa: S608  (a constant)
        for body in self.bodies.iterdir():
            body.unlink(missing_ok=True)
