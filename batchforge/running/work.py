"""One job on its way through a run: planned, sent phase by phase behind the gates, planned again where it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from batchforge.clock import iso
from batchforge.escalation.steps import has_steps, scope_of, steps_of
from batchforge.events import Event, EventName
from batchforge.file_marks import mark_files
from batchforge.inputs import input_paths
from batchforge.outputs import check_output, check_output_elsewhere
from batchforge.planning.approval import PlannedRun, check_resumed
from batchforge.planning.budget import came_to_nothing, check_gate
from batchforge.planning.caching import LIFE_S
from batchforge.planning.estimate import Phase
from batchforge.planning.further_steps import Outlook
from batchforge.planning.plan_notes import context_problems
from batchforge.planning.plan_rows import Action
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job
from batchforge.profiling import stage
from batchforge.requests.compiler import CompiledJob
from batchforge.results import Brought
from batchforge.running.compiling import in_mode
from batchforge.running.delivery import estimate_of
from batchforge.running.money import Approval
from batchforge.running.outlook import outlook, planned_rows
from batchforge.running.session import Session
from batchforge.running.stepping import Stepping, compile_step, first_step, for_open_rows, resend_in_step
from batchforge.state.records import TRIED, ClaimTaken, Manifest, MonthBudgetTaken, OutputRow
from batchforge.summaries import JobSummary, SummedEstimate
from batchforge.testing.test_checks import check_tests

_USABLE_SHARE_OF_LIFE = 0.9
"""Of a cache entry's life: what is left then is too little for another batch to find it."""


@dataclass(slots=True)
class Work:
    """A job that was planned, and how far it has come. Closing it removes the plan's file."""

    job: CompiledJob
    plan: JobPlan
    left: list[Phase]
    rounds: int = 0
    """How often it was planned again because something it had counted on was lost or taken."""
    asked_again: int = 0
    """How often it was planned again because answers were invalid."""
    sent: Phase | None = None
    """The phase that was sent last."""
    before: Brought = field(default_factory=Brought)
    """What the job's results amounted to before that phase."""
    began: datetime | None = None

    @property
    def name(self) -> str:
        return self.plan.job

    def close(self) -> None:
        self.plan.close()


