"""The way of a run: what is settled, what is recovered, what is planned, approved and sent, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from batchforge.clock import iso
from batchforge.errors import BatchForgeError, BudgetExceeded
from batchforge.events import Event, EventName
from batchforge.file_marks import mark_files
from batchforge.inputs import input_paths
from batchforge.lookup.tried import TriedRow, TrySummary, tried_rows
from batchforge.outputs import check_output
from batchforge.planning.approval import PlannedRun, check_resumed
from batchforge.planning.budget import Limits, check_gate, check_limits, cost_warnings, cost_words, needs_confirmation
from batchforge.planning.caching import LIFE_S
from batchforge.planning.decisions import Resend
from batchforge.planning.estimate import Phase
from batchforge.planning.plan_file import Binding, check_within
from batchforge.planning.plan_notes import context_notes
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job
from batchforge.planning.settled import Settled, decode_settled, is_settled
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.running.compiling import in_mode
from batchforge.running.delivery import Delivery, estimate_of
from batchforge.running.run_options import RunOptions
from batchforge.running.session import Session
from batchforge.spec import JobSpec
from batchforge.state.records import ClaimTaken, Manifest, MonthBudgetTaken, StateReader
from batchforge.summaries import JobSummary, RunSummary, SummedEstimate
from batchforge.target import Target

if TYPE_CHECKING:
    from batchforge.execution.recovery import Recovered

"""Commands that send what all rows of a job need."""
_USABLE_SHARE_OF_LIFE = 0.9
"""Of a cache entry's life: what is left then is too little for another batch to find it."""
_ROUNDS = 5
"""How often a run plans again because something it had counted on was lost or taken."""


