"""Results -> the job's output table, in input order; and the rule that says when it may replace the old one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from batchforge import remote_output
from batchforge.answers import AnswerReader, column_kinds, reader_of
from batchforge.errors import ProjectError
from batchforge.escalation.steps import RUNG, VOTES
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import MessageRequest
from batchforge.results import RequestResult
from batchforge.spec import JobSpec, OutputSpec
from batchforge.state.records import Manifest, OutputRow, StateReader
from batchforge.table_output import TableColumns, check_table, check_table_settings, is_table_lost, write_table
from batchforge.tables.writing import TableWriter, check_writable, not_written, open_writer
from batchforge.target import Target
from batchforge.whole_file import alone_at

OVERTAKEN = "another run has submitted other rows meanwhile, which have an output of their own"
ANSWERED, BLOCKED, PENDING = "answered", "blocked", "pending"
META_KINDS = {
    "_status": "text",
    "_error": "text",
    "_request_id": "text",
    "_model": "text",
    "_stop_reason": "text",
    "_input_tokens": "integer",
    "_cache_read_tokens": "integer",
    "_cache_write_tokens": "integer",
    "_output_tokens": "integer",
}
EMULATED = "_emulated"
LADDER_KINDS = {RUNG: "integer", VOTES: "number"}
OWN_COLUMNS = frozenset({*META_KINDS, *LADDER_KINDS, EMULATED})
"""Columns of every output; no column of an input can have such a name."""
OUTPUT_VERSION = 1
"""Raised when the same results would be written differently, so that outputs are written again."""


@dataclass(frozen=True, slots=True)
class OutputReport:
    """What became of a job's output."""

    job: str
    path: str
    """Project-relative; of the candidates where they were held back."""
    is_published: bool
    row_count: int
    statuses: Mapping[str, int]
    """Rows by status; every row has exactly one."""
    rejected_path: str | None
    """The failed rows with their reasons; None where none failed."""
    held_back_because: str = ""
    table: str = ""
    """The database table that holds the rows too, as connection.table; empty where there is none."""
    address: str = ""
    """The object that holds the rows too, or the candidates; empty where there is none."""
    is_enough: bool = True
    """Whether min_success was met."""
    keeps_old: bool = False
    """Whether the file of an earlier run stays in its place."""

    @property
    def failed_rows(self) -> int:
        return self.row_count - self.statuses.get(ANSWERED, 0)


@dataclass(frozen=True, slots=True)
class MovedRows:
    """Rows that are not what was submitted."""

    count: int
    examples: tuple[str, ...]


def check_output(spec: JobSpec, columns: Sequence[str], project: Project, target: Target) -> None:
    """Before anything is sent: whether the output, with these columns of the input, can be written.

    Raises:
        BatchForgeError: BF701 not there, BF702 a column of the answer would hide one of the input, BF704 its format
            cannot hold the columns.
    """
    _check_columns(spec, columns)
    path = output_path(spec, project, target)
    every = _table_columns(spec, columns, target).names
    check_writable(path, every)
    check_table_settings(spec, every, project, target)
    remote_output.check_address(spec, project, target)
    reason = _why_not_there(path)
    if reason:
        raise not_written(shown_path(path, project), OSError(0, reason))


def check_output_elsewhere(spec: JobSpec, columns: Sequence[str], project: Project, target: Target) -> None:
    """Before anything is sent: whether the database has such a table, and the object store can be reached.

    Raises:
        BatchForgeError: BF706 there is none, BF707 it is another one, BF238 the database refuses, BF712 the store does.
    """
    check_table(spec, _table_columns(spec, columns, target), project, target)
    if address := remote_output.address_of(spec, target):
        remote_output.is_there(address, spec.locations.get("output"))


