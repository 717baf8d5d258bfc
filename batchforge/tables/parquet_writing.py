"""Rows -> a Parquet file: spooled as JSON lines while they come, since their types are known only at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchforge.errors import BatchForgeError
from batchforge.tables.column_kinds import NULL, common_kind, kind_of, sql_type
from batchforge.tables.duck import open_duckdb, quoted_name, quoted_text
from batchforge.tables.json_text import encode_json

ROW_GROUP_BYTES = 32 * 1024 * 1024
"""DuckDB holds a row group while it writes one."""
MIN_ROW_GROUP_ROWS, MAX_ROW_GROUP_ROWS = 2048, 122_880


class ParquetWriter:
    def __init__(self, path: Path, columns: Sequence[str], kinds: Mapping[str, str]) -> None:
        self._path = path
        self._columns = columns
        self._kinds = [kinds.get(column, NULL) for column in columns]
        self._spool_path = path.with_name(path.name + ".rows")
        self._spool = os.fdopen(os.open(self._spool_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._rows = 0
        self._longest_bytes = 0

    def write(self, values: Mapping[str, Any]) -> None:
        cells = {}
        for index, column in enumerate(self._columns):
            value = values.get(column)
            if value is not None:
                self._kinds[index] = common_kind(self._kinds[index], kind_of(value))
                cells[f"c{index}"] = value
        line = encode_json(cells) + b"\n"
        self._rows += 1
        self._longest_bytes = max(self._longest_bytes, len(line))
        self._spool.write(line)

    def finish(self) -> None:
        size_bytes = self._spool.tell()
        self._spool.close()
        import duckdb

        with open_duckdb() as connection:
            try:
                connection.execute(self._copy_statement(size_bytes))
            except duckdb.Error as exc:
                raise OSError(str(exc).splitlines()[0]) from exc

    def close(self) -> None:
        try:
            self._spool.close()
        finally:
            self._spool_path.unlink(missing_ok=True)

    def _copy_statement(self, size_bytes: int) -> str:
        types = ", ".join(f"c{index}: {quoted_text(sql_type(kind))}" for index, kind in enumerate(self._kinds))
        names = ", ".join(f"c{index} AS {quoted_name(column)}" for index, column in enumerate(self._columns))
        rows_per_group = ROW_GROUP_BYTES * self._rows // max(size_bytes, 1)
        group_rows = min(max(rows_per_group, MIN_ROW_GROUP_ROWS), MAX_ROW_GROUP_ROWS)
        spool = (
            f"read_json({quoted_text(str(self._spool_path))}, format = 'newline_delimited', columns = {{{types}}}, "
            f"maximum_object_size = {max(self._longest_bytes * 2, 16 << 20)})"
        )
        return (
            f"COPY (SELECT {names} FROM {spool}) TO {quoted_text(str(self._path))} "  # noqa: S608
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group_rows})"
        )


def check_parquet_columns(columns: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        twin = seen.setdefault(column.lower(), column)
        if twin != column:
            message = f"the columns '{twin}' and '{column}' differ only in case, which a Parquet output cannot hold"
            hint = "Leave one out with `output: {columns: [...]}`, or write JSONL or CSV."
            raise BatchForgeError("BF704", message, hint=hint)
