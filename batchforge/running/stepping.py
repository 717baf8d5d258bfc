"""The steps of a job in a run: each compiled when those before it are over, and what they come to together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from batchforge.config.ladder_settings import ROW_TESTS
from batchforge.errors import ProblemList
from batchforge.escalation.calibration import NEVER
from batchforge.escalation.climbing import Ascent, Climb, StepRows, Taken, rows_to_ask
from batchforge.escalation.rules import field_to_agree_on
from batchforge.escalation.rungs import GuaranteeReport, LadderReport, RungReport
from batchforge.escalation.steps import RUNG, VOTES, ladder_columns, scope_of, steps_of
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_rows import Action, PlannedRow, RowSpool
from batchforge.project import Project
from batchforge.requests.compiler import ANSWER, CompiledJob
from batchforge.row_shapes import PARENT
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.running.upstream import Upstream
from batchforge.spec import JobSpec, StepSpec
from batchforge.spill import SpillCounter
from batchforge.state.records import Manifest, ManifestRow, OutputRow, StateReader, StateStore
from batchforge.tables.json_text import encode_json
from batchforge.tables.options import TableOptions
from batchforge.tables.reading import read_rows
from batchforge.target import Target
from batchforge.testing.output_tests import OutputTester, step_folder, step_name

_KEY = "_key"
_MOST_FAILING = 100_000_000


@dataclass(frozen=True, slots=True)
class Stepping:
    """One job's steps on a target, as they are in state."""

    spec: JobSpec
    project: Project
    target: Target
    state: StateReader | None
    scope: str

    def climb(self, rows_of: StepRows | None = None) -> Climb:
        """As it stands now: what it finds out once it holds to."""
        return Climb(self.spec, rows_of or self.rows_of, self._failed_tests)

    def manifest(self, number: int) -> Manifest | None:
        step = steps_of(self.spec)[number - 1]
        if self.state is None:
            return None
        return self.state.manifest(self.target.name, self.spec.name, scope_of(step, self.scope))

    def rows_of(self, number: int) -> Iterable[OutputRow]:
        manifest = self.manifest(number)
        if manifest is None or self.state is None:
            return ()
        return self.state.output_rows(manifest.manifest_id)

    def _failed_tests(self, rung: int, rows: Iterable[Taken]) -> Collection[str]:
        """Keys of the rows that fail one of the job's tests that look at single rows."""
        tests = [
            replace(test, limit=_MOST_FAILING)
            for test in self.spec.tests
            if test.kind in ROW_TESTS and test.severity == "error"
        ]
        tested = replace(self.spec, name=step_name(self.spec, rung), tests=tuple(tests))
        folder = step_folder(self.project, self.target)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{tested.name}.jsonl"
        with path.open("wb") as table:
            for taken in rows:
                values = msgspec.json.decode(taken.row.values) | dict(taken.answer.values)
                line = {**values, _KEY: taken.row.key, "_status": taken.answer.status}
                table.write(encode_json(line) + b"\n")
        tester = OutputTester(self.project, self.target, self.state)
        tester.test(tested, path, None)
        files = [tester.failures_path(tested.name, test.name) for test in tests]
        options = TableOptions("jsonl")
        found = (read_rows(file, file.name, options) for file in files if file.exists())
        failed = {str(row[_KEY]) for rows in found for _, row in rows}
        for file in [path, *files]:
            file.unlink(missing_ok=True)
        return failed


def first_step(job: CompiledJob) -> CompiledJob:
    """The job as it is written is compiled as its first step asks."""
    return replace(job, spec=steps_of(job.spec)[0])


def compile_step(stepping: Stepping, number: int, options: RunOptions, upstream: Upstream | None) -> CompiledJob:
    """A step that could ask every row.

    Raises:
        ProjectError: what it would ask is not possible with its model.
    """
    problems = ProblemList()
    spec = steps_of(stepping.spec)[number - 1]
    compiled = compile_jobs(stepping.project, [spec], stepping.target, options, problems, upstream)
    problems.raise_if_any()
    return compiled[0]


def for_open_rows(compiled: CompiledJob, climb: Climb) -> CompiledJob:
    """A further step, for the rows that those before it have left to it."""
    assert compiled.spec.step is not None
    return compiled.with_rows(partial(rows_to_ask, compiled.read_rows, climb, compiled.spec.step.number))


