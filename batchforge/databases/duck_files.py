"""DuckDB: over the declared sources, each a view of its files, or over a DuckDB file. It reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchforge.connection import Connection
from batchforge.databases.snapshot_writing import Written, check_columns, limit_memory
from batchforge.errors import BatchForgeError
from batchforge.snapshots.snapshot_inputs import AskedQuery
from batchforge.spec import InputSpec
from batchforge.tables.duck import open_duckdb, quoted_name, quoted_text
from batchforge.tables.options import DELIMITERS, format_of

if TYPE_CHECKING:
    import duckdb

_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "json": "JSON"}
_EXACT_IN_PARQUET = {"HUGEINT": "DECIMAL(38, 0)", "UHUGEINT": "DECIMAL(38, 0)", "BIGNUM": "VARCHAR"}
"""Parquet has no integers of 128 bits, and DuckDB would write them as floats."""


@contextmanager
def open_views(tables: Sequence[tuple[str, InputSpec, Sequence[Path]]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A private database in which each source is a view of its files."""
    with open_duckdb() as database:
        for name, spec, files in tables:
            _make_view(database, name, spec, files)
        yield database


@contextmanager
def open_file(connection: Connection, file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    try:
        database = duckdb.connect(str(file), read_only=True, config={"threads": "1"})
    except duckdb.Error as exc:
        raise _told(exc, f"the connection `{connection.name}`", connection.location) from exc
    try:
        database.execute("SET enable_progress_bar = false")
        yield database
    finally:
        database.close()


def take_snapshot(
    database: duckdb.DuckDBPyConnection, asked: AskedQuery, path: Path, files: Sequence[Path] = ()
) -> Written:
    """`files` are all that the query may read; it can write nothing, being one SELECT."""
    import duckdb

    limit_memory(database, path.parent)
    _lock(database, [*files, path])
    text = asked.query.with_placeholders(lambda name: f"${name}")
    try:
        _check_statement(text, asked)
        types = _types(database, text, asked)
        statement = _copy_statement(text, types, asked.sorted_by, path)
        database.execute(statement, dict(asked.params) or None)
        (rows,) = database.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()[0]
    except duckdb.Error as exc:
        path.unlink(missing_ok=True)
        raise _told(exc, asked.query.shown_as, asked.query.location) from exc
    return Written(rows, types)


def _make_view(database: duckdb.DuckDBPyConnection, name: str, spec: InputSpec, files: Sequence[Path]) -> None:
    import duckdb

    try:
        database.execute(f"CREATE VIEW {quoted_name(name)} AS SELECT * FROM {_scan(spec, files)}")  # noqa: S608
    except duckdb.Error as exc:
        raise _told(exc, f"the source `{name}`", spec.location) from exc


def _scan(spec: InputSpec, files: Sequence[Path]) -> str:
    listed = f"[{', '.join(quoted_text(str(file)) for file in files)}]"
    kind = spec.format or format_of(files[0].name)
    hive = f"hive_partitioning = {str(spec.hive_partitions).lower()}"
    match kind:
        case "parquet":
            return f"read_parquet({listed}, {hive})"
        case "csv" | "tsv":
            return f"read_csv({listed}, {hive}, {', '.join(_csv_options(spec, kind))})"
    form = "newline_delimited" if kind == "jsonl" else "array"
    return f"read_json({listed}, {hive}, format = '{form}', sample_size = -1)"


def _csv_options(spec: InputSpec, kind: str) -> Iterator[str]:
    """All rows are looked at for the types, so that they do not depend on which ones come first."""
    yield f"delim = {quoted_text(spec.delimiter or DELIMITERS[kind])}"
    yield f"quote = {quoted_text(spec.quote or '')}"
    yield f"escape = {quoted_text(spec.quote or '')}"
    yield f"header = {str(spec.header).lower()}"
    yield "sample_size = -1"
    yield "strict_mode = true"
    if spec.columns:
        yield f"names = [{', '.join(map(quoted_text, spec.columns))}]"
    if spec.types:
        pairs = (f"{quoted_text(name)}: {quoted_text(_TYPES[kind])}" for name, kind in spec.types.items())
        yield f"types = {{{', '.join(pairs)}}}"
    if spec.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        yield f"encoding = {quoted_text(spec.encoding)}"


def _lock(database: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    allowed = ", ".join(quoted_text(str(file)) for file in files)
    database.execute(f"SET allowed_paths = [{allowed}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _check_statement(text: str, asked: AskedQuery) -> None:
    import duckdb

    statements = duckdb.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        hint = "A query that is read must be one SELECT, which may begin with WITH."
        message = "this is not one statement that only reads"
        raise BatchForgeError("BF231", message, location=asked.query.location, hint=hint)


def _types(database: duckdb.DuckDBPyConnection, text: str, asked: AskedQuery) -> dict[str, str]:
    found = database.execute(f"DESCRIBE {text}", dict(asked.params) or None).fetchall()
    check_columns([name for name, *_ in found], asked.sorted_by)
    return {name: _EXACT_IN_PARQUET.get(kind, kind) for name, kind, *_ in found}


def _copy_statement(text: str, types: dict[str, str], sorted_by: Sequence[str], path: Path) -> str:
    columns = ", ".join(
        f"CAST({quoted_name(name)} AS {kind}) AS {quoted_name(name)}"
        if kind in _EXACT_IN_PARQUET.values()
        else quoted_name(name)
        for name, kind in types.items()
    )
    order = f" ORDER BY {', '.join(map(quoted_name, sorted_by))}" if sorted_by else ""
    return (
        f"COPY (SELECT {columns} FROM (\n{text}\n) AS asked{order}) TO {quoted_text(str(path))} "  # noqa: S608
        "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
    )


def _told(exc: Exception, what: str, location: Any) -> BatchForgeError:
    reason = " ".join(str(exc).split("\n\n")[0].split())
    hint = ""
    if "file system operations are disabled" in reason:
        hint = (
            "A query reads the `sources` of batchforge.yml by their names, and no other files: declare the file there."
        )
    return BatchForgeError("BF238", f"{what}: {reason}", location=location, hint=hint)
