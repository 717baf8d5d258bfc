"""One job, before and after -> what becomes of it: the parts that changed, its rows, its cost, its prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from batchforge.claude_models import PriceTable
from batchforge.errors import BatchForgeError
from batchforge.inputs import input_identity
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job
from batchforge.requests.compiler import CompiledJob
from batchforge.results import Learnt
from batchforge.review.answer_pairs import AnswerPair, AnswerPairs, SpooledPairs
from batchforge.review.answer_tests import TestedAnswers, ask_tests, tests_of_rows
from batchforge.review.answer_values import AnswersDiff, RowAnswers
from batchforge.review.answers_diff import AnswersComparison, Labels, cluster_column, cluster_of, labels_of
from batchforge.review.cache_effect import cache_effect
from batchforge.review.diff_values import (
    NOTHING,
    Basis,
    Cost,
    JobDiff,
    PartChange,
    PromptDiff,
    RowCounts,
    Status,
)
from batchforge.review.job_parts import JobSources, edited_parts, without_places
from batchforge.review.rendered import differing_parts, render_diff
from batchforge.review.row_changes import RowChanges, compare_rows, row_pairs
from batchforge.review.samples import SampleSet, samples_path
from batchforge.source_tree import SourceTree
from batchforge.spec import JobSpec
from batchforge.state.records import StateReader


@dataclass(frozen=True, slots=True)
class JobSide:
    """A compiled job and the files that it comes from."""

    compiled: CompiledJob
    tree: SourceTree
    rows: SourceTree


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    target: str
    state: StateReader | None
    prices: PriceTable
    shown_rows: int = 3
    """How many rows' texts are shown at most."""
    wanted_keys: int = 0
    """How many changed rows' keys are wanted."""
    labels: Labels | None = None
    """None: those of the job's own tests."""
    cluster: str = ""
    each_answer: Callable[[str, RowAnswers], None] | None = None
    """Given the job and each row that has a result on both sides."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A job on both sides, or on one."""

    old: JobSide | None
    new: JobSide | None
    samples: SampleSet | None = None
    """Taken where the rows are not here."""
    has_rows: bool = True
    upstream: tuple[str, ...] = ()
    """Jobs whose rows it reads and that are asked anew."""

    @property
    def basis(self) -> Basis:
        if self.has_rows:
            return Basis.ROWS
        return Basis.SAMPLES if self.samples and self.samples.rows else Basis.NOTHING

    @property
    def shown(self) -> JobSide:
        side = self.new or self.old
        assert side is not None
        return side


def review_job(pair: Pair, settings: ReviewSettings) -> JobDiff:
    """
    Raises:
        ProjectError: a row or a template of the newer side is wrong.
    """
    if pair.old and pair.new and not pair.upstream and asks_the_same(pair.old, pair.new):
        return _described(pair, set(), replace(_blank(pair), basis=Basis.SAME))
    if pair.basis is Basis.NOTHING:
        return _without_rows(pair, settings)
    with ExitStack() as stack:
        plans = _Plans.of(pair, settings, stack)
        changes = compare_rows(plans.old, plans.new, plans.next_run, settings.wanted_keys)
        diff = _with_rows(pair, settings, plans, changes)
        return replace(diff, answers=_answers(plans, changes, settings), keys_to_ask=tuple(changes.keys))


def _answers(plans: _Plans, changes: RowChanges, settings: ReviewSettings) -> AnswersDiff | None:
    """What state holds of both sides, at no cost."""
    if settings.state is None or plans.old is None or plans.new is None or not changes.changed:
        return None
    reader = AnswerPairs(plans.old.compiled, plans.new.compiled, settings.state)
    pairs = reader.read(pair for pair, _ in row_pairs(plans.old, plans.new, plans.new))
    old, new = plans.old.compiled.spec, plans.new.compiled.spec
    if not tests_of_rows(new):
        found = _compared(new, pairs, settings, TestedAnswers(left_out=[test.name for test in new.tests]))
        return found if found.compared else None
    with SpooledPairs(pairs) as spooled:
        column = cluster_column(new, settings.cluster)
        tested = ask_tests(old, new, lambda: spooled, partial(cluster_of, column=column) if column else None)
        found = _compared(new, spooled, settings, tested)
        return found if found.compared else None


def _compared(
    spec: JobSpec, pairs: Iterable[AnswerPair], settings: ReviewSettings, tested: TestedAnswers
) -> AnswersDiff:
    each = partial(settings.each_answer, spec.name) if settings.each_answer else None
    labels = settings.labels or labels_of(spec)
    return AnswersComparison(spec, labels, settings.cluster, each, tested).add_all(pairs).result()


def asks_the_same(old: JobSide, new: JobSide) -> bool:
    """Whether the requests of both sides are the same without a look at their rows. False where it cannot be told."""
    one, other = old.compiled, new.compiled
    if _template_identity(one) != _template_identity(other):
        return False
    if not other.is_told_by_its_input:
        return False
    return _rows_identity(old) == _rows_identity(new)


