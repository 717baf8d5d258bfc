"""A `ProjectDiff` -> the plain value of --output json, as schemas/diff.schema.json describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from batchforge.errors import Location, Problem
from batchforge.review.diff_values import CacheEffect, Cost, JobDiff, ProjectDiff
from batchforge.review.git_base import Revision
from batchforge.review.text_diff import DiffLine

DIFF_VERSION = 1
_SIGNS = {"same": " ", "old": "-", "new": "+", "gap": "@"}


def diff_value(diff: ProjectDiff) -> dict[str, Any]:
    return {
        "diff_version": DIFF_VERSION,
        "project": diff.project,
        "target": diff.target,
        "base": _revision(diff.base),
        "head": _revision(diff.head),
        "has_state": diff.has_state,
        "prices_as_of": diff.prices_as_of,
        "summary": _summary(diff),
        "jobs": [_job(job) for job in diff.jobs],
        "paid_usd": diff.paid_usd,
        "target_changes": list(diff.target_changes),
        "gates": [asdict(gate) for gate in diff.gates],
        "notes": list(diff.notes),
        "problems": [_problem(problem) for problem in diff.problems],
    }


def _summary(diff: ProjectDiff) -> dict[str, Any]:
    asking = diff.asking_jobs
    return {
        "jobs_compared": len(diff.jobs),
        "jobs_changed": len(diff.changed_jobs),
        "jobs_with_other_requests": len(asking),
        "rows_to_send": sum(job.rows.to_send for job in asking if job.rows),
        "rows_reused": sum(job.rows.reused for job in asking if job.rows),
        "change": cost_value(diff.change),
        "is_at_most": diff.is_at_most,
        "has_unknown_cost": diff.change is None or diff.change.expected_pico_usd is None,
    }


def _revision(revision: Revision) -> dict[str, Any]:
    return asdict(revision)


def cost_value(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {
        "requests": cost.requests,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "expected_usd": _usd(cost.expected_pico_usd),
        "ceiling_usd": _usd(cost.ceiling_pico_usd),
        "expected_pico_usd": cost.expected_pico_usd,
        "ceiling_pico_usd": cost.ceiling_pico_usd,
    }


def _usd(pico: int | None) -> float | None:
    return None if pico is None else round(pico / 1e12, 9)


def _job(job: JobDiff) -> dict[str, Any]:
    return {
        "job": job.job,
        "status": job.status.value,
        "old_job": job.old_job or None,
        "path": job.path,
        "old_path": job.old_path or None,
        "model": job.model,
        "mode": job.mode,
        "basis": job.basis.value,
        "changes_requests": job.changes_requests,
        "parts": [
            {
                "part": part.part.value,
                "changes_requests": part.changes_requests,
                "words": part.words,
                "location": _location(part.location),
            }
            for part in job.parts
        ],
        "rows": {**asdict(job.rows), "to_send": job.rows.to_send} if job.rows else None,
        "is_at_most": job.is_at_most,
        "sampled_rows": job.sampled_rows,
        "learnt_from_results": job.learnt_from,
        "cost": {name: cost_value(getattr(job, name)) for name in ("change", "waiting", "before", "after")},
        "caching": _caching(job.caching),
        "prompt": {
            "shared": _lines(job.prompt.shared),
            "rows": [
                {"key": row.key, "place": row.place, "stratum": row.stratum, "lines": _lines(row.lines)}
                for row in job.prompt.rows
            ],
        },
        "answers": asdict(job.answers) if job.answers else None,
        "upstream": list(job.upstream),
        "notes": list(job.notes),
    }


def _caching(effect: CacheEffect | None) -> dict[str, Any] | None:
    return asdict(effect) if effect else None


def _lines(lines: Sequence[DiffLine]) -> list[str]:
    """As in a unified diff: a sign, then the text."""
    return [_SIGNS[line.kind] + line.text for line in lines]


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
        "location": _location(problem.location),
    }


def _location(location: Location | None) -> dict[str, Any] | None:
    if location is None:
        return None
    return {"path": location.path, "line": location.line, "column": location.column}
