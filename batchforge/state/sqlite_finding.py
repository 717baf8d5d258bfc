"""What people look up in an SQLite state: one request, one row's past, whose an id is."""

from __future__ import annotations

from batchforge.state.sqlite_file import SqliteFile


class SqliteFinding(SqliteFile):
    """Reads only, and in no hurry: it may look through whole tables."""
