"""An `InputSpec` that asks a database or an object store -> the question, its name, and the snapshot that answers it.

Offline: what was never fetched, or is older than `max_age`, is an error that says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, UndefinedError

from batchforge.clock import SystemClock
from batchforge.connection import EMBEDDED_URL
from batchforge.errors import BatchForgeError
from batchforge.file_marks import are_unchanged
from batchforge.inputs import never_fetched
from batchforge.nearest import did_you_mean
from batchforge.project import Project
from batchforge.requests.templating import make_environment
from batchforge.snapshots.snapshot_records import FORM, Snapshot, SnapshotFolder, identity_of
from batchforge.snapshots.sql_text import Query, read_query
from batchforge.spec import InputSpec, SnapshotFile, SourceSpec
from batchforge.target import Target

_OF_FILES = ("files", "format", "header", "columns", "delimiter", "quote", "encoding", "hive_partitions")


@dataclass(frozen=True, slots=True)
class AskedQuery:
    query: Query
    params: Mapping[str, Any]
    sorted_by: tuple[str, ...]
    """Where the query itself gives no order: the key."""
    connection: str | None
    sources: tuple[SourceSpec, ...]
    """What the embedded database reads."""

    @property
    def identity(self) -> str:
        of_sources = [(source.name, _settings(source.input)) for source in self.sources]
        return identity_of(
            {
                "form": FORM,
                "query": self.query.text,
                "params": dict(self.params),
                "sorted_by": self.sorted_by,
                "connection": self.connection,
                "sources": of_sources,
            }
        )


def asked_query(spec: InputSpec, project: Project, target: Target, variables: Mapping[str, Any]) -> AskedQuery:
    """
    Raises:
        BatchForgeError: BF231 it is not one SELECT, BF232 its params, BF233 it has neither order nor key.
    """
    query = _query_of(spec, project)
    if not query.has_order and not spec.key:
        hint = "Add `key:` with the columns that name a row, or ORDER BY at the query's end."
        message = "the query has neither a key nor an order, so its rows would come in another order each time"
        raise BatchForgeError("BF233", message, location=spec.location, hint=hint)
    connection = None if is_embedded(spec.connection, project, target) else spec.connection
    named = {word.lower() for word in query.words} if connection is None else set()
    return AskedQuery(
        query,
        _bound_params(spec, query, project, variables),
        () if query.has_order else spec.key,
        connection,
        tuple(source for name, source in sorted(project.sources.items()) if name.lower() in named),
    )


def is_embedded(connection: str | None, project: Project, target: Target) -> bool:
    """Whether a query asks the private DuckDB over the declared sources."""
    return connection is None or project.connection(connection, target).url == EMBEDDED_URL


def files_identity(url: str) -> str:
    return identity_of({"form": FORM, "url": url})


def without_query(url: str) -> str:
    """What stands behind the ? of an https:// address may be a secret; in a glob of objects it is a mark."""
    return url.partition("?")[0] if url.startswith("http") else url


def with_snapshots(
    spec: InputSpec, project: Project, target: Target, variables: Mapping[str, Any], now: datetime
) -> InputSpec:
    """The input, and those joined to it, with the snapshots from which their rows are read.

    Raises:
        BatchForgeError: BF230 never fetched, BF234 too old.
    """
    if spec.joins:
        joins = [replace(j, input=with_snapshots(j.input, project, target, variables, now)) for j in spec.joins]
        spec = replace(spec, joins=tuple(joins))
    if not spec.needs_snapshot:
        return spec
    folder = SnapshotFolder(project, target)
    snapshot = find_snapshot(spec, folder, variables)
    if snapshot is None:
        raise never_fetched(spec)
    check_age(spec, snapshot, now)
    where = folder.relative_path
    parts = tuple(SnapshotFile(f"{where}/{part.file}", part.shown_as) for part in snapshot.parts)
    return replace(spec, snapshot=parts, format="parquet" if spec.sql is not None else spec.format)


def readable_input(spec: InputSpec, project: Project, target: Target, variables: Mapping[str, Any]) -> InputSpec:
    """The input as its rows can be read now."""
    return with_snapshots(spec, project, target, variables, SystemClock().now()) if spec.needs_snapshots else spec


def find_snapshot(spec: InputSpec, folder: SnapshotFolder, variables: Mapping[str, Any]) -> Snapshot | None:
    return folder.find(identity_of_input(spec, folder.project, folder.target, variables))


def identity_of_input(spec: InputSpec, project: Project, target: Target, variables: Mapping[str, Any]) -> str:
    if spec.sql is not None:
        return asked_query(spec, project, target, variables).identity
    assert spec.files is not None
    return files_identity(spec.files)


def inputs_to_fetch(spec: InputSpec) -> Iterator[InputSpec]:
    """The input itself, and those joined to it, as far as they need a snapshot."""
    if spec.needs_snapshot:
        yield spec
    for join in spec.joins:
        yield from inputs_to_fetch(join.input)