def _template_identity(job: CompiledJob) -> object:
    spec, texts = job.spec, [template.texts for template in job.row_templates]
    return (job.template.skeleton.text, texts, dict(spec.vars), dict(spec.lists), spec.betas, spec.mode, spec.cache)


def _rows_identity(side: JobSide) -> str:
    spec = side.compiled.spec
    settings = repr(without_places(spec.input))
    try:
        return settings + input_identity(spec.input, side.rows, spec.vars)
    except BatchForgeError:
        return settings  # the files are not here on either side: one snapshot


# ---- with rows


@dataclass(frozen=True, slots=True)
class _Plans:
    """All rows asked once, as the older and the newer side ask them, and what the next run would send."""

    old: JobPlan | None
    new: JobPlan | None
    next_run: JobPlan | None

    @classmethod
    def of(cls, pair: Pair, settings: ReviewSettings, stack: ExitStack) -> _Plans:
        known = pair.samples.learnt if pair.basis is Basis.SAMPLES and pair.samples else None
        old = stack.enter_context(_plan(pair.old, settings, Resend.ALL, known)) if pair.old else None
        if pair.new is None:
            return cls(old, None, None)
        learnt = _learnt_for(pair.new, old) or known
        new = stack.enter_context(_plan(pair.new, settings, Resend.ALL, learnt))
        if settings.state is None:
            return cls(old, new, new)
        return cls(old, new, stack.enter_context(_plan(pair.new, settings, Resend.NOTHING_PAID, learnt)))


def _plan(side: JobSide, settings: ReviewSettings, resend: Resend, learnt: Learnt | None) -> JobPlan:
    mode = side.compiled.spec.mode or "batch"
    chosen = PlanSettings(resend=resend, mode=mode, prices=settings.prices, learnt=learnt)
    return plan_job(side.compiled, settings.state, settings.target, chosen)


def _learnt_for(new: JobSide, old: JobPlan | None) -> Learnt | None:
    """What the older side's results teach about the newer: all, or only how long answers are, of another model."""
    if old is None or not old.learnt.results:
        return None
    if old.compiled.spec.model == new.compiled.spec.model:
        return old.learnt
    return Learnt(output_tokens=old.learnt.output_tokens)


def _with_rows(pair: Pair, settings: ReviewSettings, plans: _Plans, changes: RowChanges) -> JobDiff:
    scale = pair.samples.scale if pair.basis is Basis.SAMPLES and pair.samples else 1.0
    has_state = settings.state is not None
    change, waiting = _costs_of_next_run(plans.next_run, changes)
    diff = replace(
        _blank(pair),
        rows=_row_counts(changes, scale),
        is_at_most=not has_state,
        sampled_rows=changes.after if pair.basis is Basis.SAMPLES else 0,
        learnt_from=(plans.new or plans.old).learnt.results if plans.new or plans.old else 0,  # type: ignore[union-attr]
        change=_scaled(change, scale),
        waiting=_scaled(waiting, scale) if has_state else None,
        before=_scaled(_cost_of(plans.old), scale),
        after=_scaled(_cost_of(plans.new), scale),
        caching=cache_effect(plans.old, plans.new) if plans.old and plans.new else None,
    )
    asked = differing_parts(pair.old.compiled, pair.new.compiled, changes) if pair.old and pair.new else set()
    if pair.upstream:
        diff = _with_rows_to_come(diff)
    if diff.changes_requests:
        diff = replace(diff, prompt=_prompt(pair, changes, settings))
    return _described(pair, asked, diff)


def _with_rows_to_come(diff: JobDiff) -> JobDiff:
    """Which of its rows will be others is known once the jobs that it reads have been answered: at most all."""
    rows = diff.rows or RowCounts()
    rerun = max(rows.after - rows.fresh, 0)
    return replace(diff, rows=replace(rows, rerun=rerun, reused=0, waiting=0), is_at_most=True, change=diff.after)


def _prompt(pair: Pair, changes: RowChanges, settings: ReviewSettings) -> PromptDiff:
    old, new = (side.compiled if side else None for side in (pair.old, pair.new))
    if new is None:
        return PromptDiff()
    wanted = [each for each in changes.samples if each.new and (each.old or old is None)]
    if old is not None and not changes.changed:
        return PromptDiff()
    return render_diff(old, new, wanted, settings.shown_rows)


def _costs_of_next_run(plan: JobPlan | None, changes: RowChanges) -> tuple[Cost, Cost]:
    """(because of the change, with or without it)"""
    if plan is None:
        return NOTHING, NOTHING
    whole = _cost_of(plan)
    if changes.to_send == plan.requests_to_send:
        return whole, NOTHING
    tokens = plan.static_tokens * changes.to_send + plan.tokens_per_row_byte * changes.to_send_bytes
    all_tokens = plan.static_tokens * plan.requests_to_send + plan.tokens_per_row_byte * plan.row_bytes
    share = tokens / all_tokens if all_tokens else 0.0
    part = replace(_scaled(whole, share), requests=changes.to_send)
    if whole.ceiling_pico_usd is not None:
        part = replace(part, ceiling_pico_usd=changes.ceiling_pico_usd)
    return part, _without(whole, part)


