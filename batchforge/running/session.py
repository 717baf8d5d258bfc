"""A run on an open target: what all its parts need, and its record in state from its first moment to its end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from batchforge.clock import Clock, SystemClock, iso
from batchforge.errors import EXIT_INTERRUPTED, EXIT_OUR_BUG, BatchForgeError
from batchforge.events import Event, EventName, Listener, ignore, warning
from batchforge.execution.brake import Brake
from batchforge.execution.disk_room import disk_error
from batchforge.execution.expectation import expectation
from batchforge.file_marks import FileMark, are_unchanged
from batchforge.git_commit import describe_commit
from batchforge.inputs import input_paths
from batchforge.planning.approval import PlannedRun
from batchforge.planning.planner import JobPlan
from batchforge.project import Project
from batchforge.results import Brought
from batchforge.running.run_options import RunOptions
from batchforge.running.upstream import Upstream
from batchforge.spec import JobSpec
from batchforge.state.holders import this_holder, user_at_host
from batchforge.state.records import RunRecord, StateStore
from batchforge.state.sql_state import SqlState
from batchforge.summaries import JobSummary, RunSummary, status_of
from batchforge.target import Target
from batchforge.whole_file import replace_file

if TYPE_CHECKING:
    from batchforge.backends.base import BatchBackend
    from batchforge.execution.executor import Executor
    from batchforge.execution.leases import LeaseKeeper
    from batchforge.execution.sync_executor import SyncExecutor
    from batchforge.targets import OpenTarget


@dataclass(slots=True)
class Session:
    """One run on an open target."""

    project: Project
    opened: OpenTarget
    executor: Executor
    sync: SyncExecutor
    options: RunOptions
    clock: Clock
    listen: Listener
    upstream: Upstream
    run_id: str = ""
    asked_after: int | None = None
    """The last attempt before this run, or before the run that it goes on with."""
    started_at: str = ""
    planned: PlannedRun = field(default_factory=lambda: PlannedRun(""))
    attempts_before: dict[str, int] = field(default_factory=dict)
    """Job -> the last attempt before its rows were planned for the first time."""
    input_marks: dict[str, list[FileMark]] = field(default_factory=dict)
    """Job -> its input files as they were before their rows were planned."""
    must_check_rows: bool = False
    """True where time has passed since the rows were read."""

    @property
    def state(self) -> StateStore:
        return self.opened.state

    @property
    def target(self) -> Target:
        return self.opened.target

    @property
    def backend(self) -> BatchBackend:
        return self.opened.backend

    @contextmanager
    def recorded(self, names: Sequence[str]) -> Iterator[None]:
        """A run is in state from its first moment to its end, however it ends."""
        now = self.clock.now()
        if self.asked_after is None:
            self.asked_after = self.state.last_attempt_id()
        self.run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.started_at = iso(now)
        self.state.begin_run(
            RunRecord(
                run_id=self.run_id,
                started_at=self.started_at,
                command=self.options.command,
                target=self.target.name,
                jobs=tuple(names),
                commit=describe_commit(self.project.root),
                started_by=user_at_host(),
                holder=this_holder(),
            )
        )
        self.listen(_run_started(self.run_id, self.options.command, self.target.name))
        try:
            yield
        except KeyboardInterrupt:
            self._break_off(names, "interrupted", EXIT_INTERRUPTED)
            raise
        except BatchForgeError as exc:
            self._break_off(names, "error", exc.exit_code, [problem.code for problem in exc.problems])
            raise
        except MemoryError:
            with suppress(Exception):  # what ended it may keep us from saying so
                self._break_off(names, "error", BatchForgeError.exit_code)
            raise
        except OSError as exc:
            error = disk_error(exc)
            self._break_off(names, "error", error.exit_code if error else EXIT_OUR_BUG)
            if error is None:
                raise
            raise error from exc

    def note_results(self, jobs: Sequence[JobSummary]) -> None:
        """What the run has come to so far, for whoever looks while it goes on."""
        self._write_results(self._summary(jobs, "running", None))

    def _summary(self, jobs: Sequence[JobSummary], status: str, ended_at: str | None) -> RunSummary:
        ahead = expectation(self.state, [job.job for job in jobs if job.batches_in_flight], self.clock.now())
        return RunSummary(
            run_id=self.run_id,
            target=self.target.name,
            is_emulated=self.target.type == "emulator",
            command=self.options.command,
            status=status,
            started_at=self.started_at,
            ended_at=ended_at,
            jobs=jobs,
            expected_at=ahead.expected_at,
            latest_at=ahead.latest_at,
        )

    def _write_results(self, summary: RunSummary) -> dict[str, Any]:
        value = summary.to_json()
        replace_file(self.project.run_results_path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        return value

    def finish(self, jobs: Sequence[JobSummary]) -> RunSummary:
        if self.target.deletes_remote:
            self._delete_remote()
        if self.target.retention_days is not None:
            self._forget_old(self.target.retention_days)
        summary = self._summary(jobs, status_of(jobs), iso(self.clock.now()))
        value = self._write_results(summary)
        self.state.end_run(self.run_id, summary.status, value | self.planned.summary())
        facts = {name: value[name] for name in ("run_id", "status", "exit_code", "cost_usd")}
        self.listen(Event(EventName.RUN_ENDED, message=f"run {self.run_id}: {summary.status}", data=facts))
        return summary

    def _forget_old(self, days: int) -> None:
        """What serves no row any more, and was stored longer ago."""
        from batchforge.state.maintenance import find_prunable, prune

        assert isinstance(self.state, SqlState)
        before = iso(self.clock.now() - timedelta(days=days))
        found = find_prunable(self.state, before)
        if found.answers:
            prune(self.state, before)
            message = f"{found.answers:,} answers from before {before[:10]} that serve no row any more were removed"
            self.listen(Event(EventName.ANSWERS_REMOVED, message=message, data={"answers": found.answers}))

    def _break_off(self, names: Sequence[str], status: str, exit_code: int, codes: Sequence[str] = ()) -> None:
        """How it ended, where whoever goes on looks for it. Messages are left out: they can quote a row."""
        with suppress(BatchForgeError, OSError):  # what broke it off may be the state itself, or the disk
            self.state.end_run(self.run_id, status, self.planned.summary())
            jobs = [JobSummary(name, batches_in_flight=self.in_flight(name)) for name in names]
            summary = self._summary(jobs, status, iso(self.clock.now()))
            self._write_results(replace(summary, problems=codes, broken_off_with=exit_code))

    def _delete_remote(self) -> None:
        from batchforge.execution.remote_deletion import delete_stored

        deleted = delete_stored(self.state, self.backend, self.target.name)
        for batch_id, reason in deleted.failures.items():
            message = f"batch {batch_id} could not be deleted at the API, the next run tries again: {reason}"
            self.warn("BF619", message)

    def note(self, plans: Sequence[JobPlan], *, is_approved: bool) -> None:
        """Jobs that join an approved run are in its record once they are approved themselves."""
        if self.planned.is_approved and not is_approved:
            return
        planned = PlannedRun.of(
            self.run_id,
            plans,
            self.options.scope,
            self.options.max_cost_usd,
            self.options.deferral,
            self.options.resend,
        )
        jobs = {**self.planned.jobs, **planned.jobs}
        self.planned = replace(planned, is_approved=is_approved, jobs=jobs)
        self.state.note_plan(self.run_id, planned.summary())

    @property
    def leases(self) -> LeaseKeeper:
        return self.executor.leases

    def is_input_unchanged(self, spec: JobSpec) -> bool:
        """Whether the rows were read by this process, from files that are still the same."""
        marks, tree = self.input_marks.get(spec.name), self.project.tree
        return marks is not None and are_unchanged(marks, tree, input_paths(spec.input, tree))

    def in_flight(self, job: str) -> list[str]:
        return [attempt.batch_id or attempt.state.value for attempt in self.state.awaited_attempts([job])]

    def brought(self, job: str) -> Brought:
        return self.executor.brought.get(job, Brought())

    def warn(self, code: str, message: str, job: str = "") -> None:
        self.listen(warning(code, message, job))


@contextmanager
def open_session(
    project: Project,
    target: Target,
    options: RunOptions,
    listen: Listener = ignore,
    clock: Clock | None = None,
    upstream: Upstream | None = None,
) -> Iterator[Session]:
    """The target's state and backends, closed at the end; `upstream` reads that state from now on."""
    from batchforge.documents.file_delivery import FileDelivery
    from batchforge.execution.executor import Executor
    from batchforge.execution.intention import Timing
    from batchforge.execution.leases import LeaseKeeper
    from batchforge.execution.settling import OnUncertain
    from batchforge.execution.sync_executor import SyncExecutor
    from batchforge.ledger.pricing import Pricing
    from batchforge.targets import open_target

    clock = clock or SystemClock()
    with open_target(project, target) as opened:
        timing = Timing(target.timeout_s, target.settle_after_s, target.poll_interval_s)
        pricing, spool = Pricing(project.price_table(target)), project.state_folder / "spool"
        files = FileDelivery(opened.state, opened.files, clock, listen, target.may_upload)
        executor = Executor(
            opened.state,
            opened.backend,
            clock,
            timing,
            pricing,
            spool,
            OnUncertain(target.asks_when_uncertain, target.ask_above_usd),
            files,
            LeaseKeeper(opened.state, clock, options.lock_timeout_s, listen),
            target.max_in_flight_requests,
            listen,
        )
        brake = Brake(target.concurrency)
        sync = SyncExecutor(
            opened.state, opened.messages, clock, timing, pricing, brake, files, listen, executor.brought
        )
        upstream = upstream or Upstream({}, target.name)
        upstream.state = opened.state
        with closing(files):
            yield Session(project, opened, executor, sync, options, clock, listen, upstream)


def _run_started(run_id: str, command: str, target: str) -> Event:
    facts = {"run_id": run_id, "command": command, "target": target}
    return Event(EventName.RUN_STARTED, message=f"run {run_id} ({command}) on {target}", data=facts)