@dataclass(slots=True)
class Sender:
    """Plans and sends the jobs of one run."""

    run: Session
    approval: Approval
    sent: dict[str, int] = field(default_factory=dict)
    """Job -> requests that were sent."""
    estimates: dict[str, SummedEstimate] = field(default_factory=dict)
    """Of each job's first plan: what is sent again later was in it."""
    stepping: dict[str, Stepping] = field(default_factory=dict)
    """Jobs that go through several steps."""
    first_facts: dict[str, JobSummary] = field(default_factory=dict)
    """Of their first steps, which ask every row."""

    def send_next(self, work: Work) -> bool:
        """The next phase, if there is one; False where others were faster, and it is to be planned again.

        Raises:
            BudgetExceeded: others have used up the month's budget. ApiError: waiting does not mend it.
        """
        if not work.left:
            return True
        phase = work.left.pop(0)
        work.sent, work.before, work.began = phase, self.run.brought(work.name), self.run.clock.now()
        try:
            self._submit(work.plan, phase)
        except ClaimTaken:
            return False
        except MonthBudgetTaken:
            self.approval.check_limits([work.plan])
            return False
        if work.left and not self.run.options.wait and not work.plan.is_sync(phase):
            self._leave_the_rest(work, phase)
        return True

    def pass_gate(self, work: Work) -> None:
        """What was sent last has been answered: whether the next phase may follow, and how.

        Raises:
            BudgetExceeded: BF804 the gate stays closed.
        """
        if work.sent is None or not work.left:
            return
        assert work.began is not None
        brought = self.run.brought(work.name)
        if came_to_nothing(work.sent, work.before, brought):
            message = "the row that went first failed for a time only: the others are sent without cache marks"
            self.run.warn("BF814", message, work.name)
            work.plan = work.plan.without_caching()
            return
        check_gate(work.plan, work.sent, work.before, brought)
        if self._is_cold_by_now(work.plan, work.sent, work.began):
            work.plan = work.plan.without_caching()

    def send_all(self, plan: JobPlan) -> bool:
        """All phases of a plan whose requests are answered while they are sent; False where others were faster."""
        work = Work(plan.compiled, plan, list(plan.phases))
        while work.left:
            if not self.send_next(work):
                return False
            self.pass_gate(work)
        return True

    def _leave_the_rest(self, work: Work, phase: Phase) -> None:
        rest = sum(each.requests for each in work.left)
        first = f"{phase.requests:,} of {phase.requests + rest:,} requests went first ({phase.name})"
        self.run.warn("BF811", f"{first}; `batchforge resume` sends the others when they have ended", work.name)
        work.left.clear()

    def _is_cold_by_now(self, plan: JobPlan, phase: Phase, began: datetime) -> bool:
        """Whether what a priming row wrote may be gone: it lives from the start of the row's own request."""
        life = plan.caching.longest_life
        if life is None or not phase.name.startswith("prime"):
            return False
        waited_s = (self.run.clock.now() - began).total_seconds()
        is_cold = waited_s > _USABLE_SHARE_OF_LIFE * LIFE_S[life]
        if is_cold:
            self.run.warn(
                "BF812",
                f"the row that went first took {waited_s / 60:,.0f} minutes, and what it put into the cache lives for "
                f"{life}: the others are sent without cache marks, which would now cost more than they save",
                plan.job,
            )
        return is_cold

    def plan(
        self, job: CompiledJob, resumed: PlannedRun | None = None, variant: tuple[int, int] | None = None
    ) -> JobPlan:
        settings = replace(in_mode(job, self._plan_settings(job)), variant=variant)
        tree, rows = self.run.project.tree, job.spec.input
        self.run.attempts_before.setdefault(job.spec.name, self.run.state.last_attempt_id())
        is_first = job.spec.step is None or job.spec.step.number == 1  # later steps ask of the rows as they were then
        if is_first and self.run.options.scope != TRIED:  # what is tried writes no output, and its rows may be samples
            self.run.input_marks[job.spec.name] = mark_files(tree, input_paths(rows, tree))
        plan = plan_job(job, self.run.state, self.run.target.name, settings)
        try:
            if job.spec.step is not None:
                plan = replace(plan, outlook=self._outlook(plan))
            if plan.unit == plan.job:
                self._check_delivery(plan)
            if resumed is not None and plan.job in resumed.jobs:  # else it had yet to begin
                check_resumed(plan, resumed, self.run.state, self.run.target.name)
        except BaseException:
            plan.close()
            raise
        self.run.listen(Event(EventName.JOB_PLANNED, plan.job, plan_words(plan), _plan_data(plan)))
        for row in plan.first_blocked:
            self.run.warn(row.blocked_code or "", f"{row.place}: {row.blocked_reason}; this row is not asked", plan.job)
        for problem in context_problems(plan):
            self.run.warn(problem.code, problem.message, plan.job)
        if not plan.row_count and plan.unit == plan.job and not self.run.options.scope:
            self.run.warn("BF228", "the input has no rows; the output is written without any", plan.job)
        if plan.row_count >= 10 and plan.distinct_requests < plan.row_count / 2:
            message = f"{plan.row_count:,} rows make only {plan.distinct_requests:,} distinct requests"
            self.run.warn("BF414", message, plan.job)
        return plan

    def _check_delivery(self, plan: JobPlan) -> None:
        """Whether what comes can be written and tested."""
        spec = plan.compiled.spec
        check_output(spec, plan.columns, self.run.project, self.run.target)
        if plan.requests_to_send:
            check_output_elsewhere(spec, plan.columns, self.run.project, self.run.target)
        check_tests(spec, plan.columns)

    def take_first_step(self, job: CompiledJob) -> CompiledJob:
        """Of a job that goes through several; any other as it is."""
        if not has_steps(job.spec) or job.spec.step is not None:
            return job
        run = self.run
        self.stepping[job.spec.name] = Stepping(job.spec, run.project, run.target, run.state, run.options.scope)
        return first_step(job)

    def take_next_step(self, job: CompiledJob) -> CompiledJob:
        """For the rows that are still open once a step is over."""
        assert job.spec.step is not None
        stepping = self.stepping[job.spec.name]
        compiled = compile_step(stepping, job.spec.step.number + 1, self.run.options, self.run.upstream)
        return for_open_rows(compiled, stepping.climb())

    def has_next_step(self, job: CompiledJob) -> bool:
        if job.spec.step is None:
            return False
        return job.spec.step.number < len(steps_of(self.stepping[job.spec.name].spec))

    def _outlook(self, plan: JobPlan) -> Outlook:
        stepping, step = self.stepping[plan.job], plan.compiled.spec.step
        assert step is not None

        def rows_of(number: int) -> Iterable[OutputRow]:
            return planned_rows(plan, self.run.state) if number == step.number else stepping.rows_of(number)

        def plan_step(
            number: int, with_rows: Callable[[CompiledJob], CompiledJob], *, is_anew: bool = False
        ) -> JobPlan:
            compiled = with_rows(compile_step(stepping, number, self.run.options, self.run.upstream))
            settings = in_mode(compiled, self._plan_settings(compiled))
            return plan_job(compiled, None if is_anew else self.run.state, self.run.target.name, settings)

        spent_pico_usd = self.run.brought(plan.job).cost_pico_usd
        return outlook(stepping, plan, stepping.climb(rows_of), plan_step, spent_pico_usd)

    def _plan_settings(self, job: CompiledJob) -> PlanSettings:
        prices = self.run.project.price_table(self.run.target)
        return PlanSettings(
            resend=resend_in_step(job.spec, self.run.options.resend),
            asked_after=self.run.asked_after,
            can_prime=self.run.options.wait,
            prices=prices,
        )

    @stage("remember rows")
    def remember_rows(self, plan: JobPlan) -> None:
        """The manifest is written before anything is sent, so that any later process can make the output."""
        state, target = self.run.state, self.run.target.name
        scope = scope_of(plan.compiled.spec, self.run.options.scope)
        before = state.manifest(target, plan.job, scope)
        parts = asdict(plan.compiled.parts)
        if before and (before.digest, dict(before.parts), before.columns) == (plan.digest, parts, plan.columns):
            state.renew_manifest(before.manifest_id, self.run.run_id, iso(self.run.clock.now()))
            return
        manifest = Manifest(
            manifest_id=0,
            job=plan.job,
            target=target,
            scope=scope,
            run_id=self.run.run_id,
            created_at=iso(self.run.clock.now()),
            digest=plan.digest,
            row_count=plan.row_count,
            parts=parts,
            columns=plan.columns,
        )
        state.save_manifest(manifest, plan.manifest_rows())

    def _submit(self, plan: JobPlan, phase: Phase) -> None:
        from batchforge.execution.intention import RunOf

        target = self.run.target
        run = RunOf(self.run.run_id, target.name, self.approval.limits.month_pico_usd, target.keeps_prompts)
        is_sync = plan.is_sync(phase)
        if is_sync:
            with self.run.leases.given_back():  # each of its answers is waited for
                sent = self.run.sync.submit(plan.sent_by_sync(), phase, run)
        else:
            sent = self.run.executor.submit(plan, phase, run)
        self.run.must_check_rows = self.run.must_check_rows or (is_sync and sent > 0)
        self.sent[plan.job] = self.sent.get(plan.job, 0) + sent

    def facts(self, plan: JobPlan) -> JobSummary:
        """Of a job that goes through several steps: those of the first, which asks every row."""
        facts = self.first_facts.setdefault(plan.job, self._facts(plan)) if plan.outlook else self._facts(plan)
        return replace(facts, requests_sent=self.sent.get(plan.job, 0))

    def _facts(self, plan: JobPlan) -> JobSummary:
        if planned := self.run.planned.jobs.get(plan.job):
            self.estimates.setdefault(plan.job, estimate_of(planned))
        return JobSummary(
            job=plan.job,
            rows=plan.row_count,
            distinct_requests=plan.distinct_requests,
            actions={action.value: count for action, count in plan.counts.items()},
            reasons=plan.reasons,
            requests_sent=self.sent.get(plan.job, 0),
            estimate=self.estimates.get(plan.job),
            mode=plan.settings.mode,
        )


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
    step = f"{step_words(plan)}: " if plan.unit != plan.job else ""
    noun = "row" if plan.row_count == 1 else "rows"
    return f"{step}{plan.row_count:,} {noun}: {', '.join(parts) or 'nothing to do'}"


def step_words(plan: JobPlan) -> str:
    """Of a further step: whom it asks, and why."""
    spec, step = plan.compiled.spec, plan.compiled.spec.step
    if step is None or step.kind == "rung":
        return f"up to {spec.model}"
    return f"a sample of {spec.model}" if step.kind == "sample" else f"{spec.model} is told what was wrong"


def _plan_data(plan: JobPlan) -> dict[str, object]:
    return {
        "rows": plan.row_count,
        "distinct_requests": plan.distinct_requests,
        "requests_to_send": plan.requests_to_send,
        "actions": {action.value: count for action, count in plan.counts.items()},
        "reasons": dict(plan.reasons),
        "estimated_usd": _usd(plan.expected_pico_usd),
    }


def _usd(pico_usd: int | None) -> float | None:
    return None if pico_usd is None else round(pico_usd / 1e12, 9)
