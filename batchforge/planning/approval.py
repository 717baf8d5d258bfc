"""What a run meant to send, as its record keeps it -> what `resume` may send of it: that, and nothing dearer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchforge.errors import UsageError
from batchforge.escalation.steps import scope_of
from batchforge.planning.decisions import Resend
from batchforge.planning.further_steps import step_value
from batchforge.planning.planner import JobPlan, PlanSettings
from batchforge.selection.deferral import Deferral
from batchforge.state.records import ManifestRow, RunRecord, StateReader

_PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run's plan in short."""

    run_id: str
    scope: str = ""
    """Which rows: empty for all of them, else e.g. limit=10."""
    is_approved: bool = False
    """Whether its limits held, and a person had agreed where one must. Else nothing of it was sent."""
    max_cost_usd: float | None = None
    resend: Resend = Resend.NOTHING_PAID
    asked_after: int | None = None
    """The last attempt before it: newer answers are what `resend` asked for."""
    jobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deferral: Deferral | None = None
    """Whose answers it read of jobs that it did not run."""

    @classmethod
    def of(
        cls,
        run_id: str,
        plans: Sequence[JobPlan],
        scope: str,
        max_cost_usd: float | None,
        deferral: Deferral | None = None,
        resend: Resend = Resend.NOTHING_PAID,
    ) -> PlannedRun:
        """`resend` is the run's own: a step of a job may have a lesser one."""
        settings = plans[0].settings if plans else PlanSettings()
        jobs = {plan.unit: _job_value(plan) for plan in plans}
        return cls(run_id, scope, False, max_cost_usd, resend, settings.asked_after, jobs, deferral)

    @classmethod
    def from_record(cls, run: RunRecord) -> PlannedRun:
        value = run.summary.get(_PLANNED, {})
        names = ("scope", "is_approved", "max_cost_usd", "asked_after", "jobs")
        resend = Resend(value.get("resend", Resend.NOTHING_PAID))
        deferral = Deferral(**deferred) if (deferred := value.get("deferral")) else None
        given = {name: value[name] for name in names if name in value}
        return cls(run.run_id, resend=resend, deferral=deferral, **given)

    def summary(self) -> dict[str, Any]:
        """To be kept in the run's record."""
        value = {
            "scope": self.scope,
            "is_approved": self.is_approved,
            "max_cost_usd": self.max_cost_usd,
            "resend": self.resend.value,
            "asked_after": self.asked_after,
            "jobs": self.jobs,
            "deferral": self.deferral.to_json() if self.deferral else None,
        }
        return {_PLANNED: value}


def check_resumed(plan: JobPlan, run: PlannedRun, state: StateReader, target: str) -> None:
    """Every request to be sent was among those that the run had planned, and none is dearer than it was then.

    Raises:
        UsageError: BF911
    """
    planned = run.jobs.get(plan.unit)
    if planned is None and plan.unit != plan.job:
        _check_further_step(plan, run)
        return
    if planned is not None and planned["digest"] != plan.digest:
        manifest = state.manifest(target, plan.job, scope_of(plan.compiled.spec, run.scope))
        known = {(r.request_id, r.ordinal) for r in state.manifest_rows(manifest.manifest_id)} if manifest else set()
        retries = plan.compiled.spec.output.retries
        other = sum(not _is_known(row.row, known, retries) for row in plan.to_send())
    else:
        other = 0 if planned is not None else plan.requests_to_send
    if other:
        raise UsageError(
            "BF911",
            f"{plan.job}: {other:,} requests differ from those that run {run.run_id} had planned",
            hint="Prompts or inputs have changed since. `batchforge run` sends them as they are now.",
        )
    if planned is not None and plan.requests_to_send and _is_dearer(plan, planned["bound"]):
        raise UsageError(
            "BF911",
            f"{plan.job}: a request may cost more now than when run {run.run_id} was planned",
            hint="max_tokens, prices or caching have changed since. `batchforge run` sends them as they are now.",
        )


def _check_further_step(plan: JobPlan, run: PlannedRun) -> None:
    """It had yet to begin: its rows are those that the steps before left open, which were checked by themselves."""
    step, model = plan.compiled.spec.step, plan.compiled.spec.model
    planned = [[each["step"], each["model"]] for each in run.jobs.get(plan.job, {}).get("steps", ())]
    if step is not None and plan.requests_to_send and [step.number, model] not in planned:
        raise UsageError(
            "BF911",
            f"{plan.job}: run {run.run_id} had not planned to ask {model} in step {step.number}",
            hint="The models have changed since. `batchforge run` asks them as they are now.",
        )


def _is_known(row: ManifestRow, known: Collection[tuple[bytes | None, int]], retries: int) -> bool:
    """Whether the request was planned, or that which its answer was invalid to."""
    lowest = 0 if 0 < row.ordinal <= retries else row.ordinal
    return any((row.request_id, ordinal) in known for ordinal in range(lowest, row.ordinal + 1))


def _job_value(plan: JobPlan) -> dict[str, Any]:
    return {
        "digest": plan.digest,
        "requests": plan.requests_to_send,
        "expected_pico_usd": plan.expected_pico_usd,
        "ceiling_pico_usd": plan.ceiling_pico_usd,
        "steps": [step_value(each) for each in plan.outlook.later] if plan.outlook else [],
        "input_tokens": round(plan.estimate.input_tokens),
        "output_tokens": round(plan.estimate.output_tokens),
        "bound": _bound_value(plan),
    }


def _bound_value(plan: JobPlan) -> list[list[int]] | None:
    return None if plan.bound is None else [list(tier) for tier in plan.bound.tiers]


def _is_dearer(plan: JobPlan, before: Sequence[Sequence[int]] | None) -> bool:
    now = _bound_value(plan)
    if before is None or now is None:
        return before is not None
    return len(now) != len(before) or any(
        n > b for tier, held in zip(now, before, strict=True) for n, b in zip(tier[1:], held[1:], strict=True)
    )
