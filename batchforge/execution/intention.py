"""Some requests of a plan -> what is written down before they are sent, in either mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchforge.planning.estimate import Phase
from batchforge.planning.planner import JobPlan
from batchforge.state.holders import this_holder
from batchforge.state.records import Intended, Intention


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, from the target."""

    timeout_s: float
    settle_after_s: float
    poll_interval_s: float


@dataclass(frozen=True, slots=True)
class RunOf:
    """The run that requests are sent in."""

    run_id: str
    target: str
    month_limit_pico_usd: int | None = None
    keeps_prompts: bool = True


def intention_of(plan: JobPlan, phase: Phase, run: RunOf, requests: Sequence[Intended]) -> Intention:
    """What is written down before some of a phase's requests are sent; they reserve the most that they can cost."""
    spec, skeleton = plan.compiled.spec, plan.compiled.template.skeleton
    ceiling_pico_usd, input_tokens = plan.sizes_of(requests)
    return Intention(
        run_id=run.run_id,
        job=spec.name,
        target=run.target,
        mode=plan.settings.mode,
        model=spec.model,
        max_tokens=spec.max_tokens,
        skeleton_id=skeleton.skeleton_id,
        skeleton=skeleton.text,
        holder=this_holder(),
        phase=phase.name,
        caching=plan.caching_in(phase),
        shape=plan.shape,
        estimated_input_tokens=input_tokens,
        ceiling_pico_usd=ceiling_pico_usd,
        month_limit_pico_usd=run.month_limit_pico_usd,
        keeps_prompts=run.keeps_prompts,
    )
