"""What is stored for a job -> its output, written if it is not there already; and what the job came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchforge.clock import iso
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.escalation.rungs import LadderReport
from batchforge.escalation.steps import has_steps, scope_of, steps_of, without_step
from batchforge.events import Event, EventName
from batchforge.outputs import (
    OVERTAKEN,
    MovedRows,
    alone_with_outputs,
    find_moved_rows,
    is_missing_elsewhere,
    is_overtaken,
    output_path,
    write_outputs,
    written_as,
)
from batchforge.planning.approval import PlannedRun
from batchforge.planning.estimate import ways_of_results
from batchforge.planning.plan_rows import Action
from batchforge.planning.settled import Settled, identity_of
from batchforge.remote_output import why_not_uploaded
from batchforge.requests.compiler import CompiledJob
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions, narrowing_of
from batchforge.running.session import Session
from batchforge.running.stepping import Stepping, first_step, save_merged
from batchforge.running.upstream import deferring
from batchforge.spec import JobSpec
from batchforge.state.records import Manifest
from batchforge.summaries import JobSummary, SummedEstimate
from batchforge.table_output import why_not_written
from batchforge.target import Mode
from batchforge.testing.outcome import AssertionResult, failed_words
from batchforge.testing.output_tests import OutputTester, early_tests, in_order, skipped_late


@dataclass(slots=True)
class Delivery:
    """Delivers the jobs of one run."""

    run: Session

    def deliver(self, job: CompiledJob, facts: JobSummary) -> JobSummary:
        """Write the job's output from what is stored, if it is not there already."""
        state, target, spec = self.run.state, self.run.target, job.spec
        manifest = state.manifest(target.name, spec.name, self.run.options.scope)
        assert manifest is not None
        summary = replace(facts, batches_in_flight=self.run.in_flight(spec.name), **self._bill(spec))
        if summary.batches_in_flight:
            return summary
        if self.run.must_check_rows and not self.run.options.submitted_rows and not self.run.is_input_unchanged(spec):
            moved = self._moved(job, manifest, self.run.options.scope)
            if moved.count:
                return self._held_back(summary, moved.count, moved.examples)
        summary = self._written(summary, spec, manifest)
        self._settle(job, summary)
        return summary

    def deliver_steps(self, job: CompiledJob, stepping: Stepping, facts: JobSummary) -> JobSummary:
        """The same for a job that goes through several steps, each of which is as far as it comes."""
        in_flight = self.run.in_flight(job.spec.name)
        if in_flight:
            return replace(facts, batches_in_flight=in_flight, **self._bill(job.spec))
        _, report = self._merged(stepping)
        summary = replace(facts, ladder=report)
        if report.left:
            return replace(summary, **self._bill(job.spec))
        return self.deliver(job, summary)

    def _merged(self, stepping: Stepping) -> tuple[Manifest, LadderReport]:
        """Once every row has come as far as it comes, what is written is the whole; the steps need not be any more."""
        manifest, report = save_merged(stepping, self.run.state, self.run.run_id, iso(self.run.clock.now()))
        if not report.left:
            for number in range(1, len(steps_of(stepping.spec)) + 1):
                step = stepping.manifest(number)
                if step is not None:
                    self.run.state.mark_written(step, "merged")
        return manifest, report

    def _moved(self, job: CompiledJob, manifest: Manifest, scope: str) -> MovedRows:
        """Of several steps, the first holds every row as it was."""
        if has_steps(job.spec):
            job = first_step(job)
            first = self.run.state.manifest(self.run.target.name, job.spec.name, scope_of(job.spec, scope))
            manifest = first or manifest
        return find_moved_rows(job, self.run.state, manifest)

    def deliver_stored(self, spec: JobSpec) -> JobSummary:
        """The same for rows that an earlier process submitted."""
        mode: Mode = spec.mode or self.run.target.mode or "batch"
        bill = self._bill(spec)
        estimate = self._estimate_before(spec.name, bill["brought"].results)
        in_flight = self.run.in_flight(spec.name)
        summary = JobSummary(spec.name, batches_in_flight=in_flight, mode=mode, estimate=estimate, **bill)
        if summary.batches_in_flight:
            return summary
        for manifest, report in self._to_deliver(spec):
            narrowing = narrowing_of(manifest.scope)
            narrowed = replace(self.run.options, limit=narrowing.get("limit"), sample=narrowing.get("sample"))
            summary = replace(summary, ladder=report)
            if report is not None and report.left:
                summary = replace(summary, rows=manifest.row_count)
                continue
            try:
                moved = self._moved_since(spec, manifest, narrowed)
            except BatchForgeError as exc:
                problem = f"its rows cannot be read now, to compare them with what was submitted: {exc}"
                return replace(summary, rows=manifest.row_count, problem=problem)
            if moved is not None and moved[0]:
                summary = self._held_back(replace(summary, rows=manifest.row_count), *moved)
            else:
                summary = self._written(replace(summary, rows=manifest.row_count), spec, manifest)
        return summary

    def _to_deliver(self, spec: JobSpec) -> Iterator[tuple[Manifest, LadderReport | None]]:
        """What has yet to be written; of steps, what they come to together."""
        unwritten = self.unwritten([spec.name])
        if not has_steps(spec):
            # Those of steps are of a ladder that is no more.
            yield from ((each, None) for each in unwritten if without_step(each.scope) == each.scope)
            return
        for scope in dict.fromkeys(without_step(manifest.scope) for manifest in unwritten):
            stepping = Stepping(spec, self.run.project, self.run.target, self.run.state, scope)
            if stepping.manifest(1) is not None:
                yield self._merged(stepping)

    def _moved_since(self, spec: JobSpec, manifest: Manifest, options: RunOptions) -> tuple[int, Sequence[str]] | None:
        if self.run.options.submitted_rows:
            return None
        problems = ProblemList()
        project, target = self.run.project, self.run.target
        run = self.run.state.run(manifest.run_id)
        read = replace(self.run.upstream, selected=run.jobs if run else (), scope=manifest.scope)
        with deferring(project, target, PlannedRun.from_record(run).deferral if run else None, read):
            compiled = compile_jobs(project, [spec], target, options, problems, read)
            problems.raise_if_any()
            moved = self._moved(compiled[0], manifest, manifest.scope)
        return moved.count, moved.examples

    def _written(self, summary: JobSummary, spec: JobSpec, read: Manifest) -> JobSummary:
        """With the output written, by one process after the other: what the one before has written stays as it is."""
        with alone_with_outputs(spec, self.run.project, [self.run.target]):
            manifest = self.run.state.manifest(read.target, read.job, read.scope)
            if manifest is None or is_overtaken(self.run.state, read):
                return replace(summary, problem=OVERTAKEN)
            written = self._written_alone(summary, spec, manifest)
            was_overtaken = written.output is not None and written.output.held_back_because == OVERTAKEN
            return replace(written, problem=OVERTAKEN) if was_overtaken else written

    def _written_alone(self, summary: JobSummary, spec: JobSpec, manifest: Manifest) -> JobSummary:
        """With the output written, and tested before it takes the old one's place."""
        path = output_path(spec, self.run.project, self.run.target)
        form = written_as(spec, path)
        is_written = manifest.written_as == form and path.exists()
        if is_written and (manifest.scope or not self._is_missing_elsewhere(spec, manifest)):
            return self._tested_again(summary, spec, path, manifest)
        results: list[AssertionResult] = []

        def objection(candidate: Path) -> str:
            results.extend(self._tester.test(spec, candidate, manifest, early_tests(spec)))
            return failed_words(results)

        report = write_outputs(spec, self.run.state, manifest, self.run.project, self.run.target, objection)
        if report.is_published or manifest.scope:
            self.run.state.mark_written(manifest, form)
        if report.is_published:
            self._tell_what_was_left(spec)
        name = EventName.OUTPUT_WRITTEN if report.is_published else EventName.OUTPUT_HELD_BACK
        self.run.listen(Event(name, spec.name, report.path, {"path": report.path, "because": report.held_back_because}))
        return self._with_tests(replace(summary, output=report), spec, replace(manifest, written_as=form), results)

    def _is_missing_elsewhere(self, spec: JobSpec, manifest: Manifest) -> bool:
        return is_missing_elsewhere(spec, manifest.row_count, self.run.project, self.run.target)

    def _tell_what_was_left(self, spec: JobSpec) -> None:
        """Where emulated answers do not go."""
        for reason in (
            why_not_written(spec, self.run.project, self.run.target) if spec.output.table else "",
            why_not_uploaded(spec, self.run.target),
        ):
            if reason:
                self.run.warn("BF713", reason, spec.name)

    def _tested_again(self, summary: JobSummary, spec: JobSpec, path: Path, manifest: Manifest) -> JobSummary:
        """The output is there already: its tests are run if they are others than before."""
        if not spec.tests:
            return summary
        results = self._tester.earlier_results(spec, manifest)
        if results is None:
            results = self._tester.test(spec, path, manifest, early_tests(spec))
        return self._with_tests(summary, spec, manifest, results)

    def _with_tests(
        self, summary: JobSummary, spec: JobSpec, manifest: Manifest, results: Sequence[AssertionResult]
    ) -> JobSummary:
        if not spec.tests:
            return summary
        asked = [result for result in results if result.name not in {test.name for test in spec.tests if test.is_late}]
        tests = in_order(spec, [*asked, *skipped_late(spec)])
        return replace(summary, tests=tests, tests_id=self._tester.tests_id(spec, manifest))

    def test_late(self, summary: JobSummary, spec: JobSpec) -> JobSummary:
        """With the tests that had to wait until other jobs were done."""
        late = [test for test in spec.tests if test.is_late]
        path = output_path(spec, self.run.project, self.run.target)
        if not late or not summary.tests or summary.batches_in_flight or not path.exists():
            return summary
        with alone_with_outputs(spec, self.run.project, [self.run.target]):
            manifest = self.run.state.manifest(self.run.target.name, spec.name)
            results = self._tester.test(spec, path, manifest, late)
        asked = [result for result in summary.tests if result.name not in {test.name for test in late}]
        return replace(summary, tests=in_order(spec, [*asked, *results]))

    @property
    def _tester(self) -> OutputTester:
        return OutputTester(self.run.project, self.run.target, self.run.state)

    def _held_back(self, summary: JobSummary, count: int, examples: Sequence[str]) -> JobSummary:
        problem = (
            f"{count:,} rows have moved since they were submitted ({'; '.join(examples)}); "
            "--submitted-rows writes the output of the rows as they were"
        )
        self.run.listen(Event(EventName.OUTPUT_HELD_BACK, summary.job, problem, {"moved": count}))
        return replace(summary, problem=problem)

    def _settle(self, job: CompiledJob, summary: JobSummary) -> None:
        """Remember that there is nothing to do for the job any more, if that is so."""
        state, spec, identity = self.run.state, job.spec, identity_of(job)
        manifest = state.manifest(self.run.target.name, spec.name)
        own, last = len(state.attempts_of_run(self.run.run_id)), state.last_attempt_id()
        if (
            manifest is None
            or spec.name not in self.run.attempts_before
            or identity is None
            or self.run.options.scope
            or self.run.options.keys
            or not _is_all_answered(summary)
            or last != self.run.attempts_before[spec.name] + own
            or state.open_attempts()
            or not self.run.is_input_unchanged(spec)
        ):
            return
        files = self.run.input_marks[spec.name]
        settled = Settled(identity, files, summary.rows, summary.distinct_requests, last)
        state.mark_settled(manifest, settled.encode())

    def unwritten(self, names: Sequence[str]) -> list[Manifest]:
        unwritten = self.run.state.unwritten_manifests(self.run.target.name)
        return [m for m in unwritten if m.job in names and not self._is_overtaken(m)]

    def _is_overtaken(self, manifest: Manifest) -> bool:
        """Rows that a run was limited to, where all rows were asked since: they may have other requests by now."""
        if not manifest.scope or without_step(manifest.scope) != manifest.scope:
            return False
        whole = self.run.state.manifest(manifest.target, manifest.job)
        return whole is not None and whole.created_at > manifest.created_at

    def _bill(self, spec: JobSpec) -> dict[str, Any]:
        """What came back, and what the same would have cost in the other ways."""
        brought = self.run.brought(spec.name)
        prices = self.run.project.price_table(self.run.target).prices_of(spec.model)
        ways = ways_of_results(brought, float(prices.batch_multiplier)) if prices and not brought.unpriced else None
        return {"brought": brought, "four_ways": ways}

    def _estimate_before(self, job: str, results: int) -> SummedEstimate | None:
        """What the results were expected to cost by the run that asked for them, where they are all of it."""
        for run in self.run.state.runs(20):
            planned = PlannedRun.from_record(run).jobs.get(job)
            if planned is not None and planned["requests"]:
                return estimate_of(planned) if planned["requests"] == results else None
        return None


def estimate_of(planned: Mapping[str, Any]) -> SummedEstimate:
    names = ("expected_pico_usd", "ceiling_pico_usd", "input_tokens", "output_tokens")
    return SummedEstimate(*(planned[name] for name in names))


def _is_all_answered(summary: JobSummary) -> bool:
    if summary.output is not None:
        return summary.output.is_published and summary.output.failed_rows == 0
    return dict(summary.actions) == {Action.REUSE.value: summary.rows}