@dataclass(slots=True)
class Runner:
    """One run of some jobs."""

    run: Session
    delivery: Delivery = field(init=False)
    sent: dict[str, int] = field(default_factory=dict)
    is_confirmed: bool = False
    estimates: dict[str, SummedEstimate] = field(default_factory=dict)
    """Of each job's first plan: what is sent again later was in it."""

    def __post_init__(self) -> None:
        self.delivery = Delivery(self.run)

    def send(self, compiled: Sequence[CompiledJob], resumed: PlannedRun | None = None) -> RunSummary:
        names = [job.spec.name for job in compiled]
        with self.run.recorded(names):
            self._recover_at_first()
            if self.run.options.resend_uncertain:
                self._give_up_uncertain(names)
            self.run.executor.collect(names, wait=False)
            for _ in range(_ROUNDS):
                facts = self._settled_facts(compiled) if resumed is None else {}
                facts |= self._send([job for job in compiled if job.spec.name not in facts], resumed)
                if self.run.options.wait and self.run.state.awaited_attempts(names):
                    self.run.must_check_rows = True
                    self.run.executor.collect(names, wait=True)
                if not self.run.executor.lost_attempts:
                    break
            return self.run.finish([self.delivery.deliver(job, facts[job.spec.name]) for job in compiled])

    def try_rows(self, compiled: CompiledJob) -> TrySummary:
        job = compiled.spec.name
        with self.run.recorded([job]):
            self._recover_at_first()
            self.run.executor.collect([job], wait=False)
            rows = self._tried(compiled)
            target = self.run.target
            summary = TrySummary(
                run_id=self.run.run_id,
                job=job,
                target=target.name,
                is_emulated=target.type == "emulator",
                started_at=self.run.started_at,
                ended_at=iso(self.run.clock.now()),
                rows=rows,
            )
            self.run.state.end_run(self.run.run_id, summary.status, summary.to_record())
            return summary

    def _tried(self, compiled: CompiledJob) -> list[TriedRow]:
        for _ in range(_ROUNDS):
            with self._plan(compiled, None) as plan:
                self._check_money([plan], is_approved=False)
                self._remember_rows(plan)
                if self._is_sent([plan]):
                    return tried_rows(plan, self.run.state, self.run.run_id)
        raise _rows_taken()

    def collect(self, jobs: Sequence[JobSpec], *, wait: bool) -> RunSummary:
        names = [job.name for job in jobs]
        with self.run.recorded(names):
            self.run.executor.collect(names, wait=wait)
            self.run.must_check_rows = True
            by_name = {job.name: job for job in jobs}
            waiting = {manifest.job for manifest in self.delivery.unwritten(names)}
            waiting |= {name for name in names if self.run.in_flight(name)}
            return self.run.finish([self.delivery.deliver_stored(by_name[name]) for name in sorted(waiting)])

    # ---- where nothing is to be done

    def _settled_facts(self, compiled: Sequence[CompiledJob]) -> dict[str, JobSummary]:
        """Of the jobs of which it is known, without a look at their rows, that every row has its answer."""
        facts = {}
        for job in compiled:
            found = find_settled(job, self.run.project, self.run.target, self.run.state, self.run.options)
            if found is not None:
                manifest, settled = found
                self.run.state.renew_manifest(manifest.manifest_id, self.run.run_id, iso(self.run.clock.now()))
                facts[job.spec.name] = self._told_settled(job, settled)
        return facts

    def _told_settled(self, job: CompiledJob, settled: Settled) -> JobSummary:
        actions, name = {Action.REUSE.value: settled.rows}, job.spec.name
        message = f"{settled.rows:,} rows: {settled.rows:,} reused, the job and its files are unchanged"
        data = {"rows": settled.rows, "distinct_requests": settled.distinct_requests, "requests_to_send": 0}
        self.run.listen(Event(EventName.JOB_PLANNED, name, message, {**data, "actions": actions, "reasons": {}}))
        return JobSummary(name, settled.rows, settled.distinct_requests, actions, mode=job.spec.mode or "batch")

    # ---- before anything is sent

    def recover(self) -> Recovered:
        from batchforge.execution import recovery

        return recovery.recover(self.run.state, self.run.backend, self.run.executor.pricing, self.run.run_id)

    def _recover_at_first(self) -> None:
        """A state that has sent nothing yet may be one that was lost: what it paid for is read back first."""
        from batchforge.backends.base import BatchGone, Unavailable

        if self.run.target.type == "emulator" or self.run.state.has_sent():
            return
        try:
            found = self.recover()
        except BatchGone:
            return  # a server that has no batches holds no lost answers
        except Unavailable as exc:
            self.run.warn("", f"the API's batches cannot be listed, to look for lost answers: {exc}")
            return
        if found.answers:
            self.run.warn("", f"recovered {found.answers:,} answers of {found.batches:,} earlier batches from the API")
        if found.in_progress:
            self.run.warn(
                "",
                f"{found.in_progress:,} batches in the workspace are in progress that this state does not know. If "
                "they are this project's, from a state that was lost, stop here: `batchforge state recover` reads them "
                "when they have ended, and nothing is paid twice",
            )
            if self.run.options.ask is not None and not self.run.options.ask("Send all the same?"):
                raise BudgetExceeded("BF806", "not confirmed; nothing was sent")

    def _give_up_uncertain(self, names: list[str]) -> None:
        from batchforge.execution import recovery

        for attempt in recovery.give_up_uncertain(self.run.state, names):
            self.run.warn(
                attempt.job, f"attempt {attempt.attempt_id} is taken for lost on your word; it may be paid twice"
            )

    # ---- sending

    def _send(self, compiled: Sequence[CompiledJob], resumed: PlannedRun | None) -> dict[str, JobSummary]:
        """Plan all jobs, then submit; plan again where another runner was faster."""
        for _ in range(_ROUNDS):
            self.run.executor.lost_attempts.clear()
            with ExitStack() as stack:
                plans = [stack.enter_context(self._plan(job, resumed)) for job in compiled]
                self.run.note(
                    PlannedRun.of(self.run.run_id, plans, self.run.options.scope, self.run.options.max_cost_usd)
                )
                self._check_money(plans, is_approved=resumed is not None and resumed.is_approved)
                self.run.note(replace(self.run.planned, is_approved=True))
                for plan in plans:
                    self._remember_rows(plan)
                if self._is_sent(plans):
                    return {plan.job: self._facts(plan) for plan in plans}
        raise _rows_taken()

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
            before = {plan.job: self.run.brought(plan.job) for plan, _ in opened}
            began = self.run.clock.now()
            for plan, phase in opened:
                self._submit(plan, phase)
            waiting = [(plan, phase) for plan, phase in opened if left[plan.job]]
            if not self.run.options.wait:
                waiting = self._go_on_unwaited(waiting, left)
            if not waiting:
                continue
            self.run.must_check_rows = True
            self.run.executor.collect([plan.job for plan, _ in waiting], wait=True)
            for plan, phase in waiting:
                check_gate(plan, phase, before[plan.job], self.run.brought(plan.job))
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
                self.run.warn(plan.job, f"{first}; `batchforge resume` sends the others when they have ended")
                left[plan.job] = []
        return [(plan, phase) for plan, phase in waiting if plan.is_sync(phase)]

    def _is_cold_by_now(self, plan: JobPlan, phase: Phase, began: datetime) -> bool:
        """Whether what a priming row wrote may be gone: it lives from the start of the row's own request."""
        life = plan.caching.longest_life
        if life is None or not phase.name.startswith("prime"):
            return False
        waited_s = (self.run.clock.now() - began).total_seconds()
        is_cold = waited_s > _USABLE_SHARE_OF_LIFE * LIFE_S[life]
        if is_cold:
            self.run.warn(
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
        if self.run.options.saved_plan is not None:
            check_within(
                self.run.options.saved_plan,
                plans,
                plan_binding(self.run.project, self.run.target, plans),
            )
            is_approved = True
        check_limits(plans, self._limits, self._committed_pico_usd())
        for job, message in cost_warnings(plans):
            self.run.warn(job, message)
        limits, options = self._limits, self.run.options
        has_budget = limits.run_usd is not None or limits.month_usd is not None
        self.is_confirmed = self.is_confirmed or is_approved or options.yes or has_budget
        if self.is_confirmed or self.run.target.type == "emulator" or not needs_confirmation(plans, limits):
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
        project = self.run.project
        return Limits(self.run.options.max_cost_usd, project.month_max_cost_usd, project.confirm_above_usd)

    def _committed_pico_usd(self) -> int:
        return self.run.state.committed_pico_usd(f"{self.run.clock.now():%Y-%m}-01")

    def _plan(self, job: CompiledJob, resumed: PlannedRun | None) -> JobPlan:
        settings = in_mode(job, self._plan_settings())
        tree, rows = self.run.project.tree, job.spec.input
        self.run.attempts_before.setdefault(job.spec.name, self.run.state.last_attempt_id())
        self.run.input_marks[job.spec.name] = mark_files(tree, input_paths(rows, tree))
        plan = plan_job(job, self.run.state, self.run.target.name, settings)
        try:
            check_output(job.spec, plan.columns, self.run.project, self.run.target)
            if resumed is not None:
                check_resumed(plan, resumed, self.run.state, self.run.target.name)
        except BaseException:
            plan.close()
            raise
        self.run.listen(Event(EventName.JOB_PLANNED, plan.job, plan_words(plan), _plan_data(plan)))
        for row in plan.first_blocked:
            self.run.warn(plan.job, f"{row.place}: {row.blocked_code} {row.blocked_reason}; this row is not asked")
        for note in context_notes(plan):
            self.run.warn(plan.job, note)
        if plan.row_count >= 10 and plan.distinct_requests < plan.row_count / 2:
            self.run.warn(plan.job, f"{plan.row_count:,} rows make only {plan.distinct_requests:,} distinct requests")
        return plan

    def _plan_settings(self) -> PlanSettings:
        prices = self.run.project.price_table(self.run.target)
        return PlanSettings(
            resend=self.run.options.resend,
            asked_after=self.run.asked_after,
            can_prime=self.run.options.wait,
            prices=prices,
        )

    def _remember_rows(self, plan: JobPlan) -> None:
        """The manifest is written before anything is sent, so that any later process can make the output."""
        state, target = self.run.state, self.run.target.name
        before = state.manifest(target, plan.job, self.run.options.scope)
        parts = asdict(plan.compiled.parts)
        if before and (before.digest, dict(before.parts), before.columns) == (plan.digest, parts, plan.columns):
            state.renew_manifest(before.manifest_id, self.run.run_id, iso(self.run.clock.now()))
            return
        manifest = Manifest(
            manifest_id=0,
            job=plan.job,
            target=target,
            scope=self.run.options.scope,
            run_id=self.run.run_id,
            created_at=iso(self.run.clock.now()),
            digest=plan.digest,
            row_count=plan.row_count,
            parts=parts,
            columns=plan.columns,
        )
        state.save_manifest(manifest, plan.manifest_rows())

    def _submit(self, plan: JobPlan, phase: Phase) -> None:
        from batchforge.execution.executor import RunOf

        run = RunOf(self.run.run_id, self.run.target.name, self._limits.month_pico_usd)
        is_sync = plan.is_sync(phase)
        sent = (
            self.run.sync.submit(plan.sent_by_sync(), phase, run)
            if is_sync
            else self.run.executor.submit(plan, phase, run)
        )
        self.run.must_check_rows = self.run.must_check_rows or (is_sync and sent > 0)
        self.sent[plan.job] = self.sent.get(plan.job, 0) + sent

    def _facts(self, plan: JobPlan) -> JobSummary:
        return JobSummary(
            job=plan.job,
            rows=plan.row_count,
            distinct_requests=plan.distinct_requests,
            actions={action.value: count for action, count in plan.counts.items()},
            reasons=plan.reasons,
            requests_sent=self.sent.get(plan.job, 0),
            estimate=self.estimates.setdefault(plan.job, estimate_of(self.run.planned.jobs[plan.job])),
            mode=plan.settings.mode,
        )


def find_settled(
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


def plan_binding(project: Project, target: Target, plans: Sequence[JobPlan]) -> Binding:
    """What a saved plan holds besides its requests: target, origin and the prices of each job's model."""
    table = project.price_table(target)
    prices = {each.job: table.fingerprint([each.compiled.spec.model]) for each in plans}
    return Binding(target.name, str(target.origin()), prices)


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
