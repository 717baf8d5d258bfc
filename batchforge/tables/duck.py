"""A private DuckDB for one file: one thread, so that equal rows give equal bytes; never the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@contextmanager
def open_duckdb() -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": "1",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        # It would draw on stdout, which is the command's own.
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
