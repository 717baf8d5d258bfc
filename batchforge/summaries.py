"""What a run came to, as values: what the command prints, what run_results.json holds, what the exit code is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from batchforge.escalation.rungs import LadderReport
from batchforge.execution.expectation import Expectation
from batchforge.outputs import ANSWERED, OutputReport
from batchforge.planning.estimate import FourWays
from batchforge.results import Brought
from batchforge.state.records import AttemptRecord, BatchRecord, RunRecord
from batchforge.testing.outcome import WARN, AssertionResult

EXIT_OK, EXIT_FAILED, EXIT_PENDING = 0, 1, 3


@dataclass(frozen=True, slots=True)
class SummedEstimate:
    """What a plan said before anything was sent."""

    expected_pico_usd: int | None
    """None where no price is known."""
    ceiling_pico_usd: int | None
    input_tokens: int
    output_tokens: int


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
    mode: str = "batch"
    estimate: SummedEstimate | None = None
    """Of the requests that were to be sent; None where results were collected that are not all of a run's."""
    batches_in_flight: Sequence[str] = ()
    """Batch ids, or the state of an attempt that has none yet."""
    output: OutputReport | None = None
    brought: Brought = field(default_factory=Brought)
    four_ways: FourWays | None = None
    """What the results would have cost with and without batches and caching; None where no price is known."""
    tests: Sequence[AssertionResult] = ()
    """What came of the tests of its output."""
    tests_id: str = ""
    """Names the tests together with the output that they were run on."""
    problem: str = ""
    """Why the job's output was not written, where it was not."""
    error_exit_code: int = EXIT_FAILED
    """Of the command, where the job failed."""
    waiting_for: str = ""
    """The job in flight that stands before this one, which did not begin."""
    skipped_because: str = ""
    """Why the job did not begin, where something it needs failed."""
    ladder: LadderReport | None = None
    """What each of several models came to; None where there is one, or nothing was delivered."""

    @property
    def rows_left(self) -> int:
        """Rows that have yet to go up to the next model, or the next turn."""
        return self.ladder.left if self.ladder is not None else 0

    @property
    def status(self) -> str:
        """What `result:` selects by."""
        if self.skipped_because:
            return "skipped"
        if self.batches_in_flight or self.waiting_for or self.rows_left:
            return "pending"
        if any(result.is_failed for result in self.tests):
            return "fail"
        if self.is_failed:
            return "error"
        return "warn" if any(result.status == WARN for result in self.tests) else "success"

    @property
    def is_failed(self) -> bool:
        """Too few rows were answered, or a test failed. A partial run that answered enough is none."""
        if self.problem or any(result.is_failed for result in self.tests):
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
    """ok, failed, pending or running; error or interrupted where it broke off."""
    started_at: str
    ended_at: str | None
    jobs: Sequence[JobSummary]
    expected_at: str | None = None
    """When what is in flight is expected to have ended, as earlier batches took."""
    latest_at: str | None = None
    """When the API ends by itself what is in flight."""
    problems: Sequence[str] = ()
    """Codes of what broke it off."""
    broken_off_with: int | None = None
    """The exit code, where it broke off."""

    @property
    def exit_code(self) -> int:
        if self.broken_off_with is not None:
            return self.broken_off_with
        codes = {"ok": EXIT_OK, "pending": EXIT_PENDING, "running": EXIT_PENDING}
        failed = max((job.error_exit_code for job in self.jobs if job.is_failed), default=EXIT_FAILED)
        return codes.get(self.status, failed)

    def to_json(self) -> dict[str, Any]:
        """The value of --output json and run_results.json."""
        jobs = [_job_json(job) for job in self.jobs]
        cost_usd = round(sum(job.brought.cost_pico_usd for job in self.jobs) / 1e12, 9)
        value = {**asdict(self), "jobs": jobs, "cost_usd": cost_usd, "exit_code": self.exit_code}
        del value["broken_off_with"]
        return value


@dataclass(frozen=True, slots=True)
class AttemptInFlight:
    attempt: AttemptRecord
    batch: BatchRecord | None
    """As the API last described it; None where no batch is known (yet)."""

    @property
    def is_unsettled(self) -> bool:
        """Whether it cannot be told (yet) if it was accepted."""
        return self.attempt.mode == "batch" and self.attempt.batch_id is None


@dataclass(frozen=True, slots=True)
class StatusSummary:
    """What is in flight, and how the last run ended, as state knows it."""

    target: str
    in_flight: Sequence[AttemptInFlight]
    last_run: RunRecord | None
    ahead: Expectation

    @property
    def exit_code(self) -> int:
        return EXIT_PENDING if self.in_flight else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        """The value of --output json."""
        return {
            "target": self.target,
            "in_flight": [
                {**asdict(each.attempt), "batch": asdict(each.batch) if each.batch else None} for each in self.in_flight
            ],
            **asdict(self.ahead),
            "last_run": asdict(self.last_run) if self.last_run else None,
        }


def status_of(jobs: Sequence[JobSummary]) -> str:
    if any(job.batches_in_flight or job.waiting_for or job.rows_left for job in jobs):
        return "pending"
    return "failed" if any(job.is_failed for job in jobs) else "ok"


def _job_json(job: JobSummary) -> dict[str, Any]:
    value = asdict(job)
    value["tests"] = [result.to_json() for result in job.tests]
    for name in ("brought", "estimate", "four_ways"):
        del value[name]
    brought, estimate = job.brought, job.estimate
    return {
        **value,
        "status": job.status,
        "results": brought.results,
        "usage": asdict(brought.usage),
        "cost_usd": round(brought.cost_usd, 9),
        "unpriced_results": brought.unpriced,
        "cache_hit_rate": brought.cache_hit_rate,
        "estimated_usd": estimate and usd(estimate.expected_pico_usd),
        "ceiling_usd": estimate and usd(estimate.ceiling_pico_usd),
        "estimated_input_tokens": estimate and estimate.input_tokens,
        "estimated_output_tokens": estimate and estimate.output_tokens,
        "cost_over_estimate": cost_over_estimate(job),
        "four_ways_usd": four_ways_value(job.four_ways),
        "is_failed": job.is_failed,
    }


def has_failed_then(job: Mapping[str, Any]) -> bool | None:
    """Whether a job of a recorded run failed, was skipped, or had rows that failed; None where the run says nothing of
    it, since it sent and wrote nothing."""
    if job.get("is_failed") or job.get("skipped_because"):
        return True
    output = job.get("output")
    if output is None:
        return None
    return bool(output["row_count"] - output["statuses"].get(ANSWERED, 0))


def cost_over_estimate(job: JobSummary) -> float | None:
    """The bill over what was expected; None until everything that was expected has come, or where no price is known."""
    if job.estimate is None or not job.estimate.expected_pico_usd or job.batches_in_flight or not job.brought.results:
        return None
    return round(job.brought.cost_pico_usd / job.estimate.expected_pico_usd, 4)


def four_ways_value(ways: FourWays | None) -> dict[str, float | None] | None:
    if ways is None:
        return None
    return {name: usd(getattr(ways, name)) for name in ("standard", "standard_cached", "batch", "batch_cached")}


def usd(pico_usd: int | None) -> float | None:
    return None if pico_usd is None else round(pico_usd / 1e12, 9)
