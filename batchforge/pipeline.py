"""The order of the stages: compile, plan, submit, collect, write. Only this room knows it; no stage knows another."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from batchforge.claude_models import find_model
from batchforge.clock import Clock, SystemClock, iso
from batchforge.errors import BatchForgeError, BudgetExceeded, Problem, ProblemList, UsageError
from batchforge.events import Event, EventName, Listener, ignore
from batchforge.execution.brake import Brake
from batchforge.execution.disk_room import disk_error
from batchforge.file_marks import FileMark, are_unchanged, mark_files
from batchforge.git_commit import describe_commit
from batchforge.inputs import InputRow, input_paths, read_input
from batchforge.lookup.tried import TriedRow, TrySummary, tried_rows
from batchforge.outputs import OutputReport, check_output, find_moved_rows, output_path, write_outputs, written_as
from batchforge.planning.approval import PlannedRun, check_resumed
from batchforge.planning.budget import Limits, check_gate, check_limits, cost_warnings, cost_words, needs_confirmation
from batchforge.planning.caching import LIFE_S
from batchforge.planning.decisions import Resend
from batchforge.planning.estimate import Phase, ways_of_results
from batchforge.planning.plan_file import Binding, SavedPlan, check_within, moved_since
from batchforge.planning.plan_notes import context_notes, plan_notes
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job, plan_settled
from batchforge.planning.settled import Settled, decode_settled, identity_of, is_settled
from batchforge.project import Project
from batchforge.requests.artifacts import replace_file
from batchforge.requests.compiler import CompiledJob, compile_job
from batchforge.requests.request import MessageRequest
from batchforge.requests.request_checks import check_request
from batchforge.results import Brought
from batchforge.spec import JobSpec
from batchforge.state.records import TRIED, ClaimTaken, Manifest, MonthBudgetTaken, RunRecord, StateReader
from batchforge.summaries import AttemptInFlight, JobSummary, RunSummary, StatusSummary, SummedEstimate, status_of
from batchforge.target import Mode, Target
from batchforge.targets import read_state
from batchforge.token_estimate import estimate_params_tokens

if TYPE_CHECKING:
    from batchforge.execution.executor import Executor
    from batchforge.execution.recovery import Recovered
    from batchforge.execution.sync_executor import SyncExecutor
    from batchforge.targets import OpenTarget

_SENDING = frozenset({"run", "retry", "resume"})
"""Commands that send what all rows of a job need."""
_USABLE_SHARE_OF_LIFE = 0.9
"""Of a cache entry's life: what is left then is too little for another batch to find it."""
_ROUNDS = 5
"""How often a run plans again because something it had counted on was lost or taken."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    resend: Resend = Resend.NOTHING_PAID
    limit: int | None = None
    """Only the first so many rows; the full output stays as it is."""
    sample: int | None = None
    """Only so many rows, the same ones every time; the full output stays as it is."""
    wait: bool = True
    """False: submit and end."""
    submitted_rows: bool = False
    """Write outputs of the rows as they were submitted, though the inputs have moved since."""
    allow_unknown_model: bool = False
    yes: bool = False
    """A person has agreed to the cost already."""
    max_cost_usd: float | None = None
    """The most that the whole run may cost."""
    resend_uncertain: bool = False
    """Send uncertain batches again, on a person's word."""
    looks_at_rows: bool = False
    """For a plan: every row is looked at, also where it is known that nothing has changed."""
    count_exactly: bool = False
    """For a plan: let the API count the tokens of a few requests."""
    saved_plan: SavedPlan | None = None
    """What was approved: nothing beyond it is sent."""
    ask: Callable[[str], bool] | None = None
    """Asks a person; None where nobody is there."""
    keys: tuple[str, ...] = ()
    """Only the rows with these keys; for `try`, which writes no output."""
    mode: Mode | None = None
    """batch or sync, before what the job and the target say."""
    command: str = "run"

    @property
    def scope(self) -> str:
        """Names which rows are asked; empty for all."""
        if self.command == "try":
            return TRIED
        parts = [f"{name}={value}" for name in ("limit", "sample") if (value := getattr(self, name)) is not None]
        return " ".join(parts)


def compile_jobs(
    project: Project, jobs: Sequence[JobSpec], target: Target, options: RunOptions, problems: ProblemList
) -> list[CompiledJob]:
    """Compile and check jobs. What is wrong goes into `problems`, all of it; jobs with errors are left out."""
    compiled = []
    for spec in jobs:
        found = ProblemList()
        try:
            compiled.append(_compile_checked(project, spec, target, options, found))
        except BatchForgeError as exc:
            found.extend(exc)
        problems.items += found.items
    return compiled


def _compile_checked(
    project: Project, spec: JobSpec, target: Target, options: RunOptions, problems: ProblemList
) -> CompiledJob:
    mode: Mode = options.mode or spec.mode or target.mode or "batch"
    spec = replace(spec, betas=tuple(dict.fromkeys([*spec.betas, *target.betas])), mode=mode)
    rows = partial(read_input, spec.input, project.tree, spec.vars, limit=options.limit, sample=options.sample)
    compiled = compile_job(spec, project.tree, partial(_with_keys, rows, options.keys) if options.keys else rows)
    check_request(
        compiled.sample_params(),
        betas=spec.betas,
        api_version=target.anthropic_version,
        mode=mode,
        locations=spec.locations,
        problems=problems,
        today=date.today(),
        allow_unknown_model=options.allow_unknown_model,
        prices=project.price_table(target),
    )
    return compiled


