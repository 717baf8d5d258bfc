"""The way of a run: what is recovered, what is settled, and each job begun as soon as what it needs is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from batchforge.clock import iso
from batchforge.errors import ApiError, BatchForgeError, BudgetExceeded, StateError, StateLocked
from batchforge.events import Event, EventName
from batchforge.lookup.tried import TriedRow, TrySummary, tried_rows
from batchforge.planning.approval import PlannedRun
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_rows import Action
from batchforge.planning.settled import Settled, decode_settled, is_settled
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.running.delivery import Delivery
from batchforge.running.money import Approval
from batchforge.running.run_options import RunOptions
from batchforge.running.schedule import Schedule
from batchforge.running.session import Session
from batchforge.running.test_run import tested
from batchforge.running.work import Sender, Work
from batchforge.spec import JobSpec, SourceSpec
from batchforge.state.records import Manifest, StateReader
from batchforge.summaries import JobSummary, RunSummary
from batchforge.target import Target

if TYPE_CHECKING:
    from batchforge.execution.recovery import Recovered

_ROUNDS = 5
"""How often a job is planned again because something it had counted on was lost or taken."""


@dataclass(slots=True)
class Runner:
    """One run of some jobs."""

    run: Session
    delivery: Delivery = field(init=False)
    approval: Approval = field(init=False)
    sender: Sender = field(init=False)
    jobs: dict[str, CompiledJob] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    """Jobs that are planned and not done."""
    summaries: dict[str, JobSummary] = field(default_factory=dict)
    tested: list[JobSummary] = field(default_factory=list)
    """What the tests came to of sources, and of jobs that are not run."""
    errors: dict[str, BatchForgeError] = field(default_factory=dict)
    """Jobs that could not go on, and why."""

    def __post_init__(self) -> None:
        self.delivery = Delivery(self.run)
        self.approval = Approval(self.run)
        self.sender = Sender(self.run, self.approval)

    def send(
        self,
        compiled: Sequence[CompiledJob],
        needs: Mapping[str, tuple[str, ...]],
        resumed: PlannedRun | None = None,
    ) -> RunSummary:
        """
        Args:
            needs: Every job in an order in which it comes after what it needs, and what it needs of them.
        """
        jobs = self.jobs = {job.spec.name: job for job in compiled}
        with self.run.recorded(list(jobs)):
            self._recover_at_first()
            if self.run.options.resend_uncertain:
                self._give_up_uncertain(list(jobs))
            self.run.executor.collect(list(jobs), wait=False)
            schedule = Schedule(needs, self.run.options.threads)
            self._test_first(jobs, schedule)
            try:
                self._go(jobs, schedule, resumed)
            finally:
                for work in self.works.values():
                    work.close()
            if len(jobs) == 1:
                for error in self.errors.values():
                    raise error
            delivered = (self.summaries[name] for name in needs)
            return self.run.finish(
                [*self.tested, *(self.delivery.test_late(each, jobs[each.job].spec) for each in delivered)]
            )

    def _test_first(self, jobs: Mapping[str, CompiledJob], schedule: Schedule) -> None:
        """Before anything is sent, what is there already: where a test of it fails, the jobs that read it do not
        begin."""
        for chosen in self.run.options.tests:
            if chosen.owner in jobs:
                continue
            summary = tested(self.run.project, chosen, self.run.target, self.run.state)
            self.tested.append(summary)
            for job in readers_of(chosen.spec, jobs) if summary.is_failed else ():
                for each in [job, *schedule.block(job)]:
                    if each not in self.summaries:
                        self._end_without(JobSummary(each, skipped_because=f"{summary.job} failed"))

    def _go(self, jobs: Mapping[str, CompiledJob], schedule: Schedule, resumed: PlannedRun | None) -> None:
        while len(self.summaries) < len(jobs):
            self._begin([jobs[name] for name in schedule.take_ready()], schedule, resumed)
            moved = [work for work in list(self.works.values()) if self._advance(work, schedule, resumed)]
            if self.works and not moved:
                self.run.must_check_rows = True
                self.run.executor.collect_one(list(self.works))

    def _begin(self, jobs: Sequence[CompiledJob], schedule: Schedule, resumed: PlannedRun | None) -> None:
        """Plan jobs, see that they may be sent, and send what goes first."""
        unsettled = []
        for job in jobs:
            facts = self._settled_facts(job) if resumed is None else None
            if facts is not None:
                self._end(self.delivery.deliver(job, facts), schedule)
            else:
                unsettled.append(job)
        if unsettled:
            with self._submitting([job.spec.name for job in unsettled]):
                works = [work for job in unsettled if (work := self._planned(job, schedule, resumed)) is not None]
                if works and self._may_send(works, schedule, resumed):
                    for work in works:
                        self._send_next(work, schedule, resumed)

    def _submitting(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Of all processes on this state only one plans and sends at a time."""
        from batchforge.execution.leases import SUBMIT

        return self.run.leases.held(SUBMIT, f"submitting {', '.join(names)} to {self.run.target.name}")

    def _planned(self, job: CompiledJob, schedule: Schedule, resumed: PlannedRun | None) -> Work | None:
        self.run.executor.lost_jobs.discard(job.spec.name)
        try:
            job = self.sender.take_first_step(job)
            plan = self.sender.plan(job, resumed)
        except BatchForgeError as exc:
            self._fail(job.spec.name, exc, schedule)
            return None
        work = self.works[job.spec.name] = Work(job, plan, list(plan.phases))
        return work

    def _may_send(self, works: Sequence[Work], schedule: Schedule, resumed: PlannedRun | None) -> bool:
        plans = [work.plan for work in works]
        self.run.note(plans, is_approved=False)
        was_approved = resumed is not None and resumed.is_approved and all(p.job in resumed.jobs for p in plans)
        is_approved = was_approved or all(p.unit != p.job for p in plans)  # further steps were, with the first
        try:
            self.approval.check(plans, is_approved=is_approved)
        except BudgetExceeded as exc:
            for work in works:
                self._fail(work.name, exc, schedule)
            return False
        self.run.note(plans, is_approved=True)
        for work in works:
            self.sender.facts(work.plan)
            self.sender.remember_rows(work.plan)
        return True

    def _send_next(self, work: Work, schedule: Schedule, resumed: PlannedRun | None) -> None:
        if not self.sender.send_next(work):
            self._plan_again(work, schedule, resumed)

    def _plan_again(self, work: Work, schedule: Schedule, resumed: PlannedRun | None) -> None:
        if work.rounds == _ROUNDS:
            raise _rows_taken()
        work.close()
        again = self._planned(work.job, schedule, resumed)
        if again is not None:
            again.rounds = work.rounds + 1
            if self._may_send([again], schedule, resumed):
                self._send_next(again, schedule, resumed)

    def _advance(self, work: Work, schedule: Schedule, resumed: PlannedRun | None) -> bool:
        """Take a job one step further; False where it waits for its batches."""
        if (self.run.options.wait or work.left) and self.run.executor.moving([work.name]):
            return False
        if work.left:
            try:
                self.sender.pass_gate(work)
            except BudgetExceeded as exc:
                self._fail(work.name, exc, schedule)
                return True
            with self._submitting([work.name]):
                self._send_next(work, schedule, resumed)
        elif work.name in self.run.executor.lost_jobs and work.rounds < _ROUNDS:
            with self._submitting([work.name]):
                self._plan_again(work, schedule, resumed)
        elif self._may_ask_again(work):
            with self._submitting([work.name]):
                self._ask_again(work, schedule, resumed)
        elif self.sender.has_next_step(work.job) and not self.run.executor.moving([work.name]):
            with self._submitting([work.name]):
                self._take_next_step(work, schedule, resumed)
        else:
            self._end(self._delivered(work), schedule)
        return True

    def _take_next_step(self, work: Work, schedule: Schedule, resumed: PlannedRun | None) -> None:
        """For the rows that the step which is over has left open. Where it has none, that is remembered."""
        work.close()
        try:
            job = self.sender.take_next_step(work.job)
        except BatchForgeError as exc:
            self._fail(work.name, exc, schedule)
            return
        again = self._planned(job, schedule, resumed)
        if again is not None and self._may_send([again], schedule, resumed):
            self._send_next(again, schedule, resumed)

    def _delivered(self, work: Work) -> JobSummary:
        facts, stepping = self.sender.facts(work.plan), self.sender.stepping.get(work.name)
        if stepping is None:
            return self.delivery.deliver(work.job, facts)
        return self.delivery.deliver_steps(self.jobs[work.name], stepping, facts)

    def _may_ask_again(self, work: Work) -> bool:
        """Whether answers may have come that break the job's schema and are to be asked again in this run."""
        is_over = not work.plan.requests_to_send or bool(self.run.executor.moving([work.name]))
        return not is_over and work.asked_again < work.job.spec.output.retries

    def _ask_again(self, work: Work, schedule: Schedule, resumed: PlannedRun | None) -> None:
        work.close()
        again = self._planned(work.job, schedule, resumed)
        if again is None:
            return
        again.rounds, again.asked_again = work.rounds, work.asked_again + 1
        if again.plan.requests_to_send and self._may_send([again], schedule, resumed):
            self._send_next(again, schedule, resumed)

    # ---- how jobs end

    def _end(self, summary: JobSummary, schedule: Schedule) -> None:
        """A job has come as far as it comes in this run; what it stands in the way of is left."""
        name = summary.job
        self.summaries[name] = summary
        if work := self.works.pop(name, None):
            self.approval.settle(name, self.run.brought(name).cost_pico_usd)
            work.close()
        if summary.batches_in_flight or summary.rows_left:
            for each in schedule.block(name):
                self._end_without(JobSummary(each, waiting_for=name))
        elif summary.is_failed:
            for each in schedule.block(name):
                self._end_without(JobSummary(each, skipped_because=f"{name} failed"))
            if self.run.options.fail_fast:
                for each in schedule.block_all(name):
                    self._end_without(JobSummary(each, skipped_because=f"{name} failed, and --fail-fast was given"))
        else:
            schedule.finish(name)
        self.run.note_results(list(self.summaries.values()))

    def _end_without(self, summary: JobSummary) -> None:
        self.summaries[summary.job] = summary
        reason = summary.skipped_because or f"waits for {summary.waiting_for}"
        self.run.listen(Event(EventName.JOB_SKIPPED, summary.job, reason, {"because": reason}))

    def _fail(self, name: str, error: BatchForgeError, schedule: Schedule) -> None:
        """Before anything was sent an error ends the run; later only the job, and what needs it.

        Raises:
            BatchForgeError
        """
        if isinstance(error, ApiError | StateError | StateLocked) or not any(self.sender.sent.values()):
            raise error
        self.errors[name] = error
        problem = "; ".join(f"{p.code} {p.message}. {p.hint}".rstrip() for p in error.problems)
        self.run.listen(Event(EventName.JOB_FAILED, name, problem, {"code": error.problems[0].code}))
        facts = self.sender.facts(self.works[name].plan) if name in self.works else JobSummary(name)
        self._end(
            replace(
                facts,
                problem=problem,
                error_exit_code=error.exit_code,
                batches_in_flight=(),
                brought=self.run.brought(name),
            ),
            schedule,
        )

    # ---- trying and collecting

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
            with self._submitting([compiled.spec.name]), self.sender.plan(compiled) as plan:
                self.approval.check([plan], is_approved=False)
                self.sender.remember_rows(plan)
                if self.sender.send_all(plan):
                    return tried_rows(plan, self.run.state, self.run.run_id)
        raise _rows_taken()

    def ask_variants(
        self, variants: Sequence[tuple[CompiledJob, tuple[int, int] | None]]
    ) -> list[tuple[list[TriedRow], float | None]]:
        """The rows of each variant of a job with their answers, and how many seconds they took; None: nothing was
        asked now. All variants are asked at once."""
        names = [job.spec.name for job, _ in variants]
        with self.run.recorded(names):
            self._recover_at_first()
            self.run.executor.collect(names, wait=False)
            with ExitStack() as stack:
                works = []
                with self._submitting(names):
                    for job, variant in variants:
                        plan = stack.enter_context(self.sender.plan(job, variant=variant))
                        works.append(Work(job, plan, list(plan.phases)))
                    began = self._begin_variants(works)
                seconds = self._finish_variants(works, began)
                found = [tried_rows(work.plan, self.run.state, self.run.run_id) for work in works]
            cost_usd = round(sum(row.cost_usd or 0.0 for rows in found for row in rows if row.is_new), 9)
            summary = {"status": "ok", "cost_usd": cost_usd, "exit_code": 0} | self.run.planned.summary()
            self.run.state.end_run(self.run.run_id, "ok", summary)
            return list(zip(found, seconds, strict=True))

    def _begin_variants(self, works: Sequence[Work]) -> dict[str, datetime]:
        """Send what goes first of each; returns when that was, of those that ask anything."""
        plans = [work.plan for work in works]
        self.approval.check(plans, is_approved=False)
        self.run.note(plans, is_approved=True)
        for plan in plans:
            self.sender.remember_rows(plan)
        began = {work.name: self.run.clock.now() for work in works if work.plan.requests_to_send}
        for work in works:
            if not self.sender.send_next(work):
                raise _rows_taken()
        return began

    def _finish_variants(self, works: Sequence[Work], began: Mapping[str, datetime]) -> list[float | None]:
        ended: dict[str, datetime] = {}
        while len(ended) < len(works):
            for work in works:
                if work.name in ended or self.run.executor.moving([work.name]):
                    continue
                if not work.left:
                    ended[work.name] = self.run.clock.now()
                    continue
                self.sender.pass_gate(work)
                with self._submitting([work.name]):
                    is_sent = self.sender.send_next(work)
                if not is_sent:
                    raise _rows_taken()
            waiting = [work.name for work in works if work.name not in ended and self.run.executor.moving([work.name])]
            if waiting:
                self.run.executor.collect_one(waiting)
        return [(ended[work.name] - began[work.name]).total_seconds() if work.name in began else None for work in works]

    def collect(self, jobs: Sequence[JobSpec], *, wait: bool, within_s: float | None = None) -> RunSummary:
        names = [job.name for job in jobs]
        with self.run.recorded(names):
            self.run.executor.collect(names, wait=wait, within_s=within_s)
            self.run.must_check_rows = True
            by_name = {job.name: job for job in jobs}
            waiting = {manifest.job for manifest in self.delivery.unwritten(names)}
            waiting |= {name for name in names if self.run.in_flight(name)}
            delivered = [self.delivery.deliver_stored(by_name[name]) for name in sorted(waiting)]
            return self.run.finish([self.delivery.test_late(each, by_name[each.job]) for each in delivered])

    # ---- where nothing is to be done

    def _settled_facts(self, job: CompiledJob) -> JobSummary | None:
        """Of a job of which it is known, without a look at its rows, that every row has its answer."""
        found = find_settled(job, self.run.project, self.run.target, self.run.state, self.run.options)
        if found is None:
            return None
        manifest, settled = found
        self.run.state.renew_manifest(manifest.manifest_id, self.run.run_id, iso(self.run.clock.now()))
        return self._told_settled(job, settled)

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
            self.run.warn("BF615", f"the API's batches cannot be listed, to look for lost answers: {exc}")
            return
        if found.answers:
            message = f"recovered {found.answers:,} answers of {found.batches:,} earlier batches from the API"
            self.run.warn("BF616", message)
        if found.in_progress and not self.run.state.has_sent():  # else another run has just begun to send
            self._decide_on_unknown(found.in_progress)

    def _decide_on_unknown(self, count: int) -> None:
        """Batches in progress may be this project's, from a state that was lost: then sending would pay twice."""
        options = self.run.options
        are = "a batch is" if count == 1 else f"{count:,} batches are"
        message = f"{are} in progress in the workspace that this state does not know"
        hint = (
            "If they may be this project's, from a state that was lost, wait until they have ended: "
            "`batchforge state recover` reads them, and nothing is paid twice."
        )
        agreed = options.yes or options.resend_uncertain
        if options.ask is None and not agreed:
            raise BudgetExceeded("BF617", f"{message}; nothing was sent", hint=f"{hint} If not, give --yes.")
        self.run.warn("BF617", f"{message}. {hint}")
        if options.ask is not None and not agreed and not options.ask("Send all the same?"):
            raise BudgetExceeded("BF806", "not confirmed; nothing was sent")

    def _give_up_uncertain(self, names: list[str]) -> None:
        from batchforge.execution import recovery

        for attempt in recovery.give_up_uncertain(self.run.state, names):
            message = f"attempt {attempt.attempt_id} is taken for lost on your word; it may be paid twice"
            self.run.warn("BF618", message, attempt.job)


@stage("look for changes")
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


def readers_of(spec: JobSpec | SourceSpec, jobs: Mapping[str, CompiledJob]) -> list[str]:
    """Jobs that read the source, or need the job."""
    if isinstance(spec, JobSpec):
        return [name for name, job in jobs.items() if spec.name in job.spec.parents]
    return [name for name, job in jobs.items() if spec.name in job.spec.input.sources]


def _rows_taken() -> BatchForgeError:
    return BatchForgeError(
        "BF507",
        "another process keeps asking for the same rows",
        hint="Let it finish, then run again: what it gets answered is reused.",
    )