def is_missing_elsewhere(spec: JobSpec, rows: int, project: Project, target: Target) -> bool:
    """Whether what was published is not there any more: the object was deleted, the table dropped or emptied.

    Raises:
        BatchForgeError: BF238 the database, BF712 the store does not say it.
    """
    address = remote_output.address_of(spec, target)
    if address is not None and not remote_output.is_there(address, spec.locations.get("output")):
        return True
    return rows > 0 and is_table_lost(spec, project, target)


def _table_columns(spec: JobSpec, columns: Sequence[str], target: Target) -> TableColumns:
    reader = reader_of(spec)
    kinds = column_kinds(spec.output) | META_KINDS | LADDER_KINDS | {EMULATED: "boolean"}
    return TableColumns(_all_columns(columns, reader, target), kinds, OWN_COLUMNS)


def _why_not_there(path: Path) -> str:
    """Why no file can be written at this place; empty where one can."""
    if path.is_dir():
        return "a folder has its name"
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir():
        return f"{folder.name} is not a folder"
    return "" if os.access(folder, os.W_OK) else f"the folder {folder.name} may not be written to"


def _check_columns(spec: JobSpec, columns: Sequence[str]) -> None:
    answer = (*answer_columns(spec), *META_KINDS, EMULATED)
    both = [column for column in columns if column in answer]
    if both:
        raise ProjectError(
            "BF702",
            f"the input of {spec.name} has a column '{both[0]}', and so has its output",
            hint="Give the field another name, or leave the column out with `output: {columns: [...]}`.",
            location=spec.locations.get("output"),
        )


def answer_columns(spec: JobSpec) -> tuple[str, ...]:
    """Columns that are made of answers."""
    return reader_of(spec).columns


@stage("compare rows")
def find_moved_rows(compiled: CompiledJob, state: StateReader, manifest: Manifest) -> MovedRows:
    """Compare the rows as they are now with those that were submitted."""
    now = ((row.key, row.request_id if isinstance(row, MessageRequest) else None) for row in compiled.requests())
    then = ((row.key, row.request_id) for row in state.manifest_rows(manifest.manifest_id))
    count = 0
    examples: list[str] = []
    for new, old in zip_longest(now, then):
        if new != old:
            count += 1
            if len(examples) < 3:
                examples.append(_moved_words(new, old))
    return MovedRows(count, tuple(examples))


def _moved_words(new: tuple[str, bytes | None] | None, old: tuple[str, bytes | None] | None) -> str:
    if new is None or old is None:
        return f"{(new or old or ('', None))[0]} was {'removed' if new is None else 'added'}"
    return f"{new[0]} has changed" if new[0] == old[0] else f"{new[0]} stands where {old[0]} was"


