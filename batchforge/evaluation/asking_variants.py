"""One job asked in several ways on the same rows -> a `Comparison`. The answers stay in state: a run pays for them no
more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from batchforge.answers import reader_of
from batchforge.clock import Clock
from batchforge.errors import ProblemList
from batchforge.evaluation.comparison import Comparison, Measured, Variant, compare_variants
from batchforge.evaluation.variants import Axes, field_that_decides, make_variants, stratified_keys
from batchforge.events import Listener, ignore
from batchforge.inputs import read_input
from batchforge.lookup.tried import TriedRow
from batchforge.outputs import ANSWERED
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.running.runner import Runner
from batchforge.running.session import Session, open_session
from batchforge.running.upstream import deferring, make_upstream
from batchforge.spec import JobSpec
from batchforge.tables.writing import open_writer
from batchforge.target import Mode, Target
from batchforge.targets import read_state
from batchforge.testing.output_tests import OutputTester


@dataclass(frozen=True, slots=True)
class CompareOptions:
    axes: Axes = field(default_factory=Axes)
    sample: int = 100
    labels: tuple[str, str] | None = None
    """(field of the answer, column of the input with the right values); None: as the job's tests say."""
    reference: str = ""
    """The variant that the others are held against where there is no label; empty: the first."""
    margin: float = 0.02
    """How far below the best a variant's share of right rows may be."""


def compare(
    project: Project,
    spec: JobSpec,
    target: Target,
    wanted: CompareOptions,
    options: RunOptions,
    *,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> Comparison:
    """
    Raises:
        UsageError: BF940 there is only one variant, BF941 there is no such prompt, BF942 no such field or variant.
        BudgetExceeded: the budget does not hold all variants; nothing was sent.
        ProjectError, ApiError, KeyboardInterrupt: as `run`; what was answered stays.
    """
    mode: Mode = spec.mode or target.mode or "batch"
    variants = make_variants(spec, wanted.axes, project.models, project.tree, mode)
    columns = [column for column in reader_of(spec).columns if not column.startswith("_")]
    decides, label = field_that_decides(columns, wanted.labels, spec)
    names = [variant.name for variant, _ in variants if not variant.is_noise]
    reference = wanted.reference or names[0]
    _check_name(decides, columns)
    _check_name(reference, names)
    upstream = make_upstream(project, [spec], target, "")
    upstream.selected = ()
    with read_state(project, target) as state, deferring(project, target, options.deferral, upstream):
        upstream.state = state
        rows = read_input(spec.input, project.tree, spec.vars, upstream=upstream.rows)
        keys, input_rows = stratified_keys(rows, wanted.sample, label)
    options = replace(options, command="compare", keys=tuple(keys), mode=None)
    problems = ProblemList()
    compiled = compile_jobs(project, [each for _, each in variants], target, options, problems, upstream)
    problems.raise_if_any()
    own = list(zip([variant for variant, _ in variants], compiled, strict=True))
    with (
        deferring(project, target, options.deferral, upstream),
        open_session(project, target, options, listen, clock, upstream) as session,
    ):
        measured = _measured(session, own, spec)
    return compare_variants(
        measured,
        job=spec.name,
        target=target.name,
        is_emulated=target.type == "emulator",
        fields=columns,
        decides=decides,
        label=label,
        reference=reference,
        margin=wanted.margin,
        input_rows=input_rows,
    )


def _check_name(name: str, known: Sequence[str]) -> None:
    from batchforge.errors import UsageError
    from batchforge.nearest import did_you_mean

    if name not in known:
        hint = did_you_mean(name, known) or f"There is: {', '.join(known)}."
        raise UsageError("BF942", f"there is no `{name}` to compare by.", hint=hint)


def _measured(session: Session, own: Sequence[tuple[Variant, CompiledJob]], spec: JobSpec) -> list[Measured]:
    """Each variant with its answers, asked where they are missing, and what the job's tests say of them."""
    numbered = [(job, (variant.number, variant.number_of_all)) for variant, job in own]
    answered = Runner(session).ask_variants(numbered)
    project, target = session.project, session.target
    tester = OutputTester(project, target, session.state)
    return [
        Measured(
            variant,
            found,
            seconds,
            _tested(project, spec, target, variant, found, tester),
            session.sync.took_s.get(job.spec.name, ()),
        )
        for (variant, job), (found, seconds) in zip(own, answered, strict=True)
    ]


def _tested(
    project: Project, spec: JobSpec, target: Target, variant: Variant, rows: Sequence[TriedRow], tester: OutputTester
) -> Mapping[str, str]:
    """What the job's own tests say of a variant's answers; those that need a whole output are left out."""
    tests = [test for test in spec.tests if not test.is_late and test.kind not in _OF_A_WHOLE_OUTPUT]
    if not tests or variant.is_noise:
        return {}
    folder = project.artifacts_folder / target.name / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    number = "".join(character if character.isalnum() else "-" for character in variant.name)
    path = folder / f"{spec.name}.{number}.jsonl"
    values = [
        {**row.row, **row.fields, "_status": row.status, "_error": row.error} for row in rows if row.status == ANSWERED
    ]
    columns = list(dict.fromkeys(column for each in values for column in each))
    with open_writer(path, columns) as table:
        for each in values:
            table.write(each)
    return {result.name: result.status for result in tester.test(spec, path, None, tests)}


_OF_A_WHOLE_OUTPUT = frozenset({"row_count", "drift", "cost_per_row", "sql", "accuracy", "f1", "confusion", "judge"})
"""Tests of a whole output, or of what a comparison tells itself."""
