"""A job whose rows another job has yet to make: what can be said of it without inventing a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan
from batchforge.requests.compiler import CompiledJob
from batchforge.state.records import StateReader


@dataclass(frozen=True, slots=True)
class WaitingJob:
    job: str
    model: str
    waits_for: tuple[str, ...]
    """Jobs whose rows a run would change, or that wait themselves."""
    rows_before: int | None
    """How many rows it had when it last ran; None where it never did."""


def makes_other_rows(plan: JobPlan, state: StateReader | None, target: str) -> bool:
    """Whether what others read of the job may be different after a run."""
    manifest = state.manifest(target, plan.job) if state is not None else None
    is_same = manifest is not None and manifest.digest == plan.digest
    return not is_same or plan.requests_to_send > 0 or plan.counts.get(Action.WAIT, 0) > 0


def waiting_job(job: CompiledJob, waits_for: tuple[str, ...], state: StateReader | None, target: str) -> WaitingJob:
    manifest = state.manifest(target, job.spec.name) if state is not None else None
    rows = manifest.row_count if manifest is not None else None
    return WaitingJob(job.spec.name, job.spec.model, waits_for, rows)


def waiting_value(waiting: Sequence[WaitingJob]) -> list[dict[str, Any]]:
    return [asdict(job) for job in waiting]


def waiting_lines(waiting: Sequence[WaitingJob]) -> Iterator[str]:
    """For people."""
    for job in waiting:
        yield ""
        yield f"{job.job}  {job.model}"
        yield f"  waits for {' and '.join(job.waits_for)}: {_rows_words(job)}"


def waiting_markdown(waiting: Sequence[WaitingJob]) -> list[str]:
    """Rows of the table of jobs."""
    return [
        f"| `{job.job}` | waits for {', '.join(f'`{name}`' for name in job.waits_for)}; {_rows_words(job)} "
        "| | | | unknown | unknown |"
        for job in waiting
    ]


def _rows_words(job: WaitingJob) -> str:
    if job.rows_before is None:
        return "its rows are yet to be made, so it has no estimate"
    return f"its rows are yet to be made; the last run had {job.rows_before:,}"
