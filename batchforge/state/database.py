"""The seam beneath the statements of state: what SQLite and PostgreSQL do alike, so that one set of SQL serves both.

Statements are written with `?` and in the words that both take; ids are given, never drawn by the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

Values = Sequence[Any]


class Conflict(Exception):
    """A row with this key is there already. The transaction is to be given up."""


class Database(Protocol):
    """Safe to use from several threads. At most one transaction writes at a time, over all processes; readers read on.

    What goes wrong is a StateError or StateLocked, but for `Conflict`.
    """

    @property
    def url(self) -> str:
        """For people: without a password."""
        ...

    def now(self) -> datetime:
        """By a clock that all who use the database share, as far as there is one."""
        ...

    def one(self, sql: str, values: Values = ()) -> Any:
        """The first row, or None."""
        ...

    def all(self, sql: str, values: Values = ()) -> list[Any]: ...

    def stream(self, sql: str, values: Values = ()) -> Iterator[Any]:
        """Rows in steps, so that memory stays flat and others can go on between them."""
        ...

    def among(self, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
        """The condition that a column is one of some values of one type, as it stands behind the column's name, and
        what is bound to it."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All that is done in the block, durable at its end, or nothing of it. The others wait meanwhile."""
        ...

    def execute(self, sql: str, values: Values = ()) -> None:
        """Change something, within a transaction."""
        ...

    def insert_many(self, table: str, columns: str, rows: Iterable[Values], *, skips_known: bool = False) -> None:
        """Insert rows, within a transaction.

        Raises:
            Conflict: one of them is there already, unless those are to be left as they are.
        """
        ...

    def scratch_table(self, name: str, columns: str, fill: str, rows: Iterable[Values]) -> AbstractContextManager[None]:
        """A table that nobody else sees, for as long as the block runs, filled by an INSERT for each of some values."""
        ...

    def schema_version(self) -> int: ...

    def size_bytes(self) -> int: ...

    def damage(self) -> list[str]:
        """What is wrong with its tables, as far as the database can tell by itself."""
        ...

    def compact(self) -> bool:
        """Give room back, and leave nothing of what was deleted. False where a reader of older rows is in the way."""
        ...

    def close(self) -> None: ...
