"""Outputs that are there -> the results of chosen tests, found again and recorded as a run. Nothing is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from batchforge.clock import Clock, SystemClock, iso
from batchforge.git_commit import describe_commit
from batchforge.outputs import candidate_path, output_path
from batchforge.project import Project
from batchforge.selection.choosing import ChosenTests
from batchforge.spec import JobSpec, SourceSpec
from batchforge.state.holders import this_holder, user_at_host
from batchforge.state.records import RunRecord, StateReader, StateStore
from batchforge.summaries import JobSummary, RunSummary, status_of
from batchforge.target import Target
from batchforge.targets import has_state, open_state
from batchforge.testing.output_tests import OutputTester
from batchforge.whole_file import replace_file

COMMAND = "test"


def run_tests(
    project: Project, chosen: Sequence[ChosenTests], target: Target, clock: Clock | None = None
) -> RunSummary:
    """These tests on the rows as they are. Written to run_results.json, and to the state if there is one. A job without
    an output has errors for tests."""
    clock = clock or SystemClock()
    began = clock.now()
    run_id = f"{began:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    with _state(project, target) as state:
        if state is not None:
            state.begin_run(_record(run_id, iso(began), project, chosen, target))
        summaries = [tested(project, each, target, state) for each in chosen]
        summary = RunSummary(
            run_id=run_id,
            target=target.name,
            is_emulated=target.type == "emulator",
            command=COMMAND,
            status=status_of(summaries),
            started_at=iso(began),
            ended_at=iso(clock.now()),
            jobs=summaries,
        )
        value = summary.to_json()
        replace_file(project.run_results_path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        if state is not None:
            state.end_run(run_id, summary.status, value)
    return summary


@contextmanager
def _state(project: Project, target: Target) -> Iterator[StateStore | None]:
    if not has_state(project, target):
        yield None
        return
    state = open_state(project, target)
    try:
        yield state
    finally:
        state.close()


def _record(run_id: str, started_at: str, project: Project, chosen: Sequence[ChosenTests], target: Target) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        started_at=started_at,
        command=COMMAND,
        target=target.name,
        jobs=tuple(each.spec.name for each in chosen if isinstance(each.spec, JobSpec)),
        commit=describe_commit(project.root),
        started_by=user_at_host(),
        holder=this_holder(),
    )


def tested(project: Project, chosen: ChosenTests, target: Target, state: StateReader | None) -> JobSummary:
    """What chosen tests come to; those of a source as if it were a job."""
    tester = OutputTester(project, target, state)
    if isinstance(chosen.spec, SourceSpec):
        tests = tester.test_source(chosen.spec, chosen.tests)
        return JobSummary(chosen.owner, rows=max((result.rows for result in tests), default=0), tests=tests)
    spec = chosen.spec
    manifest = state.manifest(target.name, spec.name) if state is not None else None
    path = _tested_file(spec, project, target)
    rows = manifest.row_count if manifest else 0
    mode = spec.mode or target.mode or "batch"
    if path is None:
        return JobSummary(spec.name, rows, mode=mode, tests=tester.without_output(spec, chosen.tests))
    # Only results of all tests are those that need not be found again.
    tests_id = tester.tests_id(spec, manifest) if manifest and len(chosen.names) == len(spec.tests) else ""
    results = tester.test(spec, path, manifest, chosen.tests)
    return JobSummary(spec.name, rows, mode=mode, tests=results, tests_id=tests_id)


def _tested_file(spec: JobSpec, project: Project, target: Target) -> Path | None:
    """The output; before there is one, the candidates that were held back."""
    path = output_path(spec, project, target)
    return next((each for each in (path, candidate_path(path)) if each.exists()), None)
