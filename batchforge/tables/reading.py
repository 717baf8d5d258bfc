"""Path and options -> the file's rows, each with its number (its line; in Parquet the row)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.delimited import read_delimited
from batchforge.tables.json_files import read_json, read_jsonl
from batchforge.tables.options import TableFormat, TableOptions
from batchforge.tables.parquet_reading import read_parquet

Reader = Callable[[Path, str, TableOptions], Iterator[tuple[int, dict[str, Any]]]]

READERS: dict[TableFormat, Reader] = {
    "csv": read_delimited,
    "tsv": read_delimited,
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
}


def read_rows(path: Path, shown_as: str, options: TableOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    """`shown_as` is the path that errors name: as the user wrote it, not where it lies on this machine."""
    try:
        yield from READERS[options.format](path, shown_as, options)
    except OSError as exc:
        raise BatchForgeError(
            "BF201", f"the file cannot be read: {exc.strerror or exc}", location=Location(shown_as)
        ) from exc