def _without(whole: Cost, part: Cost) -> Cost:
    return Cost(
        whole.requests - part.requests,
        whole.input_tokens - part.input_tokens,
        whole.output_tokens - part.output_tokens,
        _difference(whole.expected_pico_usd, part.expected_pico_usd),
        _difference(whole.ceiling_pico_usd, part.ceiling_pico_usd),
    )


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one - other, 0)


def _cost_of(plan: JobPlan | None) -> Cost:
    if plan is None:
        return NOTHING
    estimate = plan.estimate
    return Cost(
        plan.requests_to_send,
        round(estimate.input_tokens),
        round(estimate.output_tokens),
        estimate.expected_pico_usd,
        estimate.ceiling_pico_usd,
    )


def _scaled(cost: Cost, scale: float) -> Cost:
    if scale == 1.0:
        return cost
    return Cost(
        round(cost.requests * scale),
        round(cost.input_tokens * scale),
        round(cost.output_tokens * scale),
        None if cost.expected_pico_usd is None else round(cost.expected_pico_usd * scale),
        None if cost.ceiling_pico_usd is None else round(cost.ceiling_pico_usd * scale),
    )


def _row_counts(changes: RowChanges, scale: float) -> RowCounts:
    def rows(count: int) -> int:
        return round(count * scale)

    def by_action(action: Action, kinds: Collection[str] = ("changed", "new")) -> int:
        return rows(sum(changes.actions[kind, action] for kind in kinds))

    return RowCounts(
        before=rows(changes.before),
        after=rows(changes.after),
        same=rows(changes.same),
        changed=rows(changes.changed),
        new=rows(changes.new),
        gone=rows(changes.gone),
        rerun=by_action(Action.SUBMIT, ("changed",)),
        fresh=by_action(Action.SUBMIT, ("new",)),
        reused=by_action(Action.REUSE),
        waiting=by_action(Action.SUBMIT, ("same",)),
        in_flight=by_action(Action.WAIT),
        failed=by_action(Action.FAILED),
        blocked=by_action(Action.BLOCKED),
    )


# ---- without


def _without_rows(pair: Pair, settings: ReviewSettings) -> JobDiff:
    unknown = replace(_blank(pair), change=None, waiting=None, is_at_most=settings.state is None)
    if pair.new is None:
        return replace(unknown, change=NOTHING)
    if pair.old is None:
        prompt = render_diff(None, pair.new.compiled, (), 0)
        return replace(unknown, prompt=prompt, notes=(_why_unknown(pair.new.compiled.spec.name),))
    asked = differing_parts(pair.old.compiled, pair.new.compiled, None)
    if _rows_identity(pair.old) != _rows_identity(pair.new):
        asked.add("input")
    if not asked and not pair.upstream:
        return _described(pair, asked, replace(unknown, change=NOTHING))
    unknown = replace(unknown, notes=(*unknown.notes, _why_unknown(pair.shown.compiled.spec.name)))
    prompt = render_diff(pair.old.compiled, pair.new.compiled, (), 0)
    return _described(pair, asked, replace(unknown, prompt=prompt))


def _why_unknown(job: str) -> str:
    return (
        f"neither its rows nor {samples_path(job)} are here, so its rows and cost are not known; "
        f"`batchforge prompts write --with-rows 20 {job}`, run where the data is, makes samples to be committed"
    )


# ---- words


def _blank(pair: Pair) -> JobDiff:
    spec = pair.shown.compiled.spec
    before, after = (side.compiled.spec if side else None for side in (pair.old, pair.new))
    status = Status.ADDED if before is None else Status.REMOVED if after is None else Status.UNCHANGED
    is_renamed = before is not None and after is not None and before.name != after.name
    is_moved = before is not None and after is not None and before.path != after.path
    return JobDiff(
        job=spec.name,
        status=Status.RENAMED if is_renamed else status,
        path=spec.path,
        model=spec.model,
        mode=spec.mode or "batch",
        basis=pair.basis,
        old_job=before.name if is_renamed and before else "",
        old_path=before.path if is_moved and before else "",
        upstream=pair.upstream,
        notes=tuple(f"reads the rows of {name}, which is asked anew: its own follow" for name in pair.upstream),
    )


def _described(pair: Pair, asked: set[str], diff: JobDiff) -> JobDiff:
    """With the parts that were edited, and the status that follows."""
    if pair.old is None or pair.new is None:
        return diff
    old, new = JobSources(pair.old.compiled.spec, pair.old.tree), JobSources(pair.new.compiled.spec, pair.new.tree)
    parts: tuple[PartChange, ...] = tuple(edited_parts(old, new, asked))
    has_changed = bool(parts) or bool(diff.rows and diff.changes_requests) or bool(diff.upstream)
    status = Status.MODIFIED if has_changed and diff.status is Status.UNCHANGED else diff.status
    return replace(diff, parts=parts, status=status)
