"""One step's plan, before it is sent -> what the further steps may ask and cost, by the rates of earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Protocol

from batchforge.escalation.calibration import sample_size
from batchforge.escalation.climbing import Ascent, Climb, StepRows
from batchforge.escalation.steps import is_of_step, steps_of
from batchforge.planning.further_steps import Outlook, StepEstimate
from batchforge.planning.plan_file import request_hashes
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job
from batchforge.requests.compiler import CompiledJob, part_hash
from batchforge.row_shapes import InputRow
from batchforge.running.run_options import RunOptions
from batchforge.running.stepping import Stepping, compile_step, first_step, for_open_rows, resend_in_step
from batchforge.running.upstream import Upstream
from batchforge.spec import JobSpec, StepSpec
from batchforge.state.records import Manifest, OutputRow, StateReader
from batchforge.streams import in_chunks

_ROWS_PER_LOOKUP = 2_000
_REASON_TOKENS = 1_000
"""More than what is said of an invalid answer takes."""


class PlanStep(Protocol):
    def __call__(
        self, number: int, with_rows: Callable[[CompiledJob], CompiledJob], *, is_anew: bool = False
    ) -> JobPlan:
        """The plan of a step for some rows, to be closed; `is_anew`: as if nothing had been answered."""
        ...


def planned_rows(plan: JobPlan, state: StateReader | None) -> Iterator[OutputRow]:
    """A plan's rows with what is stored for them already."""
    for rows in in_chunks(plan.manifest_rows(), _ROWS_PER_LOOKUP):
        names = [(row.request_id, row.ordinal) for row in rows if row.request_id is not None]
        stored = state.stored_results(names) if state is not None else {}
        yield from (OutputRow(row, stored.get((row.request_id or b"", row.ordinal))) for row in rows)


def outlook(stepping: Stepping, plan: JobPlan, climb: Climb, plan_step: PlanStep, spent_pico_usd: int) -> Outlook:
    """
    Args:
        climb: With the rows of the steps up to this one.
    """
    step = plan.compiled.spec.step
    assert step is not None
    return _Looker(stepping, plan, climb, plan_step, step).outlook(spent_pico_usd)


def plan_steps(
    stepping: Stepping, job: CompiledJob, options: RunOptions, upstream: Upstream, settings: PlanSettings
) -> JobPlan:
    """The plan of the first step that has anything to send, with what may follow it; of the first of all where none
    has. Nothing is read of what a run has remembered of its steps, which may be older than the input."""
    plans: list[JobPlan] = []
    try:
        for number in range(1, len(steps_of(stepping.spec)) + 1):
            plans.append(_planned_step(stepping, job, number, plans, options, upstream, settings))
            plan = plans[-1]
            if plan.requests_to_send or plan.counts.get(Action.WAIT):
                return replace(plans.pop(), outlook=_outlook_of(stepping, plans, plan, options, upstream, settings))
        return plans.pop(0)
    finally:
        for plan in plans:
            plan.close()


def _planned_step(
    stepping: Stepping,
    job: CompiledJob,
    number: int,
    before: Sequence[JobPlan],
    options: RunOptions,
    upstream: Upstream,
    settings: PlanSettings,
) -> JobPlan:
    if number == 1:
        compiled = first_step(job)
    else:
        climb = stepping.climb(_rows_of_plans(before, stepping.state))
        compiled = for_open_rows(compile_step(stepping, number, options, upstream), climb)
    own = replace(settings, resend=resend_in_step(compiled.spec, settings.resend))
    return plan_job(compiled, stepping.state, stepping.target.name, own)


def _outlook_of(
    stepping: Stepping,
    before: Sequence[JobPlan],
    plan: JobPlan,
    options: RunOptions,
    upstream: Upstream,
    settings: PlanSettings,
) -> Outlook:
    def plan_step(number: int, with_rows: Callable[[CompiledJob], CompiledJob], *, is_anew: bool = False) -> JobPlan:
        compiled = with_rows(compile_step(stepping, number, options, upstream))
        return plan_job(compiled, None if is_anew else stepping.state, stepping.target.name, settings)

    climb = stepping.climb(_rows_of_plans([*before, plan], stepping.state))
    return outlook(stepping, plan, climb, plan_step, 0)


