"""A job's published rows -> the database table that `output: {table: ...}` names, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchforge.connection import EMBEDDED_URL, Connection
from batchforge.databases.table_plan import DELIVERY, TableWrite
from batchforge.errors import ProjectError
from batchforge.project import Project
from batchforge.snapshots.snapshot_inputs import find_snapshot
from batchforge.snapshots.snapshot_records import SnapshotFolder
from batchforge.spec import JobSpec
from batchforge.tables.column_kinds import NULL, common_kind, kind_of, sql_type
from batchforge.target import Target

Rows = Callable[[], Iterator[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of an output, in its order."""

    names: Sequence[str]
    answer_kinds: Mapping[str, str]
    """Those of the answer, and what is told of each row."""
    told: frozenset[str]
    """What is told of each row: a table may do without."""


def check_table_settings(spec: JobSpec, columns: Sequence[str], project: Project, target: Target) -> None:
    """Offline.

    Raises:
        ProjectError: BF709 the key is not among the columns, or two targets would write one table.
    """
    output = spec.output
    if output.table is None or output.connection is None:
        return
    key = output.key or spec.input.key
    location = spec.locations.get("output")
    if output.mode == "upsert" and not key:
        hint = "Name the columns that name a row, or set `mode: append` or `replace`."
        raise ProjectError("BF709", f"the table {output.table} needs a `key`", location=location, hint=hint)
    missing = [name for name in key if name not in columns]
    if output.mode == "upsert" and missing:
        hint = f"The output has {', '.join(columns)}."
        message = f"the output has no column '{missing[0]}', which the table's `key` names"
        raise ProjectError("BF709", message, location=location, hint=hint)
    own = project.connection(output.connection, target)
    if own.url == EMBEDDED_URL:
        message = f"the connection `{own.name}` is the embedded DuckDB, which keeps no tables"
        hint = "Write into a file of its own: duckdb:///warehouse.duckdb or sqlite:///warehouse.db."
        raise ProjectError("BF709", message, location=location, hint=hint)
    for other in project.targets.values() if "{{" not in own.url else ():
        is_real = "claude" == other.type == target.type and other.name != target.name
        if is_real and project.connections_of(other).get(output.connection) == own:
            hint = f"Give each a connection `{output.connection}` of its own, under its `connections`."
            message = f"the targets `{target.name}` and `{other.name}` would write the same table {output.table}"
            raise ProjectError("BF709", message, location=location, hint=hint)


def why_not_written(spec: JobSpec, project: Project, target: Target) -> str:
    """Emulated answers never stand where real ones do."""
    is_own = spec.output.connection in project.target_connections.get(target.name, {})
    if target.type != "emulator" or is_own:
        return ""
    return (
        f"the table {spec.output.table} is not written: emulated answers go only into a connection that the target "
        f"`{target.name}` has for itself"
    )


def check_table(spec: JobSpec, columns: TableColumns, project: Project, target: Target) -> None:
    """Asks the database, before anything is sent.

    Raises:
        BatchForgeError: BF706 there is no such table, BF707 it is another one, BF238 the database refuses.
    """
    if spec.output.table is None or why_not_written(spec, project, target):
        return
    write = _write(spec, columns, {}, "", project, target)
    connection, kind, file = _database(spec, project, target)
    _tables(kind).check_table(connection, write, *file)


def is_table_lost(spec: JobSpec, project: Project, target: Target) -> bool:
    """Whether rows that were written are not there any more: the table was dropped, or emptied. A table that is only
    added to may be emptied by those who read it.

    Raises:
        BatchForgeError: BF238 the database refuses.
    """
    if spec.output.table is None or why_not_written(spec, project, target):
        return False
    connection, kind, file = _database(spec, project, target)
    none = TableColumns((), {}, frozenset())
    rows: int | None = _tables(kind).count_some(connection, _write(spec, none, {}, "", project, target), *file)
    return rows is None or (rows == 0 and spec.output.mode != "append")