def snapshots_read(
    spec: InputSpec, project: Project, target: Target, variables: Mapping[str, Any]
) -> Iterator[Snapshot]:
    """Those that the rows are read from, joined ones too."""
    folder = SnapshotFolder(project, target)
    found = (find_snapshot(part, folder, variables) for part in inputs_to_fetch(spec))
    return (snapshot for snapshot in found if snapshot is not None)


def snapshot_note(snapshot: Snapshot, project: Project, now: datetime) -> str:
    """For a plan: from what the rows are read, how many they are, and how old."""
    return snapshot_words(snapshot, now) + _moved_words(snapshot, project)


def snapshot_value(snapshot: Snapshot, project: Project, now: datetime) -> dict[str, Any]:
    """The same as data."""
    return {
        "what": snapshot.what,
        "connection": snapshot.connection,
        "sha256": snapshot.sha256,
        "rows": snapshot.rows,
        "files": len(snapshot.parts),
        "size_bytes": snapshot.size_bytes,
        "fetched_at": snapshot.fetched_at,
        "age_s": round(snapshot.age_s(now), 3),
        "is_outdated": bool(_moved_words(snapshot, project)),
    }


def snapshot_words(snapshot: Snapshot, now: datetime) -> str:
    files = "1 file" if len(snapshot.parts) == 1 else f"{len(snapshot.parts):,} files"
    held = files if snapshot.rows is None else f"{snapshot.rows:,} row{'' if snapshot.rows == 1 else 's'}"
    return f"snapshot {snapshot.sha256[:12]} of {snapshot.what}: {held}, {age_words(snapshot.age_s(now))} old"


def age_words(age_s: float) -> str:
    """
    >>> age_words(7300)
    '2 h'
    """
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{math.floor(age_s / seconds):,} {unit}"
    return f"{math.floor(age_s)} s"


def _moved_words(snapshot: Snapshot, project: Project) -> str:
    paths = [mark.path for mark in snapshot.sources]
    if are_unchanged(snapshot.sources, project.tree, paths):
        return ""
    return "; a file that it was made of has changed since, `batchforge fetch` reads it again"


def check_age(spec: InputSpec, snapshot: Snapshot, now: datetime) -> None:
    age_s = snapshot.age_s(now)
    if spec.max_age_s is None or age_s <= spec.max_age_s:
        return
    message = (
        f"the snapshot of {snapshot.what} is {age_words(age_s)} old, and `max_age` allows {age_words(spec.max_age_s)}"
    )
    hint = "`batchforge fetch` takes a new one, and so does a `run` without --no-fetch."
    raise BatchForgeError("BF234", message, location=spec.location, hint=hint)


def _query_of(spec: InputSpec, project: Project) -> Query:
    assert spec.sql is not None
    if spec.sql.endswith(".sql") and not any(character.isspace() for character in spec.sql):
        return read_query(project.tree.read_text(spec.sql), spec.sql, spec.location)
    place = spec.location.path if spec.location else "the job"
    return read_query(spec.sql, f"the query in {place}", spec.location)


def _bound_params(spec: InputSpec, query: Query, project: Project, variables: Mapping[str, Any]) -> dict[str, Any]:
    for name in query.names:
        if name not in spec.params:
            hint = did_you_mean(name, spec.params) or f"Write `params: {{{name}: …}}`."
            raise BatchForgeError("BF232", f"the query's :{name} has no value", location=spec.location, hint=hint)
    for name in spec.params:
        if name not in query.names:
            hint = did_you_mean(name, query.names) or f"Write :{name} in the query, or remove it."
            raise BatchForgeError("BF232", f"the query has no :{name}", location=spec.location, hint=hint)
    return {name: _param(spec, name, value, project, variables) for name, value in spec.params.items()}


def _param(spec: InputSpec, name: str, value: Any, project: Project, variables: Mapping[str, Any]) -> Any:
    """A text that is one expression keeps the type of its value; other templates give text."""
    if not isinstance(value, str) or "{{" not in value:
        return value
    environment = make_environment(project.tree)
    bare = value.strip()
    try:
        if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1:
            found = environment.compile_expression(bare[2:-2], undefined_to_none=False)(vars=variables)
            str(found)  # a value that is not there says so when it is used
            return found
        return environment.from_string(value).render(vars=variables)
    except UndefinedError as exc:
        hint = "Params see `vars`: declare the variable under `vars`, or give it with --vars."
        raise BatchForgeError("BF232", f"the param `{name}`: {exc}", location=spec.location, hint=hint) from exc
    except TemplateError as exc:
        message = f"the param `{name}` is not a template: {exc}"
        raise BatchForgeError("BF232", message, location=spec.location, hint='Example: "{{ vars.day }}".') from exc


def _settings(spec: InputSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in _OF_FILES} | {"types": dict(spec.types)}
