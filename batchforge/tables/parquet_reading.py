"""A Parquet file -> rows of JSON values, row group by row group, exact where JSON can be.

Integers stay integers, also decimals without a fraction. Decimals with a fraction become exact text, dates and times
ISO 8601 text (instants in UTC), binary values base64 (which is what the API takes), lists, structs and maps lists and
objects. Columns marked as JSON are decoded. NaN and infinite numbers are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchforge.errors import BatchForgeError, Location
from batchforge.tables.duck import open_duckdb, quoted_name
from batchforge.tables.json_text import JsonProblem, decode_json
from batchforge.tables.options import TableOptions

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

FETCH_ROWS = 256
_AS_THEY_ARE = re.compile(r"(u?(tiny|small|big|huge)int|u?integer|double|boolean|varchar|null)")
_GLOB_MARKS = re.compile(r"[*?\[]")


def read_parquet(path: Path, shown_as: str, options: TableOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    import duckdb

    location = Location(shown_as)
    with open_duckdb() as connection:
        try:
            columns = _columns(connection, path)
            cursor = _select(connection, path, columns)
            number = 0
            while rows := cursor.fetchmany(FETCH_ROWS):
                for row in rows:
                    number += 1
                    yield number, _values(columns, row, number, location)
        except duckdb.Error as exc:
            reason = str(exc).splitlines()[0]
            raise BatchForgeError(
                "BF209", f"the file cannot be read as Parquet: {reason}", location=location, hint="Write it anew."
            ) from exc


class _Column:
    """Its name in the file (DuckDB renames names that differ only in case) and how its values are to be taken."""

    def __init__(self, name: str, name_in_duckdb: str, kind: DuckDBPyType) -> None:
        self.name = name
        self.expression = _json_value(quoted_name(name_in_duckdb), kind)
        self.is_json = str(kind) == "JSON"
        self.may_be_infinite = "DOUBLE" in str(kind) or "FLOAT" in str(kind)


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[_Column]:
    schema = connection.execute("SELECT name, num_children FROM parquet_schema(?)", [_literal(path)]).fetchall()
    description = connection.execute("SELECT * FROM read_parquet(?) LIMIT 0", [_literal(path)]).description or []
    return [
        _Column(name, in_duckdb, kind)
        for name, (in_duckdb, kind, *_) in zip(_top_names(schema), description, strict=True)
    ]


def _literal(path: Path) -> str:
    """read_parquet takes globs; a path that holds their marks is meant as it stands."""
    return _GLOB_MARKS.sub(lambda mark: f"[{mark.group()}]", str(path))


def _top_names(schema: list[tuple[str, int | None]]) -> list[str]:
    """The schema lists its tree depth first, from the root."""
    names = []
    at = 1
    while at < len(schema):
        names.append(schema[at][0])
        at = _after(schema, at)
    return names


def _after(schema: list[tuple[str, int | None]], at: int) -> int:
    children = schema[at][1] or 0
    at += 1
    for _ in range(children):
        at = _after(schema, at)
    return at


def _select(connection: duckdb.DuckDBPyConnection, path: Path, columns: list[_Column]) -> duckdb.DuckDBPyConnection:
    """A query runs until its first rows are ready and goes on as they are fetched."""
    connection.execute("SET TimeZone = 'UTC'")
    expressions = ", ".join(column.expression for column in columns)
    return connection.execute(f"SELECT {expressions} FROM read_parquet(?)", [_literal(path)])  # noqa: S608


def _values(columns: list[_Column], row: tuple[Any, ...], number: int, location: Location) -> dict[str, Any]:
    values = {}
    for column, value in zip(columns, row, strict=True):
        if column.may_be_infinite and (bad := _not_finite(value)) is not None:
            message = f"row {number}: column '{column.name}' is {bad}, which cannot be sent as JSON"
            raise BatchForgeError("BF209", message, location=location, hint="Write null where no number is known.")
        if column.is_json and value is not None:
            value = _decoded(value, column, number, location)
        values[column.name] = value
    return values


def _decoded(text: str, column: _Column, number: int, location: Location) -> Any:
    try:
        return decode_json(text)
    except JsonProblem as exc:
        message = f"row {number}: column '{column.name}' is marked as JSON, but {exc}"
        raise BatchForgeError("BF209", message, location=location) from exc


def _not_finite(value: Any) -> float | None:
    """The first number in the value, however deep, that is not finite."""
    match value:
        case float():
            return None if math.isfinite(value) else value
        case list() | dict():
            items = value.values() if isinstance(value, dict) else value
            return next((bad for item in items if (bad := _not_finite(item)) is not None), None)
    return None


def _json_value(value: str, kind: DuckDBPyType, depth: int = 0) -> str:
    """The SQL expression that makes a JSON value of a value of this type."""
    match kind.id:
        case "decimal":
            return f"CAST({value} AS {'HUGEINT' if dict(kind.children)['scale'] == 0 else 'VARCHAR'})"
        case "float":
            # 0.1 as a 32-bit float is 0.1 to whoever wrote it, not 0.10000000149011612.
            return f"CAST(CAST({value} AS VARCHAR) AS DOUBLE)"
        case "blob":
            return f"base64({value})"
        case "timestamp with time zone":
            instant = f"make_timestamp(epoch_us({value}))"
            iso = f"replace(CAST({instant} AS VARCHAR), ' ', 'T') || 'Z'"
            return f"CASE WHEN isfinite({value}) THEN {iso} ELSE CAST({value} AS VARCHAR) END"
        case "timestamp" | "timestamp_s" | "timestamp_ms" | "timestamp_ns":
            return f"replace(CAST({value} AS VARCHAR), ' ', 'T')"
        case "list" | "array" | "struct" | "map":
            return _json_container(value, kind, depth)
    return value if _AS_THEY_ARE.fullmatch(kind.id) else f"CAST({value} AS VARCHAR)"


def _json_container(value: str, kind: DuckDBPyType, depth: int) -> str:
    item = f"item{depth}"
    # An array's size stands among its children too.
    children = {name: child for name, child in kind.children if not isinstance(child, int | list)}
    if kind.id == "struct":
        fields = ", ".join(
            f"{quoted_name(name)} := {_json_value(f'{value}.{quoted_name(name)}', child, depth)}"
            for name, child in children.items()
        )
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({fields}) END"
    if kind.id == "map":
        entry = _json_value(f"{item}.value", children["value"], depth + 1)
        pairs = f"struct_pack(key := CAST({item}.key AS VARCHAR), value := {entry})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda {item}: {pairs}))"
    return f"list_transform({value}, lambda {item}: {_json_value(item, children['child'], depth + 1)})"
