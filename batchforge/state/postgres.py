"""A schema of a PostgreSQL database as a `Database`, through psycopg 3. Needs the extra `postgres`."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from batchforge.errors import StateError, StateLocked
from batchforge.state.database import Conflict
from batchforge.state.postgres_address import PostgresAddress, read_address
from batchforge.state.postgres_text import take_any_text
from batchforge.state.schema import MIGRATIONS

if TYPE_CHECKING:
    import psycopg

_ROWS_PER_STEP = 1_000
_LONGEST_PAUSE_S = 60
"""How long a process may pause within a transaction, before the server ends it and lets the others go on."""
_TYPES = (
    (r"\bWITHOUT ROWID\b", ""),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    # By bytes, as everywhere else: keys are compared with what Python sorts.
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
)
_CONNECTING = {
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "batchforge",
}


class PostgresDatabase:
    """Safe to use from several threads. A lock of the server lets one transaction write at a time."""

    def __init__(self, url: str, *, read_only: bool = False, lock_timeout_s: float = 30.0) -> None:
        """Connects, and unless `read_only` makes the schema or brings it up to date.

        Raises:
            StateError: BF501 newer schema, BF509 cannot be reached, BF510 no such address, BF520 no psycopg.
            StateLocked: BF502 another process writes for longer than `lock_timeout_s`.
        """
        self._address = read_address(url)
        self._read_only, self._lock_timeout_s = read_only, lock_timeout_s
        self._lock = threading.RLock()
        self._in_transaction = False
        self._scratch = 0
        self._idle: list[psycopg.Connection[Any]] = []
        """Connections of streams that have ended."""
        with self._named_errors():
            self._db = self._connect()
        self._prepare()

    @property
    def url(self) -> str:
        return self._address.shown

    def close(self) -> None:
        with self._lock:
            for connection in (self._db, *self._idle):
                connection.close()

    def now(self) -> datetime:
        found: datetime = self.one("SELECT clock_timestamp()")[0]
        return found

    # ---- reading

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        with self._lock, self._named_errors():
            return self._run(_numbered(sql), values).fetchone()

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._named_errors():
            return self._run(_numbered(sql), values).fetchall()

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """On a connection of its own, so that memory stays flat and others go on meanwhile."""
        if self._scratch or self._in_transaction:
            return iter(self.all(sql, values))  # what others do not see yet
        return self._streamed(sql, values)

    def _streamed(self, sql: str, values: Sequence[Any]) -> Iterator[Any]:
        import psycopg

        with self._named_errors():
            connection = self._for_stream()
            try:
                with connection.transaction(), psycopg.RawServerCursor(connection, "streamed") as cursor:
                    cursor.itersize = _ROWS_PER_STEP
                    cursor.execute(_numbered(sql), values)
                    yield from cursor
            finally:
                with self._lock:
                    self._idle.append(connection)

    def among(self, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
        """One value, so that the statement is the same for any number of them and is planned once."""
        return "= ANY(?)", (list(values),)

    # ---- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock, self._named_errors():
            self._run("BEGIN")
            self._in_transaction = True
            try:
                self._db.execute("SELECT pg_advisory_xact_lock($1)", (_lock_number(self._address),))
                yield
                self._commit()
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._in_transaction = False

    def _commit(self) -> None:
        from psycopg.pq import TransactionStatus

        # The server would take the COMMIT of a transaction that has failed for a ROLLBACK, and not say so.
        assert self._db.info.transaction_status is TransactionStatus.INTRANS
        self._db.execute("COMMIT")

    def _roll_back(self) -> None:
        from psycopg import OperationalError

        with suppress(OperationalError):  # a connection that is lost has rolled back
            self._db.execute("ROLLBACK")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._conflicts():
            self._db.execute(_numbered(sql), values)

    def insert_many(
        self, table: str, columns: str, rows: Iterable[Sequence[Any]], *, skips_known: bool = False
    ) -> None:
        if not skips_known:
            self._copy(table, columns, rows)
            return
        self._db.execute(f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0")
        self._copy("incoming", columns, rows)
        self._db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming ON CONFLICT DO NOTHING")
        self._db.execute("DROP TABLE incoming")

    def _copy(self, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        sql = f"COPY {table} ({columns}) FROM STDIN"
        with self._conflicts(), self._db.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def scratch_table(self, name: str, columns: str, fill: str, rows: Iterable[Sequence[Any]]) -> Iterator[None]:
        with self._lock, self._named_errors():
            # A reader's transactions cannot make tables, not even ones that nobody else sees.
            self._writable(f"CREATE TEMP TABLE {name} ({_translated(columns)})")
            self._scratch += 1
            try:
                for values in rows:
                    self._db.execute(_numbered(fill), values)
                yield
            finally:
                self._scratch -= 1
                self._writable(f"DROP TABLE {name}")

    def _writable(self, sql: str) -> None:
        for step in ("BEGIN READ WRITE", sql, "COMMIT"):
            self._run(step)

    # ---- looking after it

    def schema_version(self) -> int:
        if not has_tables(self._db, self._address):
            return 0
        found = self.one("SELECT value FROM meta WHERE name = 'schema'")
        return int(found[0]) if found else 0

    def size_bytes(self) -> int:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'"
        )
        return int(self.one(sql, (self._address.schema,))[0])

    def damage(self) -> list[str]:
        """The server looks after its files by itself; what a connection can see is whether the indexes are usable."""
        sql = (
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ? AND NOT i.indisvalid"
        )
        return [f"the index {row[0]} is not valid" for row in self.all(sql, (self._address.schema,))]

    def compact(self) -> bool:
        """False where a reader holds a table."""
        import psycopg

        sql = "SELECT tablename FROM pg_tables WHERE schemaname = ? ORDER BY tablename"
        with self._lock, self._named_errors():
            for (table,) in self.all(sql, (self._address.schema,)):
                try:
                    self._db.execute(f"VACUUM (FULL) {self._address.schema}.{table}")
                except psycopg.errors.LockNotAvailable:
                    return False
        return True

    # ---- inside

    def _connect(self) -> psycopg.Connection[Any]:
        connection = connect(self._address)
        settings = {
            "search_path": self._address.schema,
            "lock_timeout": f"{int(self._lock_timeout_s * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{_LONGEST_PAUSE_S}s",
            "default_transaction_read_only": "on" if self._read_only else "off",
        }
        for name, value in settings.items():
            connection.execute("SELECT set_config($1, $2, false)", (name, value))
        return connection

    def _run(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """A connection that a long wait has cost is made anew; never within a transaction."""
        from psycopg import OperationalError

        try:
            return self._db.execute(sql, values)
        except OperationalError:
            if self._in_transaction or self._scratch or not self._db.closed:
                raise
        self._db = self._connect()
        return self._db.execute(sql, values)

    def _for_stream(self) -> psycopg.Connection[Any]:
        from psycopg import OperationalError

        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                with suppress(OperationalError):  # it was lost meanwhile
                    connection.execute("SELECT 1")
                    return connection
            return self._connect()

    def _prepare(self) -> None:
        version = self.schema_version()
        if version > len(MIGRATIONS):
            self.close()
            raise StateError(
                "BF501",
                f"the state {self.url} was written by a newer version of BatchForge (schema {version}; this one "
                f"knows {len(MIGRATIONS)})",
                hint="Upgrade BatchForge: pip install -U batchforge. Nothing was changed.",
            )
        if not self._read_only and version < len(MIGRATIONS):
            self._migrate()

    def _migrate(self) -> None:
        with self.transaction():
            self._db.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.schema}")
            for number, script in enumerate(MIGRATIONS, 1):
                if number <= self.schema_version():
                    continue
                for statement in _translated(script).split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(
                    "INSERT INTO meta (name, value) VALUES ('schema', $1) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (str(number),),
                )

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.IntegrityError as exc:
            raise Conflict(str(exc)) from exc

    def _named_errors(self) -> AbstractContextManager[None]:
        return named_errors(self._address)


@contextmanager
def named_errors(address: PostgresAddress) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        if type(exc).__module__.partition(".")[0] == "psycopg":
            raise _named(exc, address.shown) from exc
        raise


def connect(address: PostgresAddress) -> psycopg.Connection[Any]:
    """
    Raises:
        StateError: BF520 psycopg is not installed. psycopg.Error: it cannot be reached.
    """
    try:
        import psycopg
        from psycopg.types.numeric import NumericLoader
    except ImportError as exc:
        raise StateError(
            "BF520",
            "a state in PostgreSQL needs psycopg, which is not installed",
            hint="pip install 'batchforge[postgres]'",
        ) from exc

    class WholeNumbers(NumericLoader):
        """Sums of whole numbers are whole numbers."""

        def load(self, data: Any) -> Any:
            found = super().load(data)
            return int(found) if found == int(found) else float(found)

    parameters = {**_CONNECTING, **address.parameters}
    connection = psycopg.connect(**parameters, autocommit=True, cursor_factory=psycopg.RawCursor)
    connection.adapters.register_loader("numeric", WholeNumbers)
    take_any_text(connection)
    return connection


def has_tables(connection: psycopg.Connection[Any], address: PostgresAddress) -> bool:
    found = connection.execute("SELECT to_regclass($1) IS NOT NULL", (f"{address.schema}.meta",)).fetchone()
    return bool(found and found[0])


def postgres_state_exists(url: str) -> bool:
    """
    Raises:
        StateError: BF509 the database cannot be reached, so nobody knows.
    """
    address = read_address(url)
    with named_errors(address), closing(connect(address)) as connection:
        return has_tables(connection, address)


def _named(exc: Exception, url: str) -> StateError | StateLocked:
    """The error as people can act on it."""
    import psycopg

    if isinstance(exc, psycopg.errors.LockNotAvailable):
        return StateLocked(
            "BF502",
            f"the state {url} is held by another process",
            hint="Wait until it has finished, or run again; nothing was lost.",
        )
    if isinstance(exc, psycopg.errors.DiskFull):
        return StateError("BF504", f"no room on the disk of {url}", hint="Free some space and run again.")
    if isinstance(exc, psycopg.errors.ReadOnlySqlTransaction | psycopg.errors.InsufficientPrivilege):
        return StateError(
            "BF505", f"the state {url} cannot be opened for writing: {_first_line(exc)}", hint="Check its permissions."
        )
    if isinstance(exc, psycopg.OperationalError):
        return StateError(
            "BF509",
            f"the state {url} cannot be reached: {_first_line(exc)}",
            hint="Check the address, the password and the network, then run again. Nothing that was paid is lost.",
        )
    return StateError(
        "BF503",
        f"the state {url} is damaged or not a state: {_first_line(exc)}",
        hint="Is the schema another program's? Name one of its own: ?schema=name at the end of the address.",
    )


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]


def _lock_number(address: PostgresAddress) -> int:
    """Which lock of the database is that of the schema's writers."""
    return 0x42466F31 << 31 | zlib.crc32(address.schema.encode()) >> 1


@lru_cache(maxsize=512)
def _numbered(sql: str) -> str:
    """`?` -> $1, $2, …; no text in our statements holds a question mark."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


def _translated(script: str) -> str:
    for pattern, words in _TYPES:
        script = re.sub(pattern, words, script)
    return script
