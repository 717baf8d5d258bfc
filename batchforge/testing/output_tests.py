"""A job's output file and its tests -> their results; failing rows lie below target/<target>/test_failures/."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchforge.answers import column_kinds
from batchforge.errors import BatchForgeError
from batchforge.inputs import read_input
from batchforge.outputs import META_KINDS, answer_columns, output_path_of, shown_path
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.spec import AssertionSpec, JobSpec, OutputSpec, SourceSpec
from batchforge.spill import SpillCounter
from batchforge.state.records import Manifest, StateReader
from batchforge.tables.options import TableOptions, format_of
from batchforge.tables.reading import read_rows
from batchforge.target import Target
from batchforge.testing.assertions import run_assertions
from batchforge.testing.outcome import ERROR, SKIPPED, AssertionResult
from batchforge.testing.tested_rows import Surroundings
from batchforge.testing.tested_tables import TestedTable, TestedTables, open_tables

_CELL_KINDS = frozenset({"integer", "number", "boolean", "json"})
_RUNS_BACK = 50


@dataclass(frozen=True, slots=True)
class OutputTester:
    """Tests outputs of a target. Sends nothing, and writes nothing but failing rows."""

    project: Project
    target: Target
    state: StateReader | None

    @stage("test outputs")
    def test(
        self, spec: JobSpec, path: Path, manifest: Manifest | None, tests: Sequence[AssertionSpec] | None = None
    ) -> list[AssertionResult]:
        """The results of a job's tests on an output or on candidates for one, in the order of the tests."""
        tests = spec.tests if tests is None else tests
        self._remove_failures(spec, tests)
        if not tests:
            return []
        with open_tables() as tables:
            table = _add_output(tables, spec.name, spec.output, path, self._shown(path), _columns(spec, manifest))
            around = self._surroundings(spec, manifest, tables)
            found = run_assertions(
                spec.name, tests, tables, table, around, lambda name: self.failures_path(spec.name, name)
            )
            return [self._with_shown_paths(result) for result in found]

    def test_source(self, source: SourceSpec, tests: Sequence[AssertionSpec]) -> list[AssertionResult]:
        """The results of tests of a declared source, on its rows as they can be read without a network."""
        name = f"source:{source.name}"

        def failures_path(test: str) -> Path:
            return failures_folder(self.project, self.target) / "sources" / f"{source.name}.{test}.jsonl"

        for test in tests:
            failures_path(test.name).unlink(missing_ok=True)
        rows = read_input(source.input, self.project.tree, self.project.vars)
        with open_tables() as tables:
            try:
                table = tables.add(source.name, (row.values for row in rows))
            except BatchForgeError as exc:
                return [_unasked(name, test, ERROR, str(exc)) for test in tests]
            found = run_assertions(name, tests, tables, table, Surroundings(), failures_path)
            return [self._with_shown_paths(result) for result in found]

    def without_output(
        self, spec: JobSpec, tests: Sequence[AssertionSpec], status: str = ERROR
    ) -> list[AssertionResult]:
        """What tests of a job come to that has written nothing yet."""
        message = "there is no output yet; run the job first"
        return [_unasked(spec.name, test, status, message) for test in tests]

    def _remove_failures(self, spec: JobSpec, tests: Sequence[AssertionSpec]) -> None:
        """Of the tests that are asked now, and of those that are none any more."""
        names = {test.name for test in spec.tests} - {test.name for test in tests}
        for path in failure_files(self.project, self.target, spec.name):
            if path.name not in {f"{spec.name}.{name}.jsonl" for name in names}:
                path.unlink(missing_ok=True)

    def failures_path(self, job: str, test: str) -> Path:
        return failures_folder(self.project, self.target) / f"{job}.{test}.jsonl"

    def _with_shown_paths(self, result: AssertionResult) -> AssertionResult:
        if result.failures_path is None:
            return result
        return replace(result, failures_path=self._shown(Path(result.failures_path)))

    def _shown(self, path: Path) -> str:
        return shown_path(path, self.project)

    # ---- what a test may ask besides the rows

    def _surroundings(self, spec: JobSpec, manifest: Manifest | None, tables: TestedTables) -> Surroundings:
        others: dict[str, TestedTable | None] = {}

        def other_table(job: str) -> TestedTable | None:
            if job not in others:
                others[job] = self._add_other(job, spec, tables)
            return others[job]

        return Surroundings(
            is_partial=manifest is not None and bool(manifest.scope),
            cost_usd=lambda: self._cost_usd(manifest),
            spread_before=lambda name: self._spread_before(spec.name, name, manifest),
            other_table=other_table,
            labels=frozenset(_labels(spec.output.schema)),
            output_id=manifest.digest if manifest else "",
        )

    def _add_other(self, job: str, spec: JobSpec, tables: TestedTables) -> TestedTable | None:
        output = next(test.reads[job] for test in spec.tests if job in test.reads)
        path = output_path_of(job, output, self.project, self.target)
        return _add_output(tables, job, output, path, self._shown(path), ()) if path.exists() else None

    def _cost_usd(self, manifest: Manifest | None) -> float | None:
        """What the answers of the rows have cost: each request once, however many rows it serves."""
        if self.state is None or manifest is None:
            return None
        pico_usd = 0
        with SpillCounter() as seen:
            for row in self.state.output_rows(manifest.manifest_id):
                if row.stored is None or row.row.request_id is None:
                    continue
                result = row.stored.result
                if seen.add(row.row.request_id + row.row.ordinal.to_bytes(4, "big")) or not result.kind.is_billed:
                    continue
                if result.cost_pico_usd is None:
                    return None
                pico_usd += result.cost_pico_usd
        return pico_usd / 1e12

    def _spread_before(self, job: str, test: str, manifest: Manifest | None) -> Mapping[str, Any] | None:
        """Of the last published output that was another one than this."""
        for found in self._results_of_runs(job):
            if not found["is_published"]:
                continue
            for result in found["tests"]:
                details = result["details"]
                if result["name"] == test and "spread" in details and details["output"] != _digest_of(manifest):
                    spread: Mapping[str, Any] = details["spread"]
                    return spread
        return None

    # ---- what was found before

    def tests_id(self, spec: JobSpec, manifest: Manifest) -> str:
        """Changes when the tests or the rows change, so that results of another run need not be found again."""
        parts = (spec.tests, manifest.digest, manifest.written_as)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def earlier_results(self, spec: JobSpec, manifest: Manifest) -> list[AssertionResult] | None:
        """Of the same tests on the same output; None where they must be run."""
        wanted = self.tests_id(spec, manifest)
        for found in self._results_of_runs(spec.name):
            if found["tests_id"] == wanted and found["is_published"]:
                return [AssertionResult(**result) for result in found["tests"]]
        return None

    def _results_of_runs(self, job: str) -> Iterator[dict[str, Any]]:
        for run in self.state.runs(_RUNS_BACK) if self.state is not None else ():
            if run.target != self.target.name:
                continue
            for found in run.summary.get("jobs", ()):
                if isinstance(found, Mapping) and found.get("job") == job and found.get("tests"):
                    output = found.get("output")
                    yield {**found, "is_published": output is None or output["is_published"]}


