"""An SQLite file as a `Database`: opened, brought up to date, read in steps, changed all or nothing."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchforge.clock import Clock, SystemClock
from batchforge.errors import StateError, StateLocked
from batchforge.state.database import Conflict
from batchforge.state.schema import APPLICATION_ID, MIGRATIONS

_ROWS_PER_STEP = 1_000
_CACHE_KIB = 8 * 1024
"""Indexes are in the order of hashes, so every insertion meets another page; this holds the inner ones."""
_PAGES_PER_CHECKPOINT = 4_000
"""16 MB: a page that several steps change is copied into the file once."""


class SqliteDatabase:
    """Safe to use from several threads and, for reading, while another process writes."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        lock_timeout_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """Opens the file, and unless `read_only` makes it or brings it up to the present schema.

        Raises:
            StateError: BF501 newer schema, BF503 damaged or not ours, BF505 not writable.
            StateLocked: BF502 another process holds it for longer than `lock_timeout_s`.
        """
        self.path = path
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        with self._named_errors():
            self._db = self._connect(read_only, lock_timeout_s)
            self._prepare(read_only)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def now(self) -> datetime:
        return self._clock.now()

    # ---- reading

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        with self._lock, self._named_errors():
            return self._db.execute(sql, values).fetchone()

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._named_errors():
            return self._db.execute(sql, values).fetchall()

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows in steps, so that memory stays flat and the lock is not held between them."""
        with self._named_errors(), closing(self._db.cursor()) as cursor:
            with self._lock:
                cursor.execute(sql, values)
            while True:
                with self._lock:
                    rows = cursor.fetchmany(_ROWS_PER_STEP)
                if not rows:
                    return
                yield from rows

    def among(self, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
        return f"IN ({','.join('?' * len(values))})", tuple(values)

    # ---- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock, self._named_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK") if self._db.in_transaction else None
                raise
            self._db.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._conflicts():
            self._db.execute(sql, values)

    def insert_many(
        self, table: str, columns: str, rows: Iterable[Sequence[Any]], *, skips_known: bool = False
    ) -> None:
        marks = ", ".join("?" for _ in columns.split(", "))
        end = " ON CONFLICT DO NOTHING" if skips_known else ""
        with self._conflicts():
            self._db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks}){end}", rows)

    @contextmanager
    def scratch_table(self, name: str, columns: str, fill: str, rows: Iterable[Sequence[Any]]) -> Iterator[None]:
        with self._lock, self._named_errors():
            self._db.execute(f"CREATE TEMP TABLE {name} ({columns})")
            try:
                for values in rows:
                    self._db.execute(fill, values)
                yield
            finally:
                self._db.execute(f"DROP TABLE temp.{name}")

    # ---- looking after it

    def schema_version(self) -> int:
        return int(self.one("PRAGMA user_version")[0])

    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def damage(self) -> list[str]:
        found = [row[0] for row in self.all("PRAGMA integrity_check(3)")]
        return [] if found == ["ok"] else found

    def compact(self) -> bool:
        """False where another process still reads older pages, which then are in the log until it ends."""
        with self._lock, self._named_errors():
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("VACUUM")
            is_busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not is_busy

    # ---- inside

    def _connect(self, read_only: bool, lock_timeout_s: float) -> sqlite3.Connection:
        if read_only:
            address = f"file:{quote(str(self.path))}?mode=ro{'&immutable=1' if self._cannot_change() else ''}"
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)
            address = f"file:{quote(str(self.path))}"
        return sqlite3.connect(address, uri=True, timeout=lock_timeout_s, isolation_level=None, check_same_thread=False)

    def _cannot_change(self) -> bool:
        """On a read-only disk SQLite cannot make the files that it shares with writers; there can be none."""
        has_log = self.path.with_name(f"{self.path.name}-wal").exists()
        return not has_log and not os.access(self.path.parent, os.W_OK)

    def _prepare(self, read_only: bool) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        version = self.one("PRAGMA user_version")[0]
        marked = self.one("PRAGMA application_id")[0]
        has_tables = self.one("SELECT count(*) FROM sqlite_master")[0] > 0
        if has_tables and marked != APPLICATION_ID:
            raise StateError(
                "BF503",
                f"{self.path} is an SQLite file, but not a BatchForge state",
                hint="Point the target's `state:` at another file.",
            )
        if version > len(MIGRATIONS):
            raise StateError(
                "BF501",
                f"the state {self.path} was written by a newer version of BatchForge (schema {version}; this one "
                f"knows {len(MIGRATIONS)})",
                hint="Upgrade BatchForge: pip install -U batchforge. Nothing was changed.",
            )
        if not read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_PER_CHECKPOINT}")
            self._migrate(version)
        elif has_tables and version < len(MIGRATIONS):
            self._read_a_copy()
            self._migrate(version)

    def _read_a_copy(self) -> None:
        """A reader changes nothing: of an older state it reads a copy in a temporary file, brought up to date."""
        copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.backup(copy)
        self._db.close()
        self._db = copy

    def _migrate(self, version: int) -> None:
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            with self.transaction():
                if self.one("PRAGMA user_version")[0] >= number:
                    continue  # another process was faster
                for statement in script.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as exc:
            raise _named(exc, self.path) from exc

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as exc:
            raise Conflict(str(exc)) from exc


def _code(exc: sqlite3.DatabaseError) -> int:
    """SQLite's extended result code; 0 for an error of the module itself."""
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code


def _named(exc: sqlite3.DatabaseError, path: Path) -> StateError | StateLocked:
    text = str(exc)
    if "locked" in text or "busy" in text:
        return StateLocked(
            "BF502",
            f"the state {path} is held by another process",
            hint="Wait until it has finished, or run again; nothing was lost.",
        )
    if "full" in text or _code(exc) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StateError("BF504", f"no room on the disk of {path}", hint="Free some space and run again.")
    if "readonly" in text or "unable to open" in text:
        return StateError(
            "BF505", f"the state {path} cannot be opened for writing: {text}", hint="Check its permissions."
        )
    if _code(exc) & 0xFF == sqlite3.SQLITE_IOERR:
        return StateError(
            "BF508",
            f"the disk of the state {path} failed: {text}",
            hint="Check the disk, then run again. Nothing that was paid is lost.",
        )
    return StateError(
        "BF503",
        f"the state {path} is damaged or not a state: {text}",
        hint="Move it away and keep it, with its -wal beside it. `batchforge state recover` reads what was paid in the "
        "last 29 days back from the API; `batchforge state import` takes an export.",
    )