def _with_keys(read_rows: Callable[[], Iterator[InputRow]], keys: Sequence[str]) -> Iterator[InputRow]:
    """
    Raises:
        UsageError: BF907 there is no row with one of the keys.
    """
    left = set(keys)
    for row in read_rows():
        if row.key in left:
            left.discard(row.key)
            yield row
        if not left:
            return
    raise UsageError("BF907", f"no row has the key `{min(left)}`.", hint="`batchforge render JOB` shows keys.")


def run(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None = None,
    *,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> RunSummary:
    """Send what is missing, wait for it, and write the outputs.

    Raises:
        ProjectError: something in the files or rows is wrong; nothing was sent.
        ApiError: the API refuses; what was accepted before is kept.
        KeyboardInterrupt: what is in flight stays there.
    """
    options = options or RunOptions()
    problems = ProblemList()
    compiled = compile_jobs(project, jobs, target, options, problems)
    problems.raise_if_any()
    _tell_warnings(problems, listen)
    with _runner(project, target, options, listen, clock) as runner:
        if options.saved_plan is not None:
            serial = runner.opened.state.last_attempt_id()
            for moved in moved_since(options.saved_plan, describe_commit(project.root), serial):
                listen(Event(EventName.WARNING, message=moved))
        return runner.run(compiled)


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """The plans of some jobs, and what they were made of."""

    plans: Sequence[JobPlan]
    state: StateReader | None
    warnings: Sequence[Problem]
    notes: Mapping[str, Sequence[str]]
    """Job -> what is worth knowing before it is sent."""
    options: RunOptions


@contextmanager
def plan(
    project: Project, jobs: Sequence[JobSpec], target: Target, options: RunOptions | None = None
) -> Iterator[ProjectPlan]:
    """What a run would do and cost. Offline, without a key, and without a write to state.

    The plans' rows live in private files that go when the block ends.

    Raises:
        ProjectError: something in the files or rows is wrong.
    """
    options = options or RunOptions(command="plan")
    problems = ProblemList()
    compiled = compile_jobs(project, jobs, target, options, problems)
    problems.raise_if_any()
    settings = PlanSettings(resend=options.resend, can_prime=options.wait, prices=project.price_table(target))
    with ExitStack() as stack:
        state = stack.enter_context(read_state(project, target))
        if options.count_exactly:
            settings = replace(settings, counted_ratios=_count_tokens(project, compiled, target))
        plans = [
            stack.enter_context(_plan_of(job, project, target, state, options, _in_mode(job, settings)))
            for job in compiled
        ]
        for each in plans:
            check_output(each.compiled.spec, each.columns, project, target)
        notes = plan_notes(plans, state, target.name)
        yield ProjectPlan(plans, state, problems.warnings, notes, options)


def _find_settled(
    job: CompiledJob, project: Project, target: Target, state: StateReader, options: RunOptions
) -> tuple[Manifest, Settled] | None:
    """What an earlier run has settled of a job, if nothing has changed since; None where its rows must be looked at."""
    if options.resend is not Resend.NOTHING_PAID or options.scope or options.keys or options.saved_plan:
        return None
    manifest = state.manifest(target.name, job.spec.name)
    if manifest is None or manifest.settled is None or state.awaited_attempts([job.spec.name]):
        return None
    settled = decode_settled(manifest.settled)
    return (manifest, settled) if is_settled(settled, job, project.tree, state.last_attempt_id()) else None


def _plan_of(
    job: CompiledJob,
    project: Project,
    target: Target,
    state: StateReader | None,
    options: RunOptions,
    settings: PlanSettings,
) -> JobPlan:
    found = None
    if state is not None and not options.looks_at_rows:
        found = _find_settled(job, project, target, state, options)
    if found is None:
        return plan_job(job, state, target.name, settings)
    manifest, settled = found
    return plan_settled(job, state, target.name, settings, manifest, settled.distinct_requests)


def _in_mode(job: CompiledJob, settings: PlanSettings) -> PlanSettings:
    """With the job's way of delivery, in which a sync phase is always waited for."""
    mode: Mode = job.spec.mode or "batch"
    return replace(settings, mode=mode, can_prime=settings.can_prime or mode == "sync")


_COUNTED_REQUESTS = 5


def _count_tokens(project: Project, jobs: Sequence[CompiledJob], target: Target) -> dict[str, float]:
    """Job -> tokens of its first requests as the API counts them, over estimated ones."""
    from batchforge.targets import open_target

    ratios = {}
    with open_target(project, target) as opened:
        for job in jobs:
            rows = islice((row for row in job.requests() if isinstance(row, MessageRequest)), _COUNTED_REQUESTS)
            bodies = [job.params_of(row) for row in rows]
            estimated = sum(estimate_params_tokens(body, find_model(job.spec.model)) for body in bodies)
            if estimated:
                ratios[job.spec.name] = sum(map(opened.backend.count_tokens, bodies)) / estimated
    return ratios


def try_rows(
    project: Project,
    job: JobSpec,
    target: Target,
    options: RunOptions | None = None,
    *,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> TrySummary:
    """Answer a few rows at once, one request each, and keep the answers: a later run does not pay for them again.

    Writes no output.

    Raises:
        ProjectError, ApiError, KeyboardInterrupt: as `run`. UsageError: BF907 there is no row with a wanted key.
    """
    options = replace(options or RunOptions(limit=5), mode="sync", command="try")
    problems = ProblemList()
    compiled = compile_jobs(project, [job], target, options, problems)
    problems.raise_if_any()
    _tell_warnings(problems, listen)
    with _runner(project, target, options, listen, clock) as runner:
        return runner.try_rows(compiled[0])


def resume(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None = None,
    *,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> RunSummary:
    """Go on with the last run that did not end, within the rows that it had planned.

    Raises:
        UsageError: BF910 there is no such run, BF911 other requests would be sent than the run had planned.
    """
    options = replace(options or RunOptions(), command="resume")
    with _runner(project, target, options, listen, clock) as runner:
        unfinished = _unfinished_run(runner.opened.state, target, jobs)
        planned = PlannedRun.from_record(unfinished)
        narrowing = narrowing_of(planned.scope)
        limit = options.max_cost_usd if options.max_cost_usd is not None else planned.max_cost_usd
        options = replace(options, max_cost_usd=limit, limit=narrowing.get("limit"), sample=narrowing.get("sample"))
        runner.options = options
        chosen = [spec for spec in jobs if spec.name in unfinished.jobs]
        problems = ProblemList()
        compiled = compile_jobs(project, chosen, target, options, problems)
        problems.raise_if_any()
        return runner.run(compiled, planned)


def _unfinished_run(state: StateReader, target: Target, jobs: Sequence[JobSpec]) -> RunRecord:
    """The last run that was to send requests of some of these jobs.

    Raises:
        UsageError: BF910 there is none, or it did all that it had to.
    """
    names = {spec.name for spec in jobs}
    runs = (run for run in state.runs(100) if run.target == target.name and run.command in _SENDING)
    last = next((run for run in runs if names.intersection(run.jobs)), None)
    if last is None or last.status == "ok":
        raise UsageError("BF910", "there is no unfinished run to resume", hint="`batchforge run` starts one.")
    return last


def collect(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None = None,
    *,
    wait: bool = False,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> RunSummary:
    """Fetch what is in flight and write the outputs that are complete. Never sends a request that costs."""
    options = replace(options or RunOptions(), command="collect")
    with _runner(project, target, options, listen, clock) as runner:
        return runner.collect(jobs, wait=wait)


def status(project: Project, jobs: Sequence[JobSpec], target: Target) -> StatusSummary:
    """What is in flight, as state knows it. Asks nobody."""
    names = [job.name for job in jobs]
    with read_state(project, target) as state:
        if state is None:
            return StatusSummary(target.name, [], None)
        attempts = [
            AttemptInFlight(a, state.batch(a.batch_id) if a.batch_id else None) for a in state.open_attempts(names)
        ]
        return StatusSummary(target.name, attempts, next(iter(state.runs(1)), None))


def cancel(project: Project, jobs: Sequence[JobSpec], target: Target, *, listen: Listener = ignore) -> list[str]:
    """Ask the API to cancel every batch of these jobs that is in flight; returns their ids.

    What was answered before is billed, and is kept by the next `collect`. A batch that the API would not cancel now is
    told as a warning.
    """
    from batchforge.backends.base import BatchGone, Unavailable

    options = RunOptions(command="cancel")
    canceled = []
    with _runner(project, target, options, listen, None) as runner:
        for attempt in runner.opened.state.open_attempts([job.name for job in jobs]):
            if attempt.batch_id is None:
                continue
            try:
                runner.opened.backend.cancel(attempt.batch_id)
            except (BatchGone, Unavailable) as exc:
                listen(Event(EventName.WARNING, attempt.job, f"{attempt.batch_id} was not canceled: {exc}"))
            else:
                canceled.append(attempt.batch_id)
    return canceled


def recover_batches(project: Project, target: Target, *, listen: Listener = ignore) -> Recovered:
    """Read our batches of the last 29 days that state does not know back from the API. Costs nothing."""
    options = RunOptions(command="state recover")
    with _runner(project, target, options, listen, None) as runner, runner._recorded([]):
        return runner.recover()


def import_answers(project: Project, target: Target, lines: Iterable[bytes]) -> tuple[int, int]:
    """Take the answers of an export; returns how many were read, and how many of them were new."""
    from batchforge.execution import recovery

    options = RunOptions(command="state import")
    with _runner(project, target, options, ignore, None) as runner, runner._recorded([]):
        return recovery.import_answers(runner.opened.state, lines, runner.run_id)


@contextmanager
def _runner(
    project: Project, target: Target, options: RunOptions, listen: Listener, clock: Clock | None
) -> Iterator[_Runner]:
    from batchforge.execution.executor import Executor, OnUncertain, Timing
    from batchforge.execution.sync_executor import SyncExecutor
    from batchforge.ledger.pricing import Pricing
    from batchforge.targets import open_target

    clock = clock or SystemClock()
    with open_target(project, target) as opened:
        timing = Timing(target.timeout_s, target.settle_after_s, target.poll_interval_s)
        pricing, spool = Pricing(project.price_table(target)), project.state_folder / "spool"
        executor = Executor(
            opened.state,
            opened.backend,
            clock,
            timing,
            pricing,
            spool,
            OnUncertain(target.asks_when_uncertain, target.ask_above_usd),
            target.max_in_flight_requests,
            listen,
        )
        brake = Brake(target.concurrency)
        sync = SyncExecutor(opened.state, opened.messages, clock, timing, pricing, brake, listen, executor.brought)
        yield _Runner(project, opened, executor, sync, options, clock, listen)


@dataclass(slots=True)
class _Runner:
    """One run on an open target."""

    project: Project
    opened: OpenTarget
    executor: Executor
    sync: SyncExecutor
    options: RunOptions
    clock: Clock
    listen: Listener
    run_id: str = ""
    asked_after: int = 0
    """The last attempt before this run."""
    started_at: str = ""
    sent: dict[str, int] = field(default_factory=dict)
    is_confirmed: bool = False
    planned: PlannedRun = field(default_factory=lambda: PlannedRun(""))
    estimates: dict[str, SummedEstimate] = field(default_factory=dict)
    """Of each job's first plan: what is sent again later was in it."""
    attempts_before: dict[str, int] = field(default_factory=dict)
    """Job -> the last attempt before its rows were planned for the first time."""
    input_marks: dict[str, list[FileMark]] = field(default_factory=dict)
    """Job -> its input files as they were before their rows were planned."""
    must_check_rows: bool = False
    """True where time has passed since the rows were read."""

    def run(self, compiled: Sequence[CompiledJob], resumed: PlannedRun | None = None) -> RunSummary:
        names = [job.spec.name for job in compiled]
        with self._recorded(names):
            self._recover_at_first()
            if self.options.resend_uncertain:
                self._give_up_uncertain(names)
            self.executor.collect(names, wait=False)
            for _ in range(_ROUNDS):
                facts = self._settled_facts(compiled) if resumed is None else {}
                facts |= self._send([job for job in compiled if job.spec.name not in facts], resumed)
                if self.options.wait and self.opened.state.awaited_attempts(names):
                    self.must_check_rows = True
                    self.executor.collect(names, wait=True)
                if not self.executor.lost_attempts:
                    break
            return self._finish([self._deliver(job, facts[job.spec.name]) for job in compiled])

    def try_rows(self, compiled: CompiledJob) -> TrySummary:
        job = compiled.spec.name
        with self._recorded([job]):
            self._recover_at_first()
            self.executor.collect([job], wait=False)
            rows = self._tried(compiled)
            target = self.opened.target
            summary = TrySummary(
                run_id=self.run_id,
                job=job,
                target=target.name,
                is_emulated=target.type == "emulator",
                started_at=self.started_at,
                ended_at=iso(self.clock.now()),
                rows=rows,
            )
            self.opened.state.end_run(self.run_id, summary.status, summary.to_record())
            return summary

    def _tried(self, compiled: CompiledJob) -> list[TriedRow]:
        for _ in range(_ROUNDS):
            with self._plan(compiled, None) as plan:
                self._check_money([plan], is_approved=False)
                self._remember_rows(plan)
                if self._is_sent([plan]):
                    return tried_rows(plan, self.opened.state, self.run_id)
        raise _rows_taken()

    def collect(self, jobs: Sequence[JobSpec], *, wait: bool) -> RunSummary:
        names = [job.name for job in jobs]
        with self._recorded(names):
            self.executor.collect(names, wait=wait)
            self.must_check_rows = True
            by_name = {job.name: job for job in jobs}
            waiting = {manifest.job for manifest in self._unwritten(names)}
            waiting |= {name for name in names if self._in_flight(name)}
            return self._finish([self._deliver_stored(by_name[name]) for name in sorted(waiting)])

    # ---- where nothing is to be done

    def _settled_facts(self, compiled: Sequence[CompiledJob]) -> dict[str, JobSummary]:
        """Of the jobs of which it is known, without a look at their rows, that every row has its answer."""
        facts = {}
        for job in compiled:
            found = _find_settled(job, self.project, self.opened.target, self.opened.state, self.options)
            if found is not None:
                manifest, settled = found
                self.opened.state.renew_manifest(manifest.manifest_id, self.run_id, iso(self.clock.now()))
                facts[job.spec.name] = self._told_settled(job, settled)
        return facts

    def _told_settled(self, job: CompiledJob, settled: Settled) -> JobSummary:
        actions, name = {Action.REUSE.value: settled.rows}, job.spec.name
        message = f"{settled.rows:,} rows: {settled.rows:,} reused, the job and its files are unchanged"
        data = {"rows": settled.rows, "distinct_requests": settled.distinct_requests, "requests_to_send": 0}
        self.listen(Event(EventName.JOB_PLANNED, name, message, {**data, "actions": actions, "reasons": {}}))
        return JobSummary(name, settled.rows, settled.distinct_requests, actions, mode=job.spec.mode or "batch")

    def _settle(self, job: CompiledJob, summary: JobSummary) -> None:
        """Remember that there is nothing to do for the job any more, if that is so."""
        state, spec, identity = self.opened.state, job.spec, identity_of(job)
        manifest = state.manifest(self.opened.target.name, spec.name)
        own, last = len(state.attempts_of_run(self.run_id)), state.last_attempt_id()
        if (
            manifest is None
            or spec.name not in self.attempts_before
            or identity is None
            or self.options.scope
            or self.options.keys
            or not _is_all_answered(summary)
            or last != self.attempts_before[spec.name] + own
            or state.open_attempts()
            or not self._is_input_unchanged(spec)
        ):
            return
        files = self.input_marks[spec.name]
        settled = Settled(identity, files, summary.rows, summary.distinct_requests, last)
        state.mark_settled(manifest.manifest_id, settled.encode())

    # ---- before anything is sent

    def recover(self) -> Recovered:
        from batchforge.execution import recovery

        return recovery.recover(self.opened.state, self.opened.backend, self.executor.pricing, self.run_id)

    def _recover_at_first(self) -> None:
        """A state that has sent nothing yet may be one that was lost: what it paid for is read back first."""
        from batchforge.backends.base import BatchGone, Unavailable

        if self.opened.target.type == "emulator" or self.opened.state.has_sent():
            return
        try:
            found = self.recover()
        except BatchGone:
            return  # a server that has no batches holds no lost answers
        except Unavailable as exc:
            self._warn("", f"the API's batches cannot be listed, to look for lost answers: {exc}")
            return
        if found.answers:
            self._warn("", f"recovered {found.answers:,} answers of {found.batches:,} earlier batches from the API")
        if found.in_progress:
            self._warn(
                "",
                f"{found.in_progress:,} batches in the workspace are in progress that this state does not know. If "
                "they are this project's, from a state that was lost, stop here: `batchforge state recover` reads them "
                "when they have ended, and nothing is paid twice",
            )
            if self.options.ask is not None and not self.options.ask("Send all the same?"):
                raise BudgetExceeded("BF806", "not confirmed; nothing was sent")

    def _give_up_uncertain(self, names: list[str]) -> None:
        from batchforge.execution import recovery

        for attempt in recovery.give_up_uncertain(self.opened.state, names):
            self._warn(
                attempt.job, f"attempt {attempt.attempt_id} is taken for lost on your word; it may be paid twice"
            )

    # ---- sending

    def _send(self, compiled: Sequence[CompiledJob], resumed: PlannedRun | None) -> dict[str, JobSummary]:
        """Plan all jobs, then submit; plan again where another runner was faster."""
        for _ in range(_ROUNDS):
            self.executor.lost_attempts.clear()
            with ExitStack() as stack:
                plans = [stack.enter_context(self._plan(job, resumed)) for job in compiled]
                self._note(PlannedRun.of(self.run_id, plans, self.options.scope, self.options.max_cost_usd))
                self._check_money(plans, is_approved=resumed is not None and resumed.is_approved)
                self._note(replace(self.planned, is_approved=True))
                for plan in plans:
                    self._remember_rows(plan)
                if self._is_sent(plans):
                    return {plan.job: self._facts(plan) for plan in plans}
        raise _rows_taken()

    def _note(self, planned: PlannedRun) -> None:
        self.planned = planned
        self.opened.state.note_plan(self.run_id, planned.summary())

    def _is_sent(self, plans: Sequence[JobPlan]) -> bool:
        """False where others were faster, and it is to be planned again."""
        try:
            self._send_phases(plans)
        except ClaimTaken:
            return False
        except MonthBudgetTaken:
            check_limits(plans, self._limits, self._committed_pico_usd())
            return False
        return True

    def _send_phases(self, plans: Sequence[JobPlan]) -> None:
        """Phase by phase, all jobs at once; the next phase of a job follows when its gate has opened."""
        left = {plan.job: list(plan.phases) for plan in plans}
        by_name = {plan.job: plan for plan in plans}
        while any(left.values()):
            opened = [(by_name[job], phases.pop(0)) for job, phases in left.items() if phases]
            before = {plan.job: self._brought(plan.job) for plan, _ in opened}
            began = self.clock.now()
            for plan, phase in opened:
                self._submit(plan, phase)
            waiting = [(plan, phase) for plan, phase in opened if left[plan.job]]
            if not self.options.wait:
                waiting = self._go_on_unwaited(waiting, left)
            if not waiting:
                continue
            self.must_check_rows = True
            self.executor.collect([plan.job for plan, _ in waiting], wait=True)
            for plan, phase in waiting:
                check_gate(plan, phase, before[plan.job], self._brought(plan.job))
                if self._is_cold_by_now(plan, phase, began):
                    by_name[plan.job] = plan.without_caching()

    def _go_on_unwaited(
        self, waiting: Sequence[tuple[JobPlan, Phase]], left: dict[str, list[Phase]]
    ) -> list[tuple[JobPlan, Phase]]:
        """Jobs that go on at once though nothing is waited for: those that were answered while they were sent."""
        for plan, phase in waiting:
            if not plan.is_sync(phase):
                rest = sum(each.requests for each in left[plan.job])
                first = f"{phase.requests:,} of {phase.requests + rest:,} requests went first ({phase.name})"
                self._warn(plan.job, f"{first}; `batchforge resume` sends the others when they have ended")
                left[plan.job] = []
        return [(plan, phase) for plan, phase in waiting if plan.is_sync(phase)]

    def _is_cold_by_now(self, plan: JobPlan, phase: Phase, began: datetime) -> bool:
        """Whether what a priming row wrote may be gone: it lives from the start of the row's own request."""
        life = plan.caching.longest_life
        if life is None or not phase.name.startswith("prime"):
            return False
        waited_s = (self.clock.now() - began).total_seconds()
        is_cold = waited_s > _USABLE_SHARE_OF_LIFE * LIFE_S[life]
        if is_cold:
            self._warn(
                plan.job,
                f"the row that went first took {waited_s / 60:,.0f} minutes, and what it put into the cache lives for "
                f"{life}: the others are sent without cache marks, which would now cost more than they save",
            )
        return is_cold

    def _check_money(self, plans: Sequence[JobPlan], *, is_approved: bool) -> None:
        """Limits hold, the saved plan covers it, and a person has said yes where one must.

        Raises:
            BudgetExceeded
        """
        if self.options.saved_plan is not None:
            check_within(self.options.saved_plan, plans, plan_binding(self.project, self.opened.target, plans))
            is_approved = True
        check_limits(plans, self._limits, self._committed_pico_usd())
        for job, message in cost_warnings(plans):
            self._warn(job, message)
        limits, options = self._limits, self.options
        has_budget = limits.run_usd is not None or limits.month_usd is not None
        self.is_confirmed = self.is_confirmed or is_approved or options.yes or has_budget
        if self.is_confirmed or self.opened.target.type == "emulator" or not needs_confirmation(plans, limits):
            return
        if options.ask is None:
            raise BudgetExceeded(
                "BF805",
                f"this run needs a yes: {cost_words(plans)}, and confirm_above_usd is ${limits.confirm_above_usd:,.2f}",
                hint="Give --yes, or a budget: --max-cost USD, or month_max_cost_usd in batchforge.yml.",
            )
        if not options.ask(f"{cost_words(plans)}. Send it?"):
            raise BudgetExceeded("BF806", "not confirmed; nothing was sent")
        self.is_confirmed = True

    @property
    def _limits(self) -> Limits:
        project = self.project
        return Limits(self.options.max_cost_usd, project.month_max_cost_usd, project.confirm_above_usd)

    def _committed_pico_usd(self) -> int:
        return self.opened.state.committed_pico_usd(f"{self.clock.now():%Y-%m}-01")

    def _plan(self, job: CompiledJob, resumed: PlannedRun | None) -> JobPlan:
        settings = _in_mode(job, self._plan_settings())
        tree, rows = self.project.tree, job.spec.input
        self.attempts_before.setdefault(job.spec.name, self.opened.state.last_attempt_id())
        self.input_marks[job.spec.name] = mark_files(tree, input_paths(rows, tree))
        plan = plan_job(job, self.opened.state, self.opened.target.name, settings)
        try:
            check_output(job.spec, plan.columns, self.project, self.opened.target)
            if resumed is not None:
                check_resumed(plan, resumed, self.opened.state, self.opened.target.name)
        except BaseException:
            plan.close()
            raise
        self.listen(Event(EventName.JOB_PLANNED, plan.job, plan_words(plan), _plan_data(plan)))
        for row in plan.first_blocked:
            self._warn(plan.job, f"{row.place}: {row.blocked_code} {row.blocked_reason}; this row is not asked")
        for note in context_notes(plan):
            self._warn(plan.job, note)
        if plan.row_count >= 10 and plan.distinct_requests < plan.row_count / 2:
            self._warn(plan.job, f"{plan.row_count:,} rows make only {plan.distinct_requests:,} distinct requests")
        return plan

    def _plan_settings(self) -> PlanSettings:
        prices = self.project.price_table(self.opened.target)
        return PlanSettings(
            resend=self.options.resend, asked_after=self.asked_after, can_prime=self.options.wait, prices=prices
        )

    def _remember_rows(self, plan: JobPlan) -> None:
        """The manifest is written before anything is sent, so that any later process can make the output."""
        state, target = self.opened.state, self.opened.target.name
        before = state.manifest(target, plan.job, self.options.scope)
        parts = asdict(plan.compiled.parts)
        if before and (before.digest, dict(before.parts), before.columns) == (plan.digest, parts, plan.columns):
            state.renew_manifest(before.manifest_id, self.run_id, iso(self.clock.now()))
            return
        manifest = Manifest(
            manifest_id=0,
            job=plan.job,
            target=target,
            scope=self.options.scope,
            run_id=self.run_id,
            created_at=iso(self.clock.now()),
            digest=plan.digest,
            row_count=plan.row_count,
            parts=parts,
            columns=plan.columns,
        )
        state.save_manifest(manifest, plan.manifest_rows())

    def _submit(self, plan: JobPlan, phase: Phase) -> None:
        from batchforge.execution.executor import RunOf

        run = RunOf(self.run_id, self.opened.target.name, self._limits.month_pico_usd)
        is_sync = plan.is_sync(phase)
        sent = self.sync.submit(plan.sent_by_sync(), phase, run) if is_sync else self.executor.submit(plan, phase, run)
        self.must_check_rows = self.must_check_rows or (is_sync and sent > 0)
        self.sent[plan.job] = self.sent.get(plan.job, 0) + sent

    def _facts(self, plan: JobPlan) -> JobSummary:
        return JobSummary(
            job=plan.job,
            rows=plan.row_count,
            distinct_requests=plan.distinct_requests,
            actions={action.value: count for action, count in plan.counts.items()},
            reasons=plan.reasons,
            requests_sent=self.sent.get(plan.job, 0),
            estimate=self.estimates.setdefault(plan.job, _estimate_of(self.planned.jobs[plan.job])),
            mode=plan.settings.mode,
        )

    # ---- delivering

    def _deliver(self, job: CompiledJob, facts: JobSummary) -> JobSummary:
        """Write the job's output from what is stored, if it is not there already."""
        state, target = self.opened.state, self.opened.target
        manifest = state.manifest(target.name, job.spec.name, self.options.scope)
        assert manifest is not None
        summary = replace(facts, batches_in_flight=self._in_flight(job.spec.name), **self._bill(job.spec))
        if summary.batches_in_flight:
            return summary
        if self.must_check_rows and not self.options.submitted_rows and not self._is_input_unchanged(job.spec):
            moved = find_moved_rows(job, state, manifest)
            if moved.count:
                return self._held_back(summary, moved.count, moved.examples)
        summary = replace(summary, output=self._write(job.spec, manifest))
        self._settle(job, summary)
        return summary

    def _is_input_unchanged(self, spec: JobSpec) -> bool:
        """Whether the rows were read by this process, from files that are still the same."""
        marks, tree = self.input_marks.get(spec.name), self.project.tree
        return marks is not None and are_unchanged(marks, tree, input_paths(spec.input, tree))

    def _deliver_stored(self, spec: JobSpec) -> JobSummary:
        """The same for rows that an earlier process submitted."""
        mode: Mode = spec.mode or self.opened.target.mode or "batch"
        bill = self._bill(spec)
        estimate = self._estimate_before(spec.name, bill["brought"].results)
        in_flight = self._in_flight(spec.name)
        summary = JobSummary(spec.name, batches_in_flight=in_flight, mode=mode, estimate=estimate, **bill)
        if summary.batches_in_flight:
            return summary
        for manifest in self._unwritten([spec.name]):
            narrowing = narrowing_of(manifest.scope)
            narrowed = replace(self.options, limit=narrowing.get("limit"), sample=narrowing.get("sample"))
            try:
                moved = self._moved_since(spec, manifest, narrowed)
            except BatchForgeError as exc:
                problem = f"its rows cannot be read now, to compare them with what was submitted: {exc}"
                return replace(summary, rows=manifest.row_count, problem=problem)
            if moved is not None and moved[0]:
                summary = self._held_back(replace(summary, rows=manifest.row_count), *moved)
            else:
                summary = replace(summary, rows=manifest.row_count, output=self._write(spec, manifest))
        return summary

    def _moved_since(self, spec: JobSpec, manifest: Manifest, options: RunOptions) -> tuple[int, Sequence[str]] | None:
        if self.options.submitted_rows:
            return None
        problems = ProblemList()
        compiled = compile_jobs(self.project, [spec], self.opened.target, options, problems)
        problems.raise_if_any()
        moved = find_moved_rows(compiled[0], self.opened.state, manifest)
        return moved.count, moved.examples

    def _write(self, spec: JobSpec, manifest: Manifest) -> OutputReport | None:
        path = output_path(spec, self.project, self.opened.target)
        form = written_as(spec, path)
        if manifest.written_as == form and path.exists():
            return None
        report = write_outputs(spec, self.opened.state, manifest, self.project, self.opened.target)
        if report.is_published or manifest.scope:
            self.opened.state.mark_written(manifest.manifest_id, form)
        name = EventName.OUTPUT_WRITTEN if report.is_published else EventName.OUTPUT_HELD_BACK
        self.listen(Event(name, spec.name, report.path, {"path": report.path, "because": report.held_back_because}))
        return report

    def _held_back(self, summary: JobSummary, count: int, examples: Sequence[str]) -> JobSummary:
        problem = (
            f"{count:,} rows have moved since they were submitted ({'; '.join(examples)}); "
            "--submitted-rows writes the output of the rows as they were"
        )
        self.listen(Event(EventName.OUTPUT_HELD_BACK, summary.job, problem, {"moved": count}))
        return replace(summary, problem=problem)

    def _in_flight(self, job: str) -> list[str]:
        return [attempt.batch_id or attempt.state.value for attempt in self.opened.state.awaited_attempts([job])]

    def _unwritten(self, names: Sequence[str]) -> list[Manifest]:
        return [m for m in self.opened.state.unwritten_manifests(self.opened.target.name) if m.job in names]

    def _bill(self, spec: JobSpec) -> dict[str, Any]:
        """What came back, and what the same would have cost in the other ways."""
        brought = self._brought(spec.name)
        prices = self.project.price_table(self.opened.target).prices_of(spec.model)
        ways = ways_of_results(brought, float(prices.batch_multiplier)) if prices and not brought.unpriced else None
        return {"brought": brought, "four_ways": ways}

    def _estimate_before(self, job: str, results: int) -> SummedEstimate | None:
        """What the results were expected to cost by the run that asked for them, where they are all of it."""
        for run in self.opened.state.runs(20):
            planned = PlannedRun.from_record(run).jobs.get(job)
            if planned is not None and planned["requests"]:
                return _estimate_of(planned) if planned["requests"] == results else None
        return None

    def _brought(self, job: str) -> Brought:
        return self.executor.brought.get(job, Brought())

    # ---- the record

    @contextmanager
    def _recorded(self, names: Sequence[str]) -> Iterator[None]:
        """A run is in state from its first moment to its end, however it ends."""
        now = self.clock.now()
        self.asked_after = self.opened.state.last_attempt_id()
        self.run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.started_at = iso(now)
        self.opened.state.begin_run(
            RunRecord(
                run_id=self.run_id,
                started_at=self.started_at,
                command=self.options.command,
                target=self.opened.target.name,
                jobs=tuple(names),
                commit=describe_commit(self.project.root),
                started_by=_who(),
            )
        )
        self.listen(_run_started(self.run_id, self.options.command, self.opened.target.name))
        try:
            yield
        except KeyboardInterrupt:
            self.opened.state.end_run(self.run_id, "interrupted", self.planned.summary())
            raise
        except BatchForgeError:
            self.opened.state.end_run(self.run_id, "error", self.planned.summary())
            raise
        except OSError as exc:
            self.opened.state.end_run(self.run_id, "error", self.planned.summary())
            error = disk_error(exc)
            if error is None:
                raise
            raise error from exc

    def _finish(self, jobs: Sequence[JobSummary]) -> RunSummary:
        if self.opened.target.deletes_remote:
            self._delete_remote()
        summary = RunSummary(
            run_id=self.run_id,
            target=self.opened.target.name,
            is_emulated=self.opened.target.type == "emulator",
            command=self.options.command,
            status=status_of(jobs),
            started_at=self.started_at,
            ended_at=iso(self.clock.now()),
            jobs=jobs,
        )
        value = summary.to_json()
        replace_file(self.project.run_results_path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        self.opened.state.end_run(self.run_id, summary.status, value | self.planned.summary())
        facts = {name: value[name] for name in ("run_id", "status", "exit_code", "cost_usd")}
        self.listen(Event(EventName.RUN_ENDED, message=f"run {self.run_id}: {summary.status}", data=facts))
        return summary

    def _delete_remote(self) -> None:
        from batchforge.execution.remote_deletion import delete_stored

        deleted = delete_stored(self.opened.state, self.opened.backend, self.opened.target.name)
        for batch_id, reason in deleted.failures.items():
            self._warn("", f"batch {batch_id} could not be deleted at the API, the next run tries again: {reason}")

    def _warn(self, job: str, message: str) -> None:
        self.listen(Event(EventName.WARNING, job, message))


def _estimate_of(planned: Mapping[str, Any]) -> SummedEstimate:
    names = ("expected_pico_usd", "ceiling_pico_usd", "input_tokens", "output_tokens")
    return SummedEstimate(*(planned[name] for name in names))


def plan_binding(project: Project, target: Target, plans: Sequence[JobPlan]) -> Binding:
    """What a saved plan holds besides its requests: target, origin and the prices of each job's model."""
    table = project.price_table(target)
    prices = {each.job: table.fingerprint([each.compiled.spec.model]) for each in plans}
    return Binding(target.name, str(target.origin()), prices)


def _is_all_answered(summary: JobSummary) -> bool:
    if summary.output is not None:
        return summary.output.is_published and summary.output.failed_rows == 0
    return dict(summary.actions) == {Action.REUSE.value: summary.rows}


def plan_words(plan: JobPlan) -> str:
    """One line: 5,000 rows: 37 to submit (36 new, 1 row changed), 4,963 reused."""
    words = {
        Action.SUBMIT: "to submit",
        Action.REUSE: "reused",
        Action.WAIT: "in flight",
        Action.FAILED: "failed before",
        Action.BLOCKED: "blocked",
    }
    parts = [f"{plan.counts[action]:,} {word}" for action, word in words.items() if plan.counts.get(action)]
    if plan.reasons:
        parts[0] += f" ({', '.join(f'{count:,} {reason}' for reason, count in plan.reasons.items())})"
    return f"{plan.row_count:,} rows: {', '.join(parts) or 'nothing to do'}"


def _plan_data(plan: JobPlan) -> dict[str, object]:
    return {
        "rows": plan.row_count,
        "distinct_requests": plan.distinct_requests,
        "requests_to_send": plan.requests_to_send,
        "actions": {action.value: count for action, count in plan.counts.items()},
        "reasons": dict(plan.reasons),
        "estimated_usd": _usd(plan.estimate.expected_pico_usd),
    }


def _rows_taken() -> BatchForgeError:
    return BatchForgeError(
        "BF507",
        "another process keeps asking for the same rows",
        hint="Let it finish, then run again: what it gets answered is reused.",
    )


def _usd(pico_usd: int | None) -> float | None:
    return None if pico_usd is None else round(pico_usd / 1e12, 9)


def narrowing_of(scope: str) -> dict[str, int]:
    """The options that a scope names.

    >>> narrowing_of("limit=10 sample=5")
    {'limit': 10, 'sample': 5}
    """
    return {name: int(value) for name, _, value in (part.partition("=") for part in scope.split())}


def _run_started(run_id: str, command: str, target: str) -> Event:
    facts = {"run_id": run_id, "command": command, "target": target}
    return Event(EventName.RUN_STARTED, message=f"run {run_id} ({command}) on {target}", data=facts)


def _tell_warnings(problems: ProblemList, listen: Listener) -> None:
    for problem in problems.warnings:
        place = f"{problem.location}: " if problem.location else ""
        text = problem.message if problem.message.endswith((".", "?", "!")) else f"{problem.message}."
        message = f"{problem.code} {place}{text} {problem.hint}".rstrip()
        listen(Event(EventName.WARNING, message=message, data={"code": problem.code}))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
