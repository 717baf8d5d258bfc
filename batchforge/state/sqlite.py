"""State in one SQLite file: WAL, every step durable before it returns, readable while somebody writes."""

from __future__ import annotations

from pathlib import Path

from batchforge.clock import Clock, SystemClock
from batchforge.state.sql_state import SqlState
from batchforge.state.sqlite_database import SqliteDatabase


class SqliteState(SqlState):
    """A `StateStore` in a file. Safe to use from several threads and, for reading, while another process writes."""

    def __init__(
        self, path: Path, *, read_only: bool = False, lock_timeout_s: float = 30.0, clock: Clock | None = None
    ) -> None:
        """Opens the file, and unless `read_only` makes it or brings it up to the present schema.

        Raises:
            StateError: BF501 newer schema, BF503 damaged or not ours, BF505 not writable.
            StateLocked: BF502 another process holds it for longer than `lock_timeout_s`.
        """
        self.path = path
        clock = clock or SystemClock()
        super().__init__(SqliteDatabase(path, read_only=read_only, lock_timeout_s=lock_timeout_s, clock=clock), clock)
