"""Any other database, by SQLAlchemy: a streaming cursor, in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchforge.connection import Connection, DatabaseUrl
from batchforge.databases.snapshot_writing import Column, Written, write_snapshot
from batchforge.errors import BatchForgeError
from batchforge.snapshots.snapshot_inputs import AskedQuery

if TYPE_CHECKING:
    import sqlalchemy

FETCH_ROWS = 2_000
_READ_ONLY = {
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "postgresql": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}


def take_snapshot(connection: Connection, asked: AskedQuery, path: Path) -> Written:
    engine, url = open_engine(connection)
    with told(url, connection), engine.connect() as database:
        import sqlalchemy

        statement = _READ_ONLY.get(engine.dialect.name)
        if statement:
            database.exec_driver_sql(statement)
        text = sqlalchemy.text(_text(asked))
        streaming = database.execution_options(stream_results=True, yield_per=FETCH_ROWS)
        with streaming.execute(text, dict(asked.params)) as found:
            columns = [Column(name) for name in found.keys()]  # noqa: SIM118 - a method of the result
            written = write_snapshot(path, columns, _rows(found), asked.sorted_by)
        database.rollback()
    return written


def _text(asked: AskedQuery) -> str:
    """SQLAlchemy takes `:name` too, and a backslash before other colons."""
    marked = asked.query.with_placeholders(lambda name: f"\0{name}")
    return marked.replace(":", "\\:").replace("\0", ":")


def _rows(found: sqlalchemy.CursorResult[Any]) -> Iterator[Sequence[Any]]:
    for part in found.partitions():
        yield from part


def open_engine(connection: Connection) -> tuple[sqlalchemy.Engine, DatabaseUrl]:
    try:
        import sqlalchemy
    except ImportError as exc:
        raise _missing(connection, "SQLAlchemy", "pip install 'batchforge[sql]'") from exc
    url = connection.resolve()
    try:
        made = sqlalchemy.make_url(url.text)
        if url.password:
            made = made.set(password=url.password)
        return sqlalchemy.create_engine(made, poolclass=sqlalchemy.pool.NullPool, hide_parameters=True), url
    except ImportError as exc:
        raise _missing(connection, exc.name or "a driver", f"pip install {exc.name}") from exc
    except sqlalchemy.exc.SQLAlchemyError as exc:
        message = f"the connection `{connection.name}`: {url.without_secrets(str(exc))}"
        hint = "Is the dialect's package installed? postgresql, sqlite and duckdb need no SQLAlchemy."
        raise BatchForgeError("BF238", message, location=connection.location, hint=hint) from None


def _missing(connection: Connection, package: str, hint: str) -> BatchForgeError:
    message = f"the connection `{connection.name}` needs {package}, which is not installed"
    return BatchForgeError("BF237", message, location=connection.location, hint=hint)


@contextmanager
def told(url: DatabaseUrl, connection: Connection) -> Iterator[None]:
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as exc:
        reason = str(exc).strip().splitlines()[0]
        with suppress(AttributeError):
            reason = str(exc.orig).strip().splitlines()[0]  # type: ignore[attr-defined]
        message = f"the connection `{connection.name}`: {url.without_secrets(reason)}"
        raise BatchForgeError("BF238", message, location=connection.location) from None