# ---- what the steps come to together


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of a job, each with the request that its output is made of."""

    digest: str
    row_count: int
    report: LadderReport


def save_merged(stepping: Stepping, state: StateStore, run_id: str, created_at: str) -> tuple[Manifest, LadderReport]:
    """The rows of the whole job, as its output is made of them, remembered as those of a job with one model are."""
    first, name = stepping.manifest(1), stepping.spec.name
    assert first is not None
    before = state.manifest(stepping.target.name, name, stepping.scope)
    with closing(RowSpool()) as spool:
        merged, columns = merge(stepping, spool), merged_columns(stepping.spec, first)
        known = (before.digest, dict(before.parts), before.columns) if before is not None else None
        if before is not None and known == (merged.digest, dict(first.parts), columns):
            state.renew_manifest(before.manifest_id, run_id, created_at)
        else:
            manifest = _whole_manifest(stepping, first, merged, run_id, created_at)
            state.save_manifest(manifest, (planned.row for planned in spool.read()))
    saved = state.manifest(stepping.target.name, name, stepping.scope)
    assert saved is not None
    return saved, merged.report


def _whole_manifest(stepping: Stepping, first: Manifest, merged: Merged, run_id: str, created_at: str) -> Manifest:
    return Manifest(
        manifest_id=0,
        job=stepping.spec.name,
        target=stepping.target.name,
        scope=stepping.scope,
        run_id=run_id,
        created_at=created_at,
        digest=merged.digest,
        row_count=merged.row_count,
        parts=first.parts,
        columns=merged_columns(stepping.spec, first),
    )


def merge(stepping: Stepping, spool: RowSpool) -> Merged:
    """Every row with what it ends with, written in the order of the input."""
    climb, digest = stepping.climb(), hashlib.sha256()
    counts = _Counts(climb)
    for ascent in climb.ascents():
        taken, number = climb.final(ascent)
        counts.add(ascent, number)
        row = _merged_row(stepping.spec, taken, climb.steps[number - 1])
        digest.update(b"%d %d %s " % (len(row.key), row.ordinal, row.request_id or b"") + row.key.encode())
        if stepping.spec.ladder is not None:
            digest.update(row.values)  # they hold the rung and the votes
        spool.write(PlannedRow(row, Action.REUSE, "", None))
    report = LadderReport(
        rungs=list(counts.rungs(stepping)),
        guarantee=_guarantee_report(stepping.spec, climb),
        left=counts.left,
        answered_by=dict(counts.answered_by),
    )
    return Merged(digest.hexdigest(), counts.row_count, report)


def _merged_row(spec: JobSpec, taken: Taken, step: JobSpec) -> ManifestRow:
    assert step.step is not None
    if spec.ladder is None:
        return taken.row
    values: dict[str, Any] = msgspec.json.decode(taken.row.values) | {RUNG: step.step.rung}
    if spec.ladder.has_votes:
        values[VOTES] = round(taken.votes, 4)
    return taken.row._replace(values=msgspec.json.encode(values))


def merged_columns(spec: JobSpec, first: Manifest) -> tuple[str, ...]:
    columns = [column for column in first.columns if spec.answers == 1 or column not in (PARENT, ANSWER)]
    return tuple(dict.fromkeys([*columns, *ladder_columns(spec)]))


class _Counts:
    """What is counted while rows go by."""

    def __init__(self, climb: Climb) -> None:
        self.climb = climb
        self.row_count = self.left = 0
        self.asked: Counter[int] = Counter()
        self.kept: Counter[int] = Counter()
        self.causes: dict[int, Counter[str]] = {}
        self.answered_by: Counter[str] = Counter()

    def add(self, ascent: Ascent, final: int) -> None:
        self.row_count += 1
        self.left += self.climb.is_left(ascent)
        self.asked.update(number for number, taken in enumerate(ascent.steps, 1) if taken is not None)
        self.kept[final] += 1
        self.answered_by[self.climb.steps[final - 1].model] += 1
        for rung in range(1, len(self.climb.spec.models)):
            cause = self.climb.cause(rung, ascent)
            if cause is not None:
                self.causes.setdefault(rung, Counter())[cause] += 1

    def rungs(self, stepping: Stepping) -> Iterator[RungReport]:
        steps = self.climb.steps
        for step in (spec.step for spec in steps):
            assert step is not None
            if step.kind == "turn":
                continue
            of_rung = [each.number for each in (spec.step for spec in steps) if each and _belongs_to(each, step)]
            cost_pico_usd, unpriced = _costs(stepping, of_rung)
            yield RungReport(
                rung=step.rung,
                model=steps[step.number - 1].model,
                is_sample=step.kind == "sample",
                rows=self.asked[step.number],
                kept=sum(self.kept[number] for number in of_rung),
                went_up=dict(self.causes.get(step.rung, {})) if step.kind == "rung" else {},
                asked_again=sum(self.asked[number] for number in of_rung if number != step.number),
                cost_usd=round(cost_pico_usd / 1e12, 9),
                unpriced=unpriced,
            )


def _belongs_to(step: StepSpec, rung: StepSpec) -> bool:
    """Whether it is the step itself, or one of its turns."""
    is_turn = step.kind == "turn" and rung.kind == "rung" and step.rung == rung.rung
    return step == rung or is_turn


def _costs(stepping: Stepping, numbers: Sequence[int]) -> tuple[int, int]:
    """(pico-USD, answers without a price): each answer once, however many rows it serves."""
    cost_pico_usd = unpriced = 0
    with SpillCounter() as seen:
        for row in (row for number in numbers for row in stepping.rows_of(number)):
            if row.stored is None or row.row.request_id is None or not row.stored.result.kind.is_billed:
                continue
            if seen.add(row.row.request_id + row.row.ordinal.to_bytes(4, "big")):
                continue
            price = row.stored.result.cost_pico_usd
            cost_pico_usd += price or 0
            unpriced += price is None
    return cost_pico_usd, unpriced


def _guarantee_report(spec: JobSpec, climb: Climb) -> GuaranteeReport | None:
    guarantee = spec.ladder.guarantee if spec.ladder is not None else None
    if guarantee is None:
        return None
    found = climb.calibration
    return GuaranteeReport(
        agreement=guarantee.agreement,
        confidence=guarantee.confidence,
        score=guarantee.score,
        field=field_to_agree_on(spec),
        threshold=None if found.threshold == NEVER else found.threshold[0],
        sample=found.sample,
        differing=found.differing,
        tells_apart=found.tells_apart,
    )


def resend_in_step(spec: JobSpec, resend: Resend) -> Resend:
    """`retry` asks the last model again. What failed with another has gone up already, or failed for a cause that
    `escalate_on` does not name, and stays as it is."""
    if resend is not Resend.FAILED or spec.step is None or spec.step.rung == len(spec.models):
        return resend
    return Resend.NOTHING_PAID