def failures_folder(project: Project, target: Target) -> Path:
    return project.artifacts_folder / target.name / "test_failures"


def failure_files(project: Project, target: Target, job: str) -> list[Path]:
    """Files with rows that failed the tests of a job. Names of jobs and tests have no dots."""
    return sorted(failures_folder(project, target).glob(f"{job}.*.jsonl"))


def step_folder(project: Project, target: Target) -> Path:
    """Of rows that are tested before they are part of an output."""
    return project.artifacts_folder / target.name / "steps"


def step_name(spec: JobSpec, rung: int) -> str:
    """Each process its own: a plan may judge answers while a run does."""
    return f"{spec.name}@{rung}-{os.getpid()}"


def step_files(project: Project, target: Target, spec: JobSpec) -> list[Path]:
    """What tests of a rung's answers leave where they are broken off. Names of jobs have no @."""
    rows = sorted(step_folder(project, target).glob(f"{spec.name}@*.jsonl"))
    return [*rows, *sorted(failures_folder(project, target).glob(f"{spec.name}@*.jsonl"))]


def early_tests(spec: JobSpec) -> list[AssertionSpec]:
    """Tests that can be asked before the output is there for all."""
    return [test for test in spec.tests if not test.is_late]


def in_order(spec: JobSpec, results: Sequence[AssertionResult]) -> list[AssertionResult]:
    """In the order of the job's tests."""
    names = [test.name for test in spec.tests]
    return sorted(results, key=lambda result: names.index(result.name))


def skipped_late(spec: JobSpec) -> list[AssertionResult]:
    """Tests that wait for jobs after this one."""
    late = [test for test in spec.tests if test.is_late]
    return [_unasked(spec.name, test, SKIPPED, f"waits for {', '.join(test.reads)}") for test in late]


def _unasked(job: str, test: AssertionSpec, status: str, message: str) -> AssertionResult:
    path = test.location.path if test.location else ""
    return AssertionResult(job, test.name, test.kind, test.severity, status, message=message, path=path)


def _add_output(
    tables: TestedTables, name: str, output: OutputSpec, path: Path, shown_as: str, columns: Sequence[str]
) -> TestedTable:
    kinds = column_kinds(output) | META_KINDS
    return tables.add(name, _rows(path, shown_as, kinds), columns, kinds)


def _rows(path: Path, shown_as: str, kinds: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    options = TableOptions(format_of(path.name))
    if options.format not in ("csv", "tsv"):
        yield from (row for _, row in read_rows(path, shown_as, options))
        return
    _, first = next(read_rows(path, shown_as, options), (0, {}))
    types = {name: kinds[name] for name in first if kinds.get(name) in _CELL_KINDS}
    types |= {name: "json" for name in first if kinds.get(name, "").endswith("[]")}
    for _, row in read_rows(path, shown_as, replace(options, types=types)):
        yield {name: None if value == "" else value for name, value in row.items()}


def _columns(spec: JobSpec, manifest: Manifest | None) -> list[str]:
    """What is known of them without a look at the rows, of which there may be none."""
    return [*(manifest.columns if manifest else ()), *answer_columns(spec), *META_KINDS]


def _labels(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        with suppress(TypeError):
            yield from (label for label in schema.get("enum", ()) if isinstance(label, str))
        for value in schema.values():
            yield from _labels(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _labels(value)


def _digest_of(manifest: Manifest | None) -> str:
    return manifest.digest if manifest else ""