def write_table(
    spec: JobSpec, columns: TableColumns, rows: Rows, manifest: str, project: Project, target: Target
) -> str:
    """Returns what was written, as connection.table; empty where nothing was. `manifest` names the rows.

    Raises:
        BatchForgeError: as `check_table`, and BF708 the key does not name one row. The table is as it was.
    """
    if spec.output.table is None or why_not_written(spec, project, target):
        return ""
    kinds = _kinds_of_input(spec, columns, rows, project, target) if spec.output.create else {}
    write = _write(spec, columns, kinds, manifest, project, target)
    connection, kind, file = _database(spec, project, target)
    delivered = ({**row, DELIVERY: write.delivery} for row in rows()) if write.mode == "append" else rows()
    _tables(kind).write_table(connection, write, delivered, *file)
    return f"{connection.name}.{write.table}"


def _database(spec: JobSpec, project: Project, target: Target) -> tuple[Connection, str, Sequence[Path]]:
    """The connection, whose room it is, and the file of those that are files."""
    assert spec.output.connection is not None
    connection = project.connection(spec.output.connection, target)
    url = connection.resolve()
    kinds = {"postgres": "postgresql", "postgresql+psycopg": "postgresql"}
    kind = kinds.get(url.scheme, url.scheme)
    if kind not in ("sqlite", "duckdb"):
        return connection, kind, ()
    file = url.local_file(project.tree)
    file.parent.mkdir(parents=True, exist_ok=True)
    return connection, kind, (file,)


def _tables(kind: str) -> Any:
    """The room that writes tables of such a database."""
    match kind:
        case "postgresql":
            from batchforge.databases import postgres_tables

            return postgres_tables
        case "sqlite":
            from batchforge.databases import sqlite_tables

            return sqlite_tables
        case "duckdb":
            from batchforge.databases import duck_tables

            return duck_tables
    from batchforge.databases import alchemy_tables

    return alchemy_tables


def _write(
    spec: JobSpec,
    columns: TableColumns,
    kinds: Mapping[str, str],
    manifest: str,
    project: Project,
    target: Target,
) -> TableWrite:
    output = spec.output
    assert output.table is not None
    types = {name: kinds.get(name) or sql_type(columns.answer_kinds.get(name, NULL)) for name in columns.names}
    optional = columns.told - {"_emulated"}
    if output.mode == "append":
        types[DELIVERY] = "VARCHAR"
    named = "\n".join((project.name, target.name, spec.name, manifest))
    return TableWrite(
        table=output.table,
        columns=types,
        certain=frozenset(columns.answer_kinds),
        optional=optional,
        key=output.key or spec.input.key,
        mode=output.mode,
        create=output.create,
        delivery=hashlib.sha256(named.encode()).hexdigest()[:32],
        location=spec.locations.get("output"),
    )


def _kinds_of_input(
    spec: JobSpec, columns: TableColumns, rows: Rows, project: Project, target: Target
) -> dict[str, str]:
    """Types of the input's columns: those that the database they come from gives, else by all their values."""
    known = _types_of_snapshot(spec, project, target)
    unknown = [name for name in columns.names if name not in known and name not in columns.answer_kinds]
    kinds = dict.fromkeys(unknown, NULL)
    for row in rows() if unknown else ():
        for name in unknown:
            kinds[name] = common_kind(kinds[name], kind_of(row.get(name)))
    found = {name: known[name] for name in columns.names if name in known and name not in columns.answer_kinds}
    return found | {name: sql_type(kind) for name, kind in kinds.items()}


def _types_of_snapshot(spec: JobSpec, project: Project, target: Target) -> Mapping[str, str]:
    rows = spec.input
    is_shaped = bool(rows.joins or rows.each or rows.distinct or rows.chunk or rows.group_by)
    if rows.sql is None or is_shaped:
        return {}
    snapshot = find_snapshot(rows, SnapshotFolder(project, target), spec.vars)
    return {name: _known_type(kind) for name, kind in snapshot.columns.items()} if snapshot else {}


def _known_type(kind: str) -> str:
    return "JSON" if kind.startswith(("STRUCT", "MAP", "UNION")) else kind
