"""A database of state as all of its users share it: read by anybody, changed all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from batchforge.clock import Clock, SystemClock, iso
from batchforge.state.database import Database


class SqlReading:
    """Safe to use from several threads and, for reading, while another process writes."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._db = database
        self._clock = clock or SystemClock()

    @property
    def url(self) -> str:
        return self._db.url

    def close(self) -> None:
        self._db.close()

    # ---- for maintenance

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows of a query, in steps."""
        return self._db.stream(sql, values)

    def change(self, *steps: tuple[str, Sequence[Any]]) -> None:
        """Statements, all or nothing."""
        with self._transaction():
            for sql, values in steps:
                self._db.execute(sql, values)
            # What was settled may have rested on what is gone.
            self._db.execute("UPDATE manifests SET settled = NULL")

    def scratch_table(
        self, name: str, columns: str, fill: str, rows: Iterable[Sequence[Any]] = ((),)
    ) -> AbstractContextManager[None]:
        """A table that nobody else sees, for as long as the block runs."""
        return self._db.scratch_table(name, columns, fill, rows)

    def fill(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of another state, all of them or none."""
        with self._transaction():
            self._db.insert_many(table, columns, rows)

    def schema_version(self) -> int:
        return self._db.schema_version()

    def size_bytes(self) -> int:
        return self._db.size_bytes()

    def damage(self) -> list[str]:
        return self._db.damage()

    def compact(self) -> bool:
        """Give room back, and leave nothing of what was deleted. False where another process still reads older rows,
        which then are there until it ends."""
        return self._db.compact()

    # ---- inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db.transaction():
            yield

    def _stamp(self) -> str:
        return iso(self._clock.now())
