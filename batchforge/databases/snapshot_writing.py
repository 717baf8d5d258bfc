"""Rows of a database -> a Parquet file with the database's own types, sorted where the query gives no order."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from batchforge.databases.spool_order import SpoolOrder
from batchforge.errors import BatchForgeError
from batchforge.tables.column_kinds import JSON, NULL, common_kind, kind_of, sql_type
from batchforge.tables.duck import open_duckdb, quoted_name, quoted_text
from batchforge.tables.json_text import encode_json

ROW_GROUP_BYTES = 4 * 1024 * 1024
MIN_ROW_GROUP_ROWS, MAX_ROW_GROUP_ROWS = 2048, 122_880
LITTLE_MEMORY_BYTES, MEMORY_BYTES = 64 * 1024 * 1024, 256 * 1024 * 1024
"""What writing is tried with, and what it may take where rows are large; the rest is spilled beside the file."""
_EXACT_KINDS = {"date": "DATE", "timestamp": "TIMESTAMP", "instant": "TIMESTAMPTZ", "time": "TIME"}


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str | None = None
    """In DuckDB's words. None: found out from the values."""


@dataclass(frozen=True, slots=True)
class Written:
    rows: int
    columns: dict[str, str]
    """Column -> type, in DuckDB's words."""


def write_snapshot(
    path: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]], sorted_by: Sequence[str]
) -> Written:
    """The file is there when this returns, and is not when it raises."""
    check_columns([column.name for column in columns], sorted_by)
    spool, in_order = path.with_name(f"{path.name}.rows"), path.with_name(f"{path.name}.sorted")
    try:
        spooled = _Spool(columns)
        if sorted_by:
            _write_sorted(spool, in_order, spooled, rows, sorted_by)
        else:
            _write_lines(in_order, spooled, rows)
        _write_parquet(path, in_order, spooled)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        spool.unlink(missing_ok=True)
        in_order.unlink(missing_ok=True)
    return Written(spooled.rows, dict(zip((column.name for column in columns), spooled.types(), strict=True)))


def _write_lines(to: Path, spooled: _Spool, rows: Iterable[Sequence[Any]]) -> None:
    with _private_file(to) as file:
        for row in rows:
            file.write(spooled.line(row))


def _write_sorted(
    spool: Path, to: Path, spooled: _Spool, rows: Iterable[Sequence[Any]], sorted_by: Sequence[str]
) -> None:
    places = [spooled.column_names.index(name) for name in sorted_by]
    kinds = [spooled.known_types[place] for place in places]
    with SpoolOrder(spool.with_name(f"{spool.name}.order"), kinds) as order:
        with _private_file(spool) as file:
            for row in rows:
                start, line = spooled.size_bytes, spooled.line(row)
                file.write(line)
                order.add([spooled.cells.get(f"c{place}") for place in places], start, len(line))
        with spool.open("rb") as file, _private_file(to) as sorted_file:
            for start, size_bytes in order.places():
                file.seek(start)
                sorted_file.write(file.read(size_bytes))


def check_columns(names: Sequence[str], needed: Sequence[str]) -> None:
    """
    Raises:
        BatchForgeError: BF235 two columns have one name, or a key column is not there.
    """
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen or not name:
            what = f"two columns that are called '{name}'" if name else "a column without a name"
            hint = "Give each a name of its own: SELECT a.id AS customer_id, b.id AS order_id …"
            raise BatchForgeError("BF235", f"the query gives {what}", hint=hint)
        seen.add(name.lower())
    for name in needed:
        if name not in names:
            hint = f"The query gives {', '.join(names)}."
            raise BatchForgeError("BF210", f"the query has no column '{name}', which `key:` names", hint=hint)


