"""A query of an `InputSpec` -> its snapshot, taken by the database's own module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batchforge.clock import iso
from batchforge.connection import Connection, DatabaseUrl
from batchforge.errors import BatchForgeError
from batchforge.file_marks import mark_files
from batchforge.inputs import input_paths
from batchforge.snapshots.snapshot_inputs import AskedQuery
from batchforge.snapshots.snapshot_records import FORM, Snapshot, SnapshotFolder, SnapshotPart
from batchforge.spec import InputSpec, SourceSpec

if TYPE_CHECKING:
    from batchforge.databases.snapshot_writing import Written

Resolve = Callable[[SourceSpec], InputSpec]
"""A source -> its input, fetched if it had to be."""


def fetch_query(asked: AskedQuery, folder: SnapshotFolder, resolve: Resolve, now: datetime) -> Snapshot:
    """
    Raises:
        BatchForgeError: the database refuses or breaks off; the snapshot that was there stays as it is.
    """
    written_to = folder.unfinished(f"{asked.identity}.parquet")
    inputs = [(source.name, resolve(source)) for source in asked.sources]
    tree = folder.project.tree
    own_files = [path for _, spec in inputs if not spec.needs_snapshot for path in input_paths(spec, tree)]
    marks = mark_files(tree, own_files)
    try:
        written = _take(asked, folder, inputs, written_to)
        name, digest = folder.keep(written_to, ".parquet")
    finally:
        written_to.unlink(missing_ok=True)
    size_bytes = (folder.path / name).stat().st_size
    return Snapshot(
        form=FORM,
        what=asked.query.shown_as,
        connection=asked.connection,
        fetched_at=iso(now),
        sha256=digest,
        parts=[SnapshotPart(name, asked.query.shown_as, digest, size_bytes)],
        rows=written.rows,
        columns=written.columns,
        sources=marks,
    )


def _take(
    asked: AskedQuery, folder: SnapshotFolder, inputs: Sequence[tuple[str, InputSpec]], written_to: Path
) -> Written:
    if asked.connection is None:
        from batchforge.databases import duck_files

        tree = folder.project.tree
        tables = [(name, spec, [tree.local_path(path) for path in input_paths(spec, tree)]) for name, spec in inputs]
        with duck_files.open_views(tables) as database:
            return duck_files.take_snapshot(
                database, asked, written_to, [file for _, _, files in tables for file in files]
            )
    connection = folder.project.connection(asked.connection, folder.target)
    return _take_from(connection, asked, folder, written_to)


def _take_from(connection: Connection, asked: AskedQuery, folder: SnapshotFolder, written_to: Path) -> Written:
    url = connection.resolve()
    if url.scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        from batchforge.databases import postgres

        return postgres.take_snapshot(connection, asked, written_to)
    if url.scheme == "sqlite":
        from batchforge.databases import sqlite_file

        return sqlite_file.take_snapshot(connection, asked, written_to, _database_file(url, connection, folder))
    if url.scheme == "duckdb":
        from batchforge.databases import duck_files

        with duck_files.open_file(connection, _database_file(url, connection, folder)) as database:
            return duck_files.take_snapshot(database, asked, written_to)
    from batchforge.databases import alchemy

    return alchemy.take_snapshot(connection, asked, written_to)


def _database_file(url: DatabaseUrl, connection: Connection, folder: SnapshotFolder) -> Path:
    local = url.local_file(folder.project.tree)
    if not local.is_file():
        hint = "The path starts at the project's folder."
        message = f"the connection `{connection.name}`: there is no file '{url.file}'"
        raise BatchForgeError("BF238", message, location=connection.location, hint=hint)
    return local
