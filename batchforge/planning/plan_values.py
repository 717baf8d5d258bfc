"""A job's plan -> plain values (for JSON, the plan file and the comment of a review) and text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchforge.planning.budget import cost_words, ways_words
from batchforge.planning.caching import GroupCaching
from batchforge.planning.further_steps import StepEstimate, step_value
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan
from batchforge.planning.waiting import WaitingJob, waiting_lines, waiting_markdown
from batchforge.spec import StepSpec
from batchforge.summaries import four_ways_value, usd
from batchforge.usd import usd_words

_SYMBOLS = (
    ("new", "+", "new"),
    ("rerun", "~", "rerun"),
    ("reuse", "=", "reuse"),
    ("gone", "-", "gone"),
    ("failed", "x", "failed before"),
    ("blocked", "!", "blocked"),
    ("in_flight", "…", "in flight"),
)
WITHOUT_STATE = "no state was read, so every row is new"
_STANDARD_BATCH_WAIT = "most batches end within an hour, all within 24 hours"


def plan_value(plan: JobPlan) -> dict[str, Any]:
    """Counts, costs and reasons of one job; no prompts, no rows."""
    estimate, caching = plan.estimate, plan.caching
    new = plan.reasons.get("new", 0)
    return {
        "job": plan.job,
        "model": plan.compiled.spec.model,
        "mode": plan.settings.mode,
        "rows": {
            "total": plan.row_count,
            "new": new,
            "rerun": plan.counts.get(Action.SUBMIT, 0) - new,
            "reuse": plan.counts.get(Action.REUSE, 0),
            "gone": plan.gone_rows,
            "failed": plan.counts.get(Action.FAILED, 0),
            "blocked": plan.counts.get(Action.BLOCKED, 0),
            "in_flight": plan.counts.get(Action.WAIT, 0),
        },
        "rerun_because": {reason: count for reason, count in plan.reasons.items() if reason != "new"},
        "distinct_requests": plan.distinct_requests,
        "requests_to_send": plan.requests_to_send,
        "batches": batch_count(plan),
        "phases": [{"name": p.name, "requests": p.requests, "gate": p.gate} for p in plan.phases],
        "input_tokens": round(estimate.input_tokens),
        "output_tokens": round(estimate.output_tokens),
        "relative_error": estimate.error,
        "learnt_from_results": estimate.learnt_from,
        "expected_pico_usd": plan.expected_pico_usd,
        "ceiling_pico_usd": plan.ceiling_pico_usd,
        "expected_usd": usd(plan.expected_pico_usd),
        "ceiling_usd": usd(plan.ceiling_pico_usd),
        "models": list(plan.compiled.spec.models),
        "step": plan.outlook.step.number if plan.outlook else None,
        "steps": [step_value(each) for each in plan.outlook.later] if plan.outlook else [],
        "no_bound_because": list(estimate.no_bound_because),
        "four_ways_usd": four_ways_value(estimate.four_ways),
        "caching": {
            "marks": {str(slot): ttl for slot, ttl in caching.marks.items()},
            "is_primed": caching.is_primed,
            "prefix_tokens": round(caching.prefix_tokens),
            "expected_hit_rate": caching.hit_rate,
            "break_even_hit_rate": caching.break_even,
            "groups": _groups_value(caching.groups),
            "note": caching.note,
        },
        "digest": plan.digest,
    }


def _groups_value(groups: GroupCaching | None) -> dict[str, Any] | None:
    if groups is None:
        return None
    names = ("slot", "ttl", "is_primed", "marked_groups", "marked_rows")
    return {name: getattr(groups, name) for name in names} | {"saved_tokens": round(groups.saved_tokens)}


def has_changes(plans: Sequence[JobPlan]) -> bool:
    """Whether a run would send anything or write other rows."""
    return any(plan.may_send or plan.gone_rows for plan in plans)


def batch_count(plan: JobPlan) -> int:
    """At least so many batches; bytes may make them more."""
    if plan.settings.mode == "sync":
        return 0
    limits = plan.compiled.spec.batch
    size = plan.compiled.template.static_bytes + 100
    per_batch = max(1, min(limits.max_requests, limits.max_bytes // size))
    return sum(-(-phase.requests // per_batch) for phase in plan.phases)


def render_plan(
    plans: Sequence[JobPlan],
    notes: Mapping[str, Sequence[str]],
    waiting: Sequence[WaitingJob] = (),
    *,
    target: str,
    has_state: bool,
) -> list[str]:
    """Lines for people."""
    lines = [f"plan against {target}" + ("" if has_state else f"; {WITHOUT_STATE}")]
    for plan in plans:
        lines += ["", *_job_lines(plan), *(f"  note: {note}" for note in notes.get(plan.job, ()))]
    lines += waiting_lines(waiting)
    if len(plans) > 1 and has_changes(plans):
        more = ", and what waits" if waiting else ""
        lines += ["", f"in all: {cost_words(plans)}{more}"]
    if not has_changes(plans) and not waiting:
        lines += ["", "No changes: a run would send nothing."]
    return lines


def render_markdown(
    plans: Sequence[JobPlan],
    notes: Mapping[str, Sequence[str]],
    waiting: Sequence[WaitingJob] = (),
    *,
    target: str,
    has_state: bool,
) -> str:
    """A table of the jobs, for a comment."""
    head = "| job | new | rerun | reuse | requests | expected | at most |\n|---|--:|--:|--:|--:|--:|--:|"
    rows = [*(_markdown_row(plan_value(plan)) for plan in plans), *waiting_markdown(waiting)]
    lines = [f"- `{job}`: {note}" for job, of_job in notes.items() for note in of_job]
    without = [] if has_state else [f"- {WITHOUT_STATE}"]
    return "\n".join([f"**Plan against `{target}`**: {cost_words(plans)}", "", head, *rows, "", *without, *lines])


def _markdown_row(value: Mapping[str, Any]) -> str:
    rows = value["rows"]
    expected, ceiling = (_pico_words(value[f"{name}_pico_usd"]) for name in ("expected", "ceiling"))
    because = ", ".join(f"{count:,} {reason}" for reason, count in value["rerun_because"].items())
    rerun = f"{rows['rerun']:,}" + (f" ({because})" if because else "")
    return (
        f"| `{value['job']}` | {rows['new']:,} | {rerun} | {rows['reuse']:,} | {value['requests_to_send']:,} "
        f"| {expected} | {ceiling} |"
    )


def _job_lines(plan: JobPlan) -> Iterator[str]:
    value = plan_value(plan)
    yield f"{plan.job}  {', then '.join(value['models'])}, {value['mode']}"
    if plan.outlook is not None:
        yield f"  {_step_words(plan.outlook.step, value['model'])}:"
    counts = [f"{symbol} {value['rows'][name]:,} {word}" for name, symbol, word in _SYMBOLS if value["rows"][name]]
    yield f"  {'  '.join(counts) or 'no rows'}"
    if value["rerun_because"]:
        because = ", ".join(f"{reason} ({count:,})" for reason, count in value["rerun_because"].items())
        yield f"  rerun because: {because}"
    if not plan.requests_to_send:
        return
    batches = (
        f"{value['batches']:,} batch{'es' if value['batches'] > 1 else ''}" if plan.settings.mode == "batch" else "sync"
    )
    phases = ", then ".join(f"{phase.requests:,} ({phase.name})" for phase in plan.phases)
    yield f"  {plan.row_count:,} rows make {plan.distinct_requests:,} distinct requests; to send: {phases}; {batches}"
    if plan.settings.mode == "batch":
        yield f"  {_STANDARD_BATCH_WAIT}" + (
            f", {len(plan.phases)} phases one after the other" if plan.phases[1:] else ""
        )
    yield f"  {cost_words([plan])}"
    source = f"learnt from {plan.estimate.learnt_from:,} results" if plan.estimate.learnt_from else "no results yet"
    yield (
        f"  about {value['input_tokens']:,} tokens in, {value['output_tokens']:,} out "
        f"(±{plan.estimate.error:.0%} in; {source})"
    )
    if plan.estimate.no_bound_because:
        yield f"  no upper bound: {'; '.join(plan.estimate.no_bound_because)}"
    yield f"  caching: {plan.caching.note}{_break_even_words(plan)}"
    if plan.estimate.four_ways is not None:
        yield f"  {ways_words(plan.estimate.four_ways)}"
    if plan.outlook is not None:
        own = [plan.estimate.expected_pico_usd, plan.estimate.ceiling_pico_usd]
        yield f"  of which this step: {_pico_words(own[0])} expected, {_pico_words(own[1])} at most"
        yield from (f"  {_later_words(each)}" for each in plan.outlook.later)


def _step_words(step: StepSpec, model: str) -> str:
    if step.kind == "sample":
        return f"a sample is asked of {model}"
    again = f", told what was wrong ({step.turn})" if step.kind == "turn" else ""
    return f"rung {step.rung}, {model}{again}"


def _later_words(each: StepEstimate) -> str:
    words = f"then {_step_words(each.step, each.model)}: "
    most = f"{_pico_words(each.ceiling_pico_usd)} at most, with all {each.rows:,} rows"
    if each.expected_rows is None:
        return f"{words}how many rows is not known yet; {most}"
    source = f" (learnt from {each.learnt_from:,} rows)" if each.learnt_from else ""
    return f"{words}about {each.expected_rows:,.0f} rows{source}, {_pico_words(each.expected_pico_usd)}; {most}"


def _break_even_words(plan: JobPlan) -> str:
    if plan.caching.break_even is None:
        return ""
    return f"; pays from {plan.caching.break_even:.0%} hits, {plan.caching.hit_rate:.0%} expected"


def _pico_words(pico: int | None) -> str:
    return "unknown" if pico is None else usd_words(pico)
