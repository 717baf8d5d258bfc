"""Job specs -> compiled and checked jobs, with the rows that a run is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

from batchforge.clock import SystemClock
from batchforge.errors import BatchForgeError, ProblemList, UsageError
from batchforge.escalation.steps import steps_of
from batchforge.events import Listener, warning
from batchforge.inputs import read_input
from batchforge.planning.planner import PlanSettings
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob, RowReader, compile_job
from batchforge.requests.request_checks import check_request
from batchforge.row_shapes import InputRow
from batchforge.running.known_columns import check_columns
from batchforge.running.run_options import RunOptions
from batchforge.running.upstream import Upstream
from batchforge.snapshots.document_copies import DocumentCopies
from batchforge.snapshots.snapshot_inputs import readable_input
from batchforge.snapshots.snapshot_records import SnapshotFolder
from batchforge.spec import JobSpec
from batchforge.target import Mode, Target


@stage("compile jobs")
def compile_jobs(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions,
    problems: ProblemList,
    upstream: Upstream | None = None,
    rows_of: Callable[[JobSpec], RowReader] | None = None,
) -> list[CompiledJob]:
    """Compile and check jobs. What is wrong goes into `problems`, all of it; jobs with errors are left out.

    Without `upstream`, jobs that read others' answers have no rows. `rows_of` gives a job's rows where they are not
    those of its input.
    """
    compiled = []
    for spec in jobs:
        found = ProblemList()
        try:
            job = _compile_checked(project, spec, target, options, found, upstream, rows_of)
            if upstream is not None and not all(map(upstream.has_rows, spec.input.refs)):
                check_columns(job, upstream.jobs, project.tree, found)
            _check_further_models(project, spec, target, options, found, upstream, rows_of)
            compiled.append(job)
        except BatchForgeError as exc:
            found.extend(exc)
        problems.items += dict.fromkeys(found.items)
    return compiled


def _check_further_models(
    project: Project,
    spec: JobSpec,
    target: Target,
    options: RunOptions,
    problems: ProblemList,
    upstream: Upstream | None,
    rows_of: Callable[[JobSpec], RowReader] | None,
) -> None:
    """Before anything is sent: whether the models that rows may go up to can be asked the same."""
    steps = steps_of(spec)[1:] if spec.ladder is not None and spec.step is None else ()
    for further in steps:
        if further.step is not None and further.step.kind == "rung":
            _compile_checked(project, further, target, options, problems, upstream, rows_of)


def _compile_checked(
    project: Project,
    spec: JobSpec,
    target: Target,
    options: RunOptions,
    problems: ProblemList,
    upstream: Upstream | None,
    rows_of: Callable[[JobSpec], RowReader] | None,
) -> CompiledJob:
    mode: Mode = options.mode or spec.mode or target.mode or "batch"
    spec = replace(spec, betas=tuple(dict.fromkeys([*spec.betas, *target.betas])), mode=mode)
    if rows_of is None and spec.input.needs_snapshots:
        spec = replace(spec, input=readable_input(spec.input, project, target, spec.vars))
    rows = rows_of(spec) if rows_of is not None else _rows_of_input(project, spec, options, upstream)
    if spec.step is not None and spec.step.turn:
        rows = partial(_with_stand_ins, rows, spec.step.turn)
    rows = partial(_with_keys, rows, options.keys) if options.keys else rows
    copies = DocumentCopies(spec.input, SnapshotFolder(project, target), spec.vars, SystemClock().now())
    compiled = replace(compile_job(spec, project.tree, rows, copies), may_upload=target.may_upload)
    check_request(
        compiled.sample_params(),
        betas=spec.betas,
        api_version=target.anthropic_version,
        mode=mode,
        locations=spec.locations,
        problems=problems,
        today=date.today(),
        allow_unknown_model=options.allow_unknown_model,
        prices=project.price_table(target),
    )
    return compiled


def _rows_of_input(project: Project, spec: JobSpec, options: RunOptions, upstream: Upstream | None) -> RowReader:
    is_narrowed = upstream is not None and upstream.is_narrowed(spec)
    return partial(
        read_input,
        spec.input,
        project.tree,
        spec.vars,
        upstream=upstream.rows if upstream is not None else None,
        limit=None if is_narrowed else options.limit,
        sample=None if is_narrowed else options.sample,
    )


def _with_stand_ins(read_rows: RowReader, turns: int) -> Iterator[InputRow]:
    """For what was said, which is yet to come."""
    return (row._replace(said=(("answer", "reason"),) * turns) for row in read_rows())


def rows_asked(project: Project, target: Target, options: RunOptions, spec: JobSpec) -> Iterator[InputRow]:
    """The rows of the job's input that a run with these options would look at."""
    spec = replace(spec, input=readable_input(spec.input, project, target, spec.vars))
    rows = _rows_of_input(project, spec, options, None)
    return iter(_with_keys(rows, options.keys) if options.keys else rows())


def _with_keys(read_rows: RowReader, keys: Sequence[str]) -> Iterator[InputRow]:
    """
    Raises:
        UsageError: BF907 there is no row with one of the keys.
    """
    left = set(keys)
    for row in read_rows():
        if row.key in left:
            left.discard(row.key)
            yield row
        if not left:
            return
    raise UsageError("BF907", f"no row has the key `{min(left)}`.", hint="`batchforge render JOB` shows keys.")


def in_mode(job: CompiledJob, settings: PlanSettings) -> PlanSettings:
    """With the job's way of delivery, in which a sync phase is always waited for."""
    mode: Mode = job.spec.mode or "batch"
    return replace(settings, mode=mode, can_prime=settings.can_prime or mode == "sync")


def tell_warnings(problems: ProblemList, listen: Listener) -> None:
    for problem in problems.warnings:
        place = f"{problem.location}: " if problem.location else ""
        text = problem.message if problem.message.endswith((".", "?", "!")) else f"{problem.message}."
        listen(warning(problem.code, f"{place}{text} {problem.hint}".rstrip()))
