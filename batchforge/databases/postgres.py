"""PostgreSQL by psycopg: a server-side cursor in a read-only transaction; values as the server writes them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchforge.connection import Connection, DatabaseUrl
from batchforge.databases.snapshot_writing import Column, Written, write_snapshot
from batchforge.errors import BatchForgeError
from batchforge.snapshots.snapshot_inputs import AskedQuery

if TYPE_CHECKING:
    import psycopg

FETCH_ROWS = 2_000
_MOST_CONNECT_S = 60
_MOST_DECIMAL_DIGITS = 38
_TYPES = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "oid": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "json": "JSON",
    "jsonb": "JSON",
    "bytea": "BLOB",
    "uuid": "UUID",
}
"""Others, such as interval and enums, are text."""
_AS_TEXT = ("numeric", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "uuid")


def take_snapshot(connection: Connection, asked: AskedQuery, path: Path) -> Written:
    psycopg = driver(connection)
    url = connection.resolve()
    with told(url, connection), closing(connect(connection, url)) as database:
        _register_texts(database)
        database.isolation_level, database.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        with _Patience(database, connection.timeout_s) as patience, closing(_open_cursor(database, asked)) as cursor:
            columns = [_column(database, item) for item in cursor.description or ()]
            return write_snapshot(path, columns, _rows(cursor, patience), asked.sorted_by)


def _open_cursor(database: psycopg.Connection[Any], asked: AskedQuery) -> psycopg.RawServerCursor[Any]:
    import psycopg

    numbers = {name: number for number, name in enumerate(asked.query.names, 1)}
    text = asked.query.with_placeholders(lambda name: f"${numbers[name]}")
    cursor = psycopg.RawServerCursor(database, "batchforge")
    cursor.itersize = FETCH_ROWS
    try:
        cursor.execute(text.encode(), [_bindable(asked.params[name]) for name in numbers])
    except BaseException:
        cursor.close()
        raise
    return cursor


def _bindable(value: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(value) if isinstance(value, Mapping) else value


def _rows(cursor: psycopg.RawServerCursor[Any], patience: _Patience) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(FETCH_ROWS):
        patience.renew()
        yield from rows


def _column(database: psycopg.Connection[Any], item: psycopg.Column) -> Column:
    if item.type_code == database.adapters.types["numeric"].oid:
        is_exact = item.precision is not None and item.precision <= _MOST_DECIMAL_DIGITS
        fits = is_exact and item.scale is not None and 0 <= item.scale <= (item.precision or 0)
        return Column(item.name, f"DECIMAL({item.precision}, {item.scale})" if fits else "VARCHAR")
    found = database.adapters.types.get(item.type_code)
    if found is None:
        return Column(item.name, "VARCHAR")
    kind = _TYPES.get(found.name, "VARCHAR")
    return Column(item.name, f"{kind}[]" if item.type_code == found.array_oid else kind)


def _register_texts(database: psycopg.Connection[Any]) -> None:
    """Numbers with a fraction, and times, as the server writes them: Python's own types lose some of their values."""
    from psycopg.types.string import TextLoader

    for name in _AS_TEXT:
        database.adapters.register_loader(name, TextLoader)


class _Patience:
    """Closes the socket where nothing has come for so long: a server that hangs is not waited for without end."""

    def __init__(self, database: psycopg.Connection[Any], timeout_s: float) -> None:
        self._descriptor = os.dup(database.pgconn.socket)
        self._timeout_s = timeout_s
        self._timer: threading.Timer | None = None

    def __enter__(self) -> _Patience:
        self.renew()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        os.close(self._descriptor)

    def renew(self) -> None:
        self._stop()
        self._timer = threading.Timer(self._timeout_s, self._shut)
        self._timer.daemon = True
        self._timer.start()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _shut(self) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as shared:
            shared.shutdown(socket.SHUT_RDWR)


def driver(connection: Connection) -> Any:
    try:
        import psycopg
    except ImportError as exc:
        raise BatchForgeError(
            "BF237",
            f"the connection `{connection.name}` needs psycopg, which is not installed",
            hint="pip install 'batchforge[postgres]'",
            location=connection.location,
        ) from exc
    return psycopg


def connect(connection: Connection, url: DatabaseUrl) -> psycopg.Connection[Any]:
    import psycopg

    text = url.text.replace("postgresql+psycopg://", "postgresql://", 1)
    given: dict[str, Any] = {"password": url.password} if url.password else {}
    timeout_s = max(2, round(min(connection.timeout_s, _MOST_CONNECT_S)))
    database = psycopg.connect(text, connect_timeout=timeout_s, application_name="batchforge", **given)
    database.execute(
        f"SET statement_timeout = {round(connection.timeout_s * 1000)}; SET client_encoding = 'UTF8'; "
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1"
    )
    database.commit()
    return database


@contextmanager
def told(url: DatabaseUrl, connection: Connection) -> Iterator[None]:
    """The server's word as an error of the user's project, without any secret."""
    import psycopg

    try:
        yield
    except psycopg.Error as exc:
        reason = url.without_secrets(str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__)
        raise BatchForgeError(
            "BF238", f"the connection `{connection.name}`: {reason}", location=connection.location
        ) from None