def accepted_rows(spec: JobSpec, state: StateReader, manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and columns of each row that was answered: what other jobs read."""
    reader = reader_of(spec)
    for row in state.output_rows(manifest.manifest_id):
        status, _, answer, _ = _status(row, reader)
        if status == ANSWERED:
            yield row.row.key, {**msgspec.json.decode(row.row.values), **answer}


def output_path(spec: JobSpec, project: Project, target: Target) -> Path:
    return output_path_of(spec.name, spec.output, project, target)


def output_path_of(job: str, output: OutputSpec, project: Project, target: Target) -> Path:
    return project.outputs_folder(target) / output.local_file(job)


def candidate_path(path: Path) -> Path:
    """Where rows lie that were kept back."""
    return _beside(path, "candidate")


def output_files(path: Path) -> list[Path]:
    """Every file that may hold rows of the output: the table, what was held back, and the failed rows of each."""
    tables = [path, _beside(path, "sample"), _beside(path, "candidate")]
    return [file for table in tables for file in (table, _rejected(table))]


Objection = Callable[[Path], str]
"""Candidates -> why they may not be published, in words; empty where nothing speaks against it."""


@stage("write outputs")
def write_outputs(
    spec: JobSpec,
    state: StateReader,
    manifest: Manifest,
    project: Project,
    target: Target,
    objection: Objection = lambda _path: "",
) -> OutputReport:
    """Write the table from stored results alone, beside the old one. It takes the old one's place only if the run is
    complete, enough of its rows were answered and there is no objection; else the candidates stay where they are.

    Raises:
        BatchForgeError: BF701 a file cannot be written; what was there is untouched.
    """
    try:
        return _written_outputs(spec, state, manifest, project, target, objection)
    except OSError as exc:
        raise not_written(shown_path(output_path(spec, project, target), project), exc) from exc


@contextmanager
def alone_with_outputs(spec: JobSpec, project: Project, targets: Iterable[Target]) -> Iterator[None]:
    """Whoever writes the job's output, or takes rows out of it, does so one after the other.

    Raises:
        BatchForgeError: BF701 another process does not end.
    """
    names = {output_path(spec, project, target).name for target in targets}
    with ExitStack() as stack:
        for name in sorted(names):
            try:
                stack.enter_context(alone_at(project.artifacts_folder / "locks" / name))
            except OSError as exc:
                raise not_written(name, exc) from exc
        yield


def is_overtaken(state: StateReader, manifest: Manifest) -> bool:
    """Whether another run has submitted other rows since, so that these are not the job's any more."""
    now = state.manifest(manifest.target, manifest.job, manifest.scope)
    return now is None or (now.digest, now.columns) != (manifest.digest, manifest.columns)


def _written_outputs(
    spec: JobSpec, state: StateReader, manifest: Manifest, project: Project, target: Target, objection: Objection
) -> OutputReport:
    path = output_path(spec, project, target)
    written = _beside(path, "sample" if manifest.scope else "candidate")
    statuses = _write_tables(spec, state, manifest, target, written)
    objected = objection(written)
    reason = _held_back_because(spec, manifest, statuses) or objected
    if not reason and is_overtaken(state, manifest):
        reason = OVERTAKEN
    table = ""
    if not reason:
        table = _write_table(spec, state, manifest, project, target)
    address = ""
    if not manifest.scope:
        address = remote_output.deliver(spec, target, written, _rejected(written), is_published=not reason)
    if not reason:
        _publish(written, path)
        written = path
    rejected = _rejected(written)
    return OutputReport(
        job=spec.name,
        path=shown_path(written, project),
        is_published=not reason,
        row_count=manifest.row_count,
        statuses=dict(sorted(statuses.items())),
        rejected_path=shown_path(rejected, project) if rejected.exists() else None,
        held_back_because=reason,
        table=table,
        address=address,
        is_enough=_is_enough(spec, statuses),
        keeps_old=bool(reason) and path.exists(),
    )


def _write_table(spec: JobSpec, state: StateReader, manifest: Manifest, project: Project, target: Target) -> str:
    """Into a database, before the file takes its place: where it cannot be written, nothing is published."""
    reader = reader_of(spec)

    def rows() -> Iterator[dict[str, Any]]:
        return (_output_values(row, reader, target)[0] for row in state.output_rows(manifest.manifest_id))

    columns = _table_columns(spec, manifest.columns, target)
    return write_table(spec, columns, rows, manifest.digest, project, target)


def _write_tables(
    spec: JobSpec, state: StateReader, manifest: Manifest, target: Target, path: Path
) -> Mapping[str, int]:
    """Writes all rows, and the failed ones once more with their reasons; returns rows by status."""
    reader = reader_of(spec)
    columns = _all_columns(manifest.columns, reader, target)
    kinds = column_kinds(spec.output) | META_KINDS | LADDER_KINDS | {EMULATED: "boolean"}
    statuses: Counter[str] = Counter()
    _rejected(path).unlink(missing_ok=True)
    with ExitStack() as stack:
        table = stack.enter_context(
            open_writer(path, columns, kinds=kinds, escape_formulas=spec.output.escape_formulas)
        )
        rejects: TableWriter | None = None
        for row in state.output_rows(manifest.manifest_id):
            values, failure = _output_values(row, reader, target)
            table.write(values)
            statuses[values["_status"]] += 1
            if failure is not None:
                rejects = rejects or stack.enter_context(open_writer(_rejected(path), _rejected_columns(manifest)))
                rejects.write(failure)
    return statuses


def _all_columns(given: Sequence[str], reader: AnswerReader, target: Target) -> list[str]:
    return [*given, *reader.columns, *META_KINDS, *([EMULATED] if target.type == "emulator" else [])]


def _publish(candidate: Path, path: Path) -> None:
    """Put the table in its place; its rejected rows follow it."""
    candidate.replace(path)
    if _rejected(candidate).exists():
        _rejected(candidate).replace(_rejected(path))
    else:
        _rejected(path).unlink(missing_ok=True)


def _held_back_because(spec: JobSpec, manifest: Manifest, statuses: Mapping[str, int]) -> str:
    if manifest.scope:
        return f"only some of the rows were asked ({manifest.scope})"
    if statuses.get(PENDING):
        return f"{statuses[PENDING]:,} rows have no result yet"
    if not _is_enough(spec, statuses):
        total, answered = sum(statuses.values()), statuses.get(ANSWERED, 0)
        return f"{answered:,} of {total:,} rows were answered, under min_success {spec.min_success:g}"
    return ""


def _is_enough(spec: JobSpec, statuses: Mapping[str, int]) -> bool:
    return statuses.get(ANSWERED, 0) >= spec.min_success * sum(statuses.values())


def written_as(spec: JobSpec, path: Path) -> str:
    """What a written output depends on besides its rows and results."""
    return hashlib.sha256(repr((OUTPUT_VERSION, spec.output, spec.min_success, path.name)).encode()).hexdigest()[:16]


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


def _rejected(path: Path) -> Path:
    return path.with_name(f"{path.stem}.rejected.jsonl")


def shown_path(path: Path, project: Project) -> str:
    return PurePosixPath(path.relative_to(project.root)).as_posix()


def _status(row: OutputRow, reader: AnswerReader) -> tuple[str, str | None, Mapping[str, Any], str]:
    """(status, error, answer values, answer text)"""
    if row.row.request_id is None:
        return BLOCKED, row.row.blocked_reason, {}, ""
    if row.stored is None:
        return PENDING, "no result yet", {}, ""
    answer = reader.read(row.stored.result)
    return answer.status, answer.error, answer.values, answer.text


def _output_values(
    row: OutputRow, reader: AnswerReader, target: Target
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The row's line in the output, and in the rejected rows where it failed."""
    given = msgspec.json.decode(row.row.values)
    status, error, answer, text = _status(row, reader)
    result = row.stored.result if row.stored else None
    values = given | answer | {"_status": status, "_error": error} | result_columns(result)
    if target.type == "emulator":
        values[EMULATED] = True
    if status == ANSWERED:
        return values, None
    failure = {"_key": row.row.key, "_place": row.row.place, "_status": status, "_reason": error, "_answer": text}
    return values, failure | {"_request_id": values["_request_id"]} | given


def _rejected_columns(manifest: Manifest) -> list[str]:
    return ["_key", "_place", "_status", "_reason", "_answer", "_request_id", *manifest.columns]


def result_columns(result: RequestResult | None) -> dict[str, Any]:
    """What an output says of a result besides its answer, status and error."""
    if result is None:
        return dict.fromkeys(name for name in META_KINDS if name not in {"_status", "_error"})
    usage = result.usage
    return {
        "_request_id": result.custom_id,
        "_model": result.model,
        "_stop_reason": result.stop_reason,
        "_input_tokens": usage.input_tokens,
        "_cache_read_tokens": usage.cache_read_tokens,
        "_cache_write_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "_output_tokens": usage.output_tokens,
    }
