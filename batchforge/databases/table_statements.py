"""The statements by which rows go from a private table into the one that others read, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchforge.databases.table_plan import DELIVERY, TableWrite
from batchforge.errors import BatchForgeError
from batchforge.tables.duck import quoted_name, quoted_text

STAGE = "batchforge_rows"


def quoted_table(write: TableWrite) -> str:
    return ".".join(map(quoted_name, write.parts))


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted_name, names))


def create_table(write: TableWrite, types: Sequence[str]) -> str:
    columns = [f"{quoted_name(name)} {kind}" for name, kind in zip(write.columns, types, strict=True)]
    if write.mode == "upsert":
        columns.append(f"PRIMARY KEY ({listed(write.key)})")
    return f"CREATE TABLE {quoted_table(write)} ({', '.join(columns)})"


def create_stage(write: TableWrite, names: Sequence[str]) -> str:
    return f"CREATE TEMPORARY TABLE {STAGE} AS SELECT {listed(names)} FROM {quoted_table(write)} WHERE 1 = 0"  # noqa: S608


def bad_keys(write: TableWrite) -> str:
    """Gives keys that are repeated or null."""
    key = listed(write.key)
    is_null = " OR ".join(f"{quoted_name(name)} IS NULL" for name in write.key)
    return f"SELECT {key} FROM {STAGE} GROUP BY {key} HAVING count(*) > 1 OR {is_null} ORDER BY {key} LIMIT 3"  # noqa: S608


def moves(write: TableWrite, names: Sequence[str]) -> Iterator[str]:
    table, columns = quoted_table(write), listed(names)
    insert = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {STAGE} WHERE 1 = 1"  # noqa: S608
    match write.mode:
        case "upsert":
            others = [name for name in names if name not in write.key]
            changed = ", ".join(f"{quoted_name(name)} = excluded.{quoted_name(name)}" for name in others)
            yield f"{insert} ON CONFLICT ({listed(write.key)}) DO {f'UPDATE SET {changed}' if others else 'NOTHING'}"
        case "append":
            yield f"DELETE FROM {table} WHERE {quoted_name(DELIVERY)} = {quoted_text(write.delivery)}"  # noqa: S608
            yield insert
        case "replace":
            yield f"DELETE FROM {table}"  # noqa: S608
            yield insert


def some_row(write: TableWrite) -> str:
    return f"SELECT 1 FROM {quoted_table(write)} LIMIT 1"  # noqa: S608


def keys_refused(write: TableWrite, found: Sequence[Sequence[object]]) -> BatchForgeError:
    shown = ", ".join("/".join(map(str, key)) for key in found)
    return BatchForgeError(
        "BF708",
        f"`key: {', '.join(write.key)}` does not name one row of the output: {shown} is there more than once or empty",
        hint="Add a column to the output's `key`, or use `mode: append` or `replace`. Nothing was written.",
        location=write.location,
    )
