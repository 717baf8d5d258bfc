"""What a run came to, as values: what the command prints, what run_results.json holds, what the exit code is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from batchforge.outputs import OutputReport
from batchforge.results import Brought

EXIT_OK, EXIT_FAILED, EXIT_PENDING = 0, 1, 3


@dataclass(frozen=True, slots=True)
class JobSummary:
    job: str
    rows: int = 0
    distinct_requests: int = 0
    actions: Mapping[str, int] = field(default_factory=dict)
    """Rows by what the plan decided: submit, reuse, wait, failed, blocked."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Rows to be submitted, by why."""
    requests_sent: int = 0
    estimated_pico_usd: int | None = None
    """What the requests to be sent were expected to cost; None where no price is known."""
    ceiling_pico_usd: int | None = None
    batches_in_flight: Sequence[str] = ()
    """Batch ids, or the state of an attempt that has none yet."""
    output: OutputReport | None = None
    brought: Brought = field(default_factory=Brought)
    problem: str = ""
    """Why the job's output was not written, where it was not."""

    @property
    def is_failed(self) -> bool:
        """Too few rows were answered. A partial run that answered enough is none."""
        if self.problem:
            return True
        if self.output is None or self.output.is_published or self.batches_in_flight:
            return False
        return bool(self.output.failed_rows) and not self.output.is_enough


@dataclass(frozen=True, slots=True)
class RunSummary:
    run_id: str
    target: str
    is_emulated: bool
    command: str
    status: str
    """ok, failed, pending or running."""
    started_at: str
    ended_at: str | None
    jobs: Sequence[JobSummary]

    @property
    def exit_code(self) -> int:
        return {"ok": EXIT_OK, "pending": EXIT_PENDING, "running": EXIT_PENDING}.get(self.status, EXIT_FAILED)

    def to_json(self) -> dict[str, Any]:
        """The value of --output json and run_results.json."""
        jobs = [_job_json(job) for job in self.jobs]
        cost_usd = round(sum(job.brought.cost_pico_usd for job in self.jobs) / 1e12, 9)
        return {**asdict(self), "jobs": jobs, "cost_usd": cost_usd, "exit_code": self.exit_code}


def status_of(jobs: Sequence[JobSummary]) -> str:
    if any(job.batches_in_flight for job in jobs):
        return "pending"
    return "failed" if any(job.is_failed for job in jobs) else "ok"


def _job_json(job: JobSummary) -> dict[str, Any]:
    value = asdict(job)
    brought = value.pop("brought")
    cost: dict[str, Any] = {"cost_usd": round(job.brought.cost_usd, 9), "unpriced_results": job.brought.unpriced}
    for name in ("estimated", "ceiling"):
        pico = value.pop(f"{name}_pico_usd")
        cost[f"{name}_usd"] = None if pico is None else round(pico / 1e12, 9)
    return {**value, "results": brought["results"], "usage": brought["usage"], **cost, "is_failed": job.is_failed}