class _Spool:
    """Rows as lines of JSON, whose types are known when the last one is written."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.rows = self.size_bytes = self.longest_bytes = 0
        self.cells: dict[str, Any] = {}
        """Of the last line."""
        self.column_names = [column.name for column in columns]
        self._fixed = [column.type for column in columns]
        self._kinds = [NULL] * len(columns)
        self._names = [f"c{index}" for index in range(len(columns))]
        self._convert = [_converter(column.type) for column in columns]

    def line(self, row: Sequence[Any]) -> bytes:
        cells: dict[str, Any] = {}
        for index, value in enumerate(row):
            if value is None:
                continue
            convert = self._convert[index]
            if convert is None:
                value, kind = _as_json(value)
                self._kinds[index] = common_kind(self._kinds[index], kind)
            else:
                value = convert(value)
                if isinstance(value, list) and any(isinstance(item, list) for item in value):
                    self._fixed[index] = "JSON"
            cells[self._names[index]] = value
        line = _encoded(cells) + b"\n"
        self.cells = cells
        self.rows += 1
        self.size_bytes += len(line)
        self.longest_bytes = max(self.longest_bytes, len(line))
        return line

    @property
    def known_types(self) -> list[str | None]:
        """Before the last line."""
        return self._fixed

    def types(self) -> list[str]:
        return [
            fixed or _EXACT_KINDS.get(kind) or sql_type(kind)
            for fixed, kind in zip(self._fixed, self._kinds, strict=True)
        ]


def _encoded(cells: dict[str, Any]) -> bytes:
    try:
        return _encode(cells)
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError):
        return encode_json(cells)


_encode = msgspec.json.Encoder().encode


def _converter(kind: str | None) -> Callable[[Any], Any] | None:
    match kind:
        case None:
            return None
        case "BLOB":
            return _base64
        case "JSON":
            return _raw_json
        case "DOUBLE" | "FLOAT":
            return _finite_or_text
    return _same


def _same(value: Any) -> Any:
    return value


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def _raw_json(value: Any) -> Any:
    """JSON text as it stands, in one line; a line end can only be a blank in it."""
    if not isinstance(value, str):
        return value
    return msgspec.Raw(value.replace("\n", " ").replace("\r", " ").encode())


def _finite_or_text(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else _FLOAT_WORDS[str(value)]


_FLOAT_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _as_json(value: Any) -> tuple[Any, str]:
    """What JSON can hold of a driver's value, exactly, and its kind."""
    match value:
        case Decimal() | timedelta() | UUID():
            return str(value), "text"
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat(sep=" "), "instant"
        case datetime():
            return value.isoformat(sep=" "), "timestamp"
        case date():
            return value.isoformat(), "date"
        case time():
            return value.isoformat(), "time" if value.tzinfo is None else "text"
        case bytes() | bytearray() | memoryview():
            return _base64(value), "text"
        case float() if not math.isfinite(value):
            return _finite_or_text(value), "number"
        case list() | tuple():
            items = [_as_json(item)[0] for item in value]
            return items, kind_of(items)
        case dict():
            return {str(name): _as_json(item)[0] for name, item in value.items()}, JSON
        case str() | int() | float() | bool():
            return value, kind_of(value)
    return str(value), "text"


def _private_file(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=1 << 18)


def _write_parquet(path: Path, spool: Path, spooled: _Spool) -> None:
    import duckdb

    statement = _copy_statement(path, spool, spooled)
    with open_duckdb() as connection:
        limit_memory(connection, path.parent, LITTLE_MEMORY_BYTES)
        try:
            try:
                connection.execute(statement)
            except duckdb.OutOfMemoryException:
                limit_memory(connection, path.parent)
                connection.execute(statement)
        except duckdb.Error as exc:
            raise BatchForgeError(
                "BF236",
                f"the rows cannot be written as a snapshot: {str(exc).splitlines()[0]}",
                hint="Cast the column in the query, e.g. to text, if its values are at the edge of their type.",
            ) from exc


def limit_memory(connection: Any, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
    """More than that goes through a private folder, which goes with the connection."""
    connection.execute(f"SET memory_limit = '{memory_bytes // 1024**2}MiB'")
    connection.execute(f"SET temp_directory = {quoted_text(str(folder / f'.{os.getpid()}.spill'))}")
    connection.execute("SET TimeZone = 'UTC'")


def _copy_statement(path: Path, spool: Path, spooled: _Spool) -> str:
    types = spooled.types()
    read_as = [("VARCHAR" if kind == "BLOB" else kind) for kind in types]
    columns = ", ".join(f"c{index}: {quoted_text(kind)}" for index, kind in enumerate(read_as))
    names = ", ".join(
        f"{f'from_base64(c{index})' if kind == 'BLOB' else f'c{index}'} AS {quoted_name(name)}"
        for index, (name, kind) in enumerate(zip(spooled.column_names, types, strict=True))
    )
    source = (
        f"read_json({quoted_text(str(spool))}, format = 'newline_delimited', columns = {{{columns}}}, "
        f"maximum_object_size = {max(spooled.longest_bytes * 2, 1 << 20)})"
    )
    rows_per_group = ROW_GROUP_BYTES * spooled.rows // max(spooled.size_bytes, 1)
    group_rows = min(max(rows_per_group, MIN_ROW_GROUP_ROWS), MAX_ROW_GROUP_ROWS)
    return (
        f"COPY (SELECT {names} FROM {source}) TO {quoted_text(str(path))} "  # noqa: S608
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group_rows})"
    )