def _rows_of_plans(plans: Sequence[JobPlan], state: StateReader | None) -> StepRows:
    return lambda number: planned_rows(plans[number - 1], state) if number <= len(plans) else ()


class _Looker:
    def __init__(self, stepping: Stepping, plan: JobPlan, climb: Climb, plan_step: PlanStep, step: StepSpec) -> None:
        self.stepping, self.plan, self.climb, self.plan_step, self.step = stepping, plan, climb, plan_step, step
        self.steps = steps_of(stepping.spec)
        ladder = stepping.spec.ladder
        self.has_guarantee = ladder is not None and ladder.guarantee is not None
        self.waiting = self.rows = 0
        self.left: dict[int, int] = {}
        self.whole: dict[int, StepEstimate] = {}
        """Rung -> what it would be with all rows that may come to it."""

    def outlook(self, spent_pico_usd: int) -> Outlook:
        if self.step.number == len(self.steps):
            return Outlook(self.step, len(self.steps), spent_pico_usd)
        for ascent in self._open_ascents():
            self.rows += 1
            wanting = self._wanting(ascent)
            self.waiting += wanting is None
            if wanting is not None:
                self.left[wanting] = self.left.get(wanting, 0) + 1
        later = tuple(self._estimates()) if self.rows else ()
        return Outlook(self.step, len(self.steps), spent_pico_usd, later)

    def _open_ascents(self) -> Iterator[Ascent]:
        return (ascent for ascent in self.climb.ascents(self.step.number + 1) if self._is_open(ascent))

    def _is_open(self, ascent: Ascent) -> bool:
        last = next(taken for taken in reversed(ascent.steps) if taken is not None)
        if not last.is_over:
            return last.row.request_id is not None
        return self._wanting(ascent) is not None or self._has_yet_to_be_judged(ascent)

    def _wanting(self, ascent: Ascent) -> int | None:
        """The step that asks the row next; None where that is not known yet, or there is none."""
        further = range(self.step.number + 1, len(self.steps) + 1)
        return next((number for number in further if self._is_next(number, ascent)), None)

    def _is_next(self, number: int, ascent: Ascent) -> bool:
        step = self.steps[number - 1].step
        assert step is not None
        is_judged_later = self.has_guarantee and step.kind != "turn"
        return not is_judged_later and self._parent(number) <= self.step.number and self.climb.wants(number, ascent)

    def _has_yet_to_be_judged(self, ascent: Ascent) -> bool:
        """By its score, once the sample's answers are there."""
        return (self.has_guarantee and self.step.rung < len(self.stepping.spec.models)) or self.step.kind == "sample"

    # ---- step by step

    def _estimates(self) -> Iterator[StepEstimate]:
        shares: dict[int, float | None] = dict.fromkeys(range(1, self.step.number + 1), 1.0)
        for number in range(self.step.number + 1, len(self.steps) + 1):
            share, learnt_from = self._share(number, shares)
            shares[number] = share
            yield self._estimate(number, share, learnt_from)

    def _share(self, number: int, shares: dict[int, float | None]) -> tuple[float | None, int]:
        """The share of the open rows that a step is expected to ask, and what it was learnt from."""
        parent, rate, learnt_from = self._parent(number), *self._rate(number)
        known = self.left.get(number, 0)
        if parent <= self.step.number:
            if rate is None:
                return (known / self.rows, 0) if not self.waiting else (None, 0)
            return (known + rate * self.waiting) / self.rows, learnt_from
        above = shares[parent]
        return (None, 0) if rate is None or above is None else (rate * above, learnt_from)

    def _parent(self, number: int) -> int:
        """The step whose rows a step takes some of."""
        step = self.steps[number - 1].step
        assert step is not None
        if step.kind == "turn":
            return number - 1
        rung = 1 if step.kind == "sample" else step.rung - 1
        places = ((n, each.step) for n, each in enumerate(self.steps, 1))
        return next(n for n, each in places if each is not None and (each.rung, each.kind) == (rung, "rung"))

    def _rate(self, number: int) -> tuple[float | None, int]:
        """The share of its parent's rows that a step has asked before, and of how many; None where it never did."""
        spec = self.steps[number - 1]
        if spec.step is not None and spec.step.kind == "sample":
            guarantee = self.stepping.spec.ladder and self.stepping.spec.ladder.guarantee
            assert guarantee
            size = guarantee.sample or sample_size(self.rows, guarantee.agreement, guarantee.confidence)
            return min(1.0, size / self.rows), 0
        for child, parent in self._earlier(number):
            answers = self.steps[self._parent(number) - 1].answers
            own = child.row_count / spec.answers
            return own / (parent.row_count / answers), parent.row_count // answers
        return None, 0

    def _earlier(self, number: int) -> Iterator[tuple[Manifest, Manifest]]:
        """Rows of a step and of its parent in one and the same run, the newest first."""
        state, spec = self.stepping.state, self.stepping.spec
        if state is None:
            return
        found = [each for each in state.manifests(spec.name) if is_of_step(each.scope)]
        by_place = {(each.target, each.scope, each.run_id): each for each in found}
        own, above = (f"step={n}" for n in (number, self._parent(number)))
        for child in found:
            scope = child.scope.split()
            if own in scope and self._has_model(child, number):
                other = " ".join(above if part == own else part for part in scope)
                parent = by_place.get((child.target, other, child.run_id))
                if parent is not None and parent.row_count and self._has_model(parent, self._parent(number)):
                    yield child, parent

    def _has_model(self, manifest: Manifest, number: int) -> bool:
        return manifest.parts.get("model") == part_hash(self.steps[number - 1].model)

    # ---- costs

    def _estimate(self, number: int, share: float | None, learnt_from: int) -> StepEstimate:
        spec = self.steps[number - 1]
        step = spec.step
        assert step is not None
        whole = self._whole(number, spec, step)
        cost = whole.expected_pico_usd
        return replace(
            whole,
            expected_rows=None if share is None else share * self.rows,
            learnt_from=learnt_from,
            expected_pico_usd=None if share is None or cost is None else round(share * cost),
        )

    def _whole(self, number: int, spec: JobSpec, step: StepSpec) -> StepEstimate:
        """With all open rows."""
        if step.kind != "turn":
            with self.plan_step(number, self._with_open_rows) as plan:
                return self._of_plan(plan, spec, step)
        if step.rung not in self.whole:
            with self.plan_step(number - step.turn, self._with_open_rows, is_anew=True) as plan:
                self.whole[step.rung] = self._of_plan(plan, spec, step)
        return self._turn(self.whole[step.rung], spec, step)

    def _with_open_rows(self, compiled: CompiledJob) -> CompiledJob:
        read_rows = compiled.read_rows

        def rows() -> Iterator[InputRow]:
            open_rows = self._open_ascents()
            following = next(open_rows, None)
            for row in read_rows():
                while following is not None and following.position < row.position:
                    following = next(open_rows, None)
                if following is None:
                    return
                if (following.position, following.key) == (row.position, row.key):
                    yield row

        return compiled.with_rows(rows)

    def _of_plan(self, plan: JobPlan, spec: JobSpec, step: StepSpec) -> StepEstimate:
        estimate = plan.estimate
        hashes = request_hashes(plan) if step.kind != "turn" else b""
        costs = estimate.expected_pico_usd, estimate.ceiling_pico_usd
        return StepEstimate(step, spec.model, self.rows, None, 0, *costs, hashes)

    def _turn(self, base: StepEstimate, spec: JobSpec, step: StepSpec) -> StepEstimate:
        """As much as the question by itself, and what was said since."""
        more_tokens = step.turn * (2 * spec.max_tokens + _REASON_TOKENS)
        more = ceil(more_tokens * self._dearest_input_pico_usd(spec)) * self.rows
        ceiling = None if base.ceiling_pico_usd is None else base.ceiling_pico_usd + more
        return replace(base, step=step, ceiling_pico_usd=ceiling)

    def _dearest_input_pico_usd(self, spec: JobSpec) -> float:
        prices = self.stepping.project.price_table(self.stepping.target).prices_of(spec.model)
        if prices is None:
            return 0.0
        factor = float(prices.multiplier(batch=False, inference_geo=spec.params.get("inference_geo")))
        return max(float(tier.cache_write_1h) for tier in prices.tiers) * factor * 1e6
