"""The order of the stages: compile, plan, submit, collect, write. Only this room knows it; no stage knows another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from batchforge.clock import Clock, SystemClock
from batchforge.errors import Problem, ProblemList, UsageError
from batchforge.escalation.steps import has_steps
from batchforge.events import Listener, ignore, warning
from batchforge.execution.expectation import Expectation, expectation
from batchforge.git_commit import describe_commit
from batchforge.graph import graph_of
from batchforge.lookup.tried import TrySummary
from batchforge.outputs import check_output
from batchforge.planning.approval import PlannedRun
from batchforge.planning.decisions import Resend
from batchforge.planning.plan_file import PlannedOptions, moved_since, plan_document
from batchforge.planning.plan_notes import plan_notes
from batchforge.planning.planner import JobPlan, PlanSettings, plan_job, plan_settled
from batchforge.planning.waiting import WaitingJob, makes_other_rows, waiting_job
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.running.compiling import compile_jobs, in_mode, rows_asked, tell_warnings
from batchforge.running.money import plan_binding
from batchforge.running.outlook import plan_steps
from batchforge.running.run_options import RunOptions, narrowing_of
from batchforge.running.runner import Runner, find_settled
from batchforge.running.schedule import needs_among
from batchforge.running.session import Session, open_session
from batchforge.running.stepping import Stepping
from batchforge.running.token_counting import count_tokens
from batchforge.running.upstream import Upstream, check_upstream, deferring, make_upstream
from batchforge.selection.choosing import ChosenTests
from batchforge.selection.deferral import Deferral
from batchforge.snapshots.document_copies import file_sources
from batchforge.snapshots.snapshot_inputs import snapshot_note, snapshot_value, snapshots_read
from batchforge.spec import JobSpec, SourceSpec
from batchforge.state.records import AttemptRecord, RunRecord, StateReader
from batchforge.state.run_status import as_it_stands
from batchforge.summaries import AttemptInFlight, JobSummary, RunSummary, StatusSummary, has_failed_then
from batchforge.target import Target
from batchforge.targets import read_state, state_if_told
from batchforge.testing.test_checks import check_tests

if TYPE_CHECKING:
    from batchforge.execution.recovery import Recovered
    from batchforge.snapshots.document_fetching import FetchedDocuments
    from batchforge.snapshots.fetching import Fetched

_SENDING = frozenset({"run", "build", "retry", "resume"})
"""Commands that send what all rows of a job need."""
_FETCHING = frozenset({"run", "build", "try"})
"""Commands that first take new snapshots of what lives elsewhere."""
_RUNS_LOOKED_AT = 100


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
    _fetch(project, jobs, target, options, listen, clock)
    upstream = make_upstream(project, jobs, target, options.scope)
    with ExitStack() as stack:
        stack.enter_context(deferring(project, target, options.deferral, upstream))
        compiled = compile_jobs(project, jobs, target, options, problems, upstream)
        problems.raise_if_any()
        tell_warnings(problems, listen)
        session = stack.enter_context(open_session(project, target, options, listen, clock, upstream))
        _check_upstream(jobs, upstream)
        if options.saved_plan is not None:
            serial = session.state.last_attempt_id()
            for moved in moved_since(options.saved_plan, describe_commit(project.root), serial):
                listen(warning("BF810", moved))
        return Runner(session).send(compiled, _needs(jobs, upstream))


def _needs(jobs: Sequence[JobSpec], upstream: Upstream) -> dict[str, tuple[str, ...]]:
    """Every job in an order in which it comes after what it needs, and what it needs of the others."""
    return needs_among([spec.name for spec in jobs], graph_of(upstream.jobs).parents)


def _check_upstream(jobs: Sequence[JobSpec], upstream: Upstream) -> None:
    """
    Raises:
        ProjectError: BF226 a job reads another that has no answers.
    """
    problems = ProblemList()
    for spec in jobs:
        check_upstream(upstream, spec, problems)
    problems.raise_if_any()


def fetch(
    project: Project, jobs: Sequence[JobSpec], target: Target, *, listen: Listener = ignore, clock: Clock | None = None
) -> list[Fetched | FetchedDocuments]:
    """Take snapshots of what the jobs read from databases and object stores.

    Raises:
        ProjectError: something could not be fetched; the snapshots that were there stay as they were.
    """
    from batchforge.snapshots import fetching

    rows_of = partial(rows_asked, project, target, RunOptions(command="fetch"))
    return fetching.fetch(project, jobs, target, rows_of=rows_of, listen=listen, clock=clock)


@stage("fetch")
def _fetch(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions,
    listen: Listener,
    clock: Clock | None,
) -> None:
    """What was approved, and what failed before, is asked of the rows as they were."""
    is_new = options.command in _FETCHING and options.saved_plan is None
    if options.fetch and is_new and any(job.input.needs_snapshots or file_sources(job) for job in jobs):
        from batchforge.snapshots import fetching

        rows_of = partial(rows_asked, project, target, options)
        fetching.fetch(project, jobs, target, spare_young=True, rows_of=rows_of, listen=listen, clock=clock)


@dataclass(frozen=True, slots=True)
class Offline:
    """Compiled jobs, while the state that they read each other's answers from is open."""

    jobs: Sequence[CompiledJob]
    warnings: Sequence[Problem]
    upstream: Upstream


@contextmanager
def compiled_offline(
    project: Project, jobs: Sequence[JobSpec], target: Target, options: RunOptions, *, with_state: bool = False
) -> Iterator[Offline]:
    """Without network, key, or a write to state. Jobs that read others have the rows that were answered so far; where
    there are none, the state is opened only if it is wanted `with_state`, and does without if it must.

    Raises:
        ProjectError: something in the files or rows is wrong.
    """
    upstream, problems = make_upstream(project, jobs, target, options.scope), ProblemList()
    with ExitStack() as stack:
        if with_state and options.uses_state:
            upstream.state = stack.enter_context(state_if_told(project, target, problems))
        elif upstream.jobs and options.uses_state:
            upstream.state = stack.enter_context(read_state(project, target))
        stack.enter_context(deferring(project, target, options.deferral, upstream))
        compiled = compile_jobs(project, jobs, target, options, problems, upstream)
        for spec in jobs:
            check_upstream(upstream, spec, problems)
        problems.raise_if_any()
        yield Offline(compiled, problems.warnings, upstream)


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """The plans of some jobs, and what they were made of."""

    plans: Sequence[JobPlan]
    state: StateReader | None
    warnings: Sequence[Problem]
    notes: Mapping[str, Sequence[str]]
    """Job -> what is worth knowing before it is sent."""
    options: RunOptions
    project: Project
    target: Target
    waiting: Sequence[WaitingJob] = ()
    """Jobs whose rows another job has yet to make."""
    snapshots: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Job -> what its rows are read from that lives elsewhere."""

    def document(self, *, bodies: bool = False) -> dict[str, Any]:
        """As `plan --output json` prints it and `--out` saves it, by schemas/plan.schema.json."""
        return plan_document(
            self.plans,
            self.notes,
            plan_binding(self.project, self.target, self.plans),
            PlannedOptions(
                self.options.limit, self.options.sample, self.options.resend is Resend.ALL, self.options.deferral
            ),
            project=self.project.name,
            prices_as_of=self.project.price_table(self.target).as_of.isoformat(),
            commit=describe_commit(self.project.root),
            state_serial=self.state.last_attempt_id() if self.state else None,
            waiting=self.waiting,
            snapshots=self.snapshots,
            bodies=bodies,
        )


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
    settings = PlanSettings(resend=options.resend, can_prime=options.wait, prices=project.price_table(target))
    with ExitStack() as stack:
        offline = stack.enter_context(compiled_offline(project, jobs, target, options, with_state=True))
        compiled, upstream, state = offline.jobs, offline.upstream, offline.upstream.state
        if options.count_exactly:
            settings = replace(settings, counted_ratios=count_tokens(project, compiled, target))
        by_name = {job.spec.name: job for job in compiled}
        plans: dict[str, JobPlan] = {}
        waiting: dict[str, WaitingJob] = {}
        for name, needed in _needs(jobs, upstream).items():
            job = by_name[name]
            changing = tuple(
                each for each in needed if each in waiting or makes_other_rows(plans[each], state, target.name)
            )
            if changing:
                waiting[name] = waiting_job(job, changing, state, target.name)
                continue
            own_settings = in_mode(job, settings)
            found = _plan_of(job, project, target, state, options, own_settings, upstream)
            plans[name] = stack.enter_context(found)
            if plans[name].unit == name:
                check_output(job.spec, plans[name].columns, project, target)
                check_tests(job.spec, plans[name].columns)
        in_order = [plans[spec.name] for spec in jobs if spec.name in plans]
        notes = plan_notes(in_order, state, target.name)
        snapshots: dict[str, Sequence[Mapping[str, Any]]] = {}
        for spec in (each.compiled.spec for each in in_order):
            if spec.input.needs_snapshots:
                said, snapshots[spec.name] = _told_snapshots(spec, project, target)
                notes[spec.name] = [*said, *notes.get(spec.name, ())]
        made = ProjectPlan(in_order, state, offline.warnings, notes, options, project, target, list(waiting.values()))
        yield replace(made, snapshots=snapshots)


def _told_snapshots(
    spec: JobSpec, project: Project, target: Target
) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
    """What the rows are read from, in words and as data."""
    now = SystemClock().now()
    read = list(snapshots_read(spec.input, project, target, spec.vars))
    return [snapshot_note(each, project, now) for each in read], [snapshot_value(each, project, now) for each in read]


def _plan_of(
    job: CompiledJob,
    project: Project,
    target: Target,
    state: StateReader | None,
    options: RunOptions,
    settings: PlanSettings,
    upstream: Upstream,
) -> JobPlan:
    found = None
    if state is not None and not options.looks_at_rows:
        found = find_settled(job, project, target, state, options)
    if found is None and has_steps(job.spec):
        return plan_steps(Stepping(job.spec, project, target, state, options.scope), job, options, upstream, settings)
    if found is None:
        return plan_job(job, state, target.name, settings)
    manifest, settled = found
    return plan_settled(job, state, target.name, settings, manifest, settled.distinct_requests)


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
    _fetch(project, [job], target, options, listen, clock)
    upstream = make_upstream(project, [job], target, "")
    upstream.selected = ()  # what it reads is what was answered before
    with ExitStack() as stack:
        stack.enter_context(deferring(project, target, options.deferral, upstream))
        compiled = compile_jobs(project, [job], target, options, problems, upstream)
        problems.raise_if_any()
        tell_warnings(problems, listen)
        session = stack.enter_context(open_session(project, target, options, listen, clock, upstream))
        _check_upstream([job], upstream)
        return Runner(session).try_rows(compiled[0])


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
    return _resume(project, jobs, target, options, listen, clock, lambda state: _unfinished_run(state, target, jobs))


def resume_all(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None = None,
    *,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> list[RunSummary]:
    """Go on with every run that did not end, the oldest first; nothing, where all have ended.

    Raises:
        UsageError: BF911 other requests would be sent than a run had planned.
    """
    with read_state(project, target) as state:
        unfinished = _unfinished_runs(state, target, jobs) if state is not None else []
    summaries = []
    for run, names in unfinished:
        chosen = [spec for spec in jobs if spec.name in names]
        summaries.append(_resume(project, chosen, target, options, listen, clock, partial(_known_run, run)))
    return summaries


def _known_run(run: RunRecord, _: StateReader) -> RunRecord:
    return run


def _resume(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None,
    listen: Listener,
    clock: Clock | None,
    find: Callable[[StateReader], RunRecord],
) -> RunSummary:
    options = replace(options or RunOptions(), command="resume")
    upstream = make_upstream(project, jobs, target, "")
    with ExitStack() as stack:
        session = stack.enter_context(open_session(project, target, options, listen, clock, upstream))
        unfinished = find(session.state)
        planned = PlannedRun.from_record(unfinished)
        stack.enter_context(deferring(project, target, planned.deferral, upstream))
        narrowing = narrowing_of(planned.scope)
        limit = options.max_cost_usd if options.max_cost_usd is not None else planned.max_cost_usd
        options = replace(
            options,
            max_cost_usd=limit,
            resend=planned.resend,
            limit=narrowing.get("limit"),
            sample=narrowing.get("sample"),
            deferral=planned.deferral,
        )
        session.options, session.asked_after = options, planned.asked_after
        chosen = [spec for spec in jobs if spec.name in unfinished.jobs]
        upstream.selected, upstream.scope = {spec.name for spec in chosen}, options.scope
        problems = ProblemList()
        compiled = compile_jobs(project, chosen, target, options, problems, upstream)
        problems.raise_if_any()
        return Runner(session).send(compiled, _needs(chosen, upstream), planned)


def _unfinished_runs(state: StateReader, target: Target, jobs: Sequence[JobSpec]) -> list[tuple[RunRecord, list[str]]]:
    """The last run of each job, if it did not end; with the jobs of which it is the last."""
    left = {spec.name for spec in jobs}
    found = []
    for run in state.runs(_RUNS_LOOKED_AT):
        names = sorted(left.intersection(run.jobs))
        if run.target == target.name and run.command in _SENDING and names:
            left -= set(names)
            if run.status != "ok":
                found.append((run, names))
    return found[::-1]


def _unfinished_run(state: StateReader, target: Target, jobs: Sequence[JobSpec]) -> RunRecord:
    """The last run that was to send requests of some of these jobs.

    Raises:
        UsageError: BF910 there is none, or it did all that it had to.
    """
    names = {spec.name for spec in jobs}
    runs = (run for run in state.runs(_RUNS_LOOKED_AT) if run.target == target.name and run.command in _SENDING)
    last = next((run for run in runs if names.intersection(run.jobs)), None)
    if last is None or last.status == "ok":
        raise UsageError("BF910", "there is no unfinished run to resume", hint="`batchforge run` starts one.")
    return last


@dataclass(frozen=True, slots=True)
class Failed:
    """What `retry` takes up again."""

    jobs: Sequence[JobSpec]
    """Those that failed or were skipped when they last ran, or had rows that failed then."""
    tests: Sequence[ChosenTests] = ()
    """Of sources that failed then: what reads them waits for them again."""
    deferral: Deferral | None = None
    """As in the last run of these jobs."""


def failed_last(
    project: Project, jobs: Sequence[JobSpec], tests: Sequence[ChosenTests], target: Target, *, is_named: bool
) -> Failed:
    """`is_named`: these jobs, whether they failed or not, and no tests."""
    with read_state(project, target) as state:
        runs = [run for run in state.runs(_RUNS_LOOKED_AT) if _is_of(run, target)] if state is not None else []
    told: dict[str, bool] = {}
    for job in (job for run in runs for job in run.summary.get("jobs", ())):
        has_failed = has_failed_then(job)
        if has_failed is not None:
            told.setdefault(job["job"], has_failed)
    names = {spec.name for spec in jobs}
    last = next((run for run in runs if names.intersection(run.jobs)), None)
    deferral = PlannedRun.from_record(last).deferral if last is not None else None
    if is_named:
        return Failed(jobs, deferral=deferral)
    sources = [each for each in tests if isinstance(each.spec, SourceSpec) and told.get(each.owner)]
    return Failed([spec for spec in jobs if told.get(spec.name)], sources, deferral)


def _is_of(run: RunRecord, target: Target) -> bool:
    return run.target == target.name and run.command in _SENDING


def collect(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    options: RunOptions | None = None,
    *,
    wait: bool = False,
    within_s: float | None = None,
    listen: Listener = ignore,
    clock: Clock | None = None,
) -> RunSummary:
    """Fetch what is in flight and write the outputs that are complete. Never sends a request that costs.

    `within_s` is the longest that is waited; None: until everything has ended.
    """
    options = replace(options or RunOptions(), command="collect")
    upstream = make_upstream(project, jobs, target, "")
    with open_session(project, target, options, listen, clock, upstream) as session:
        return Runner(session).collect(jobs, wait=wait, within_s=within_s)


def test(project: Project, chosen: Sequence[ChosenTests], target: Target) -> RunSummary:
    """These tests on the outputs that are there, and on sources. Sends nothing.

    Raises:
        BatchForgeError: an output cannot be read.
    """
    from batchforge.running.test_run import run_tests

    return run_tests(project, chosen, target)


def status(project: Project, jobs: Sequence[JobSpec], target: Target) -> StatusSummary:
    """What is in flight, as state knows it. Asks nobody."""
    names = [job.name for job in jobs]
    with read_state(project, target) as state:
        if state is None:
            return StatusSummary(target.name, [], None, Expectation(None, None))
        attempts = [
            AttemptInFlight(a, state.batch(a.batch_id) if a.batch_id else None) for a in state.open_attempts(names)
        ]
        now = SystemClock().now()
        last_run = next((as_it_stands(run, state.leases(), now) for run in state.runs(1)), None)
        return StatusSummary(target.name, attempts, last_run, expectation(state, names, now))


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Which of what is in flight is to be canceled; everything of the jobs, where nothing is said."""

    run_id: str | None = None
    batch_ids: tuple[str, ...] = ()

    def means(self, attempt: AttemptRecord) -> bool:
        if self.run_id is not None and attempt.run_id != self.run_id:
            return False
        return not self.batch_ids or attempt.batch_id in self.batch_ids


def cancel(
    project: Project,
    jobs: Sequence[JobSpec],
    target: Target,
    wanted: Cancellation | None = None,
    *,
    listen: Listener = ignore,
) -> list[str]:
    """Ask the API to cancel batches of these jobs that are in flight; returns the ids of those that it now cancels.

    What was answered before is billed, and is kept by the next `collect`. A batch that the API would not cancel now is
    told as a warning. A second time changes nothing.

    Raises:
        UsageError: BF915 state knows no such run or batch.
    """
    wanted, names = wanted or Cancellation(), [job.name for job in jobs]
    options = RunOptions(command="cancel")
    with open_session(project, target, options, listen, None) as session:
        _check_known(session.state, wanted)
        with session.recorded(names):
            attempts = session.state.open_attempts(names)
            canceled = [a.batch_id for a in attempts if wanted.means(a) and _is_canceled(a, session, listen)]
            in_flight = {a.job for a in attempts}
            session.finish([JobSummary(job, batches_in_flight=session.in_flight(job)) for job in sorted(in_flight)])
    return [batch_id for batch_id in canceled if batch_id]


def _check_known(state: StateReader, wanted: Cancellation) -> None:
    if wanted.run_id is not None and state.run(wanted.run_id) is None:
        hint = "`batchforge runs` lists them."
        raise UsageError("BF915", f"there is no run `{wanted.run_id}` in the state", hint=hint)
    for batch_id in wanted.batch_ids:
        if state.attempt_of_batch(batch_id) is None:
            hint = "`batchforge status` lists what is in flight."
            raise UsageError("BF915", f"there is no batch `{batch_id}` in the state", hint=hint)


def _is_canceled(attempt: AttemptRecord, session: Session, listen: Listener) -> bool:
    from batchforge.backends.base import BatchGone, Unavailable

    if attempt.batch_id is None:
        return False
    try:
        session.backend.cancel(attempt.batch_id)
    except (BatchGone, Unavailable) as exc:
        listen(warning("BF621", f"{attempt.batch_id} was not canceled: {exc}", attempt.job))
        return False
    return True


def recover_batches(project: Project, target: Target, *, listen: Listener = ignore) -> Recovered:
    """Read our batches of the last 29 days that state does not know back from the API. Costs nothing."""
    options = RunOptions(command="state recover")
    with open_session(project, target, options, listen, None) as session, session.recorded([]):
        return Runner(session).recover()


def import_answers(project: Project, target: Target, lines: Iterable[bytes]) -> tuple[int, int]:
    """Take the answers of an export; returns how many were read, and how many of them were new."""
    from batchforge.execution import recovery

    options = RunOptions(command="state import")
    with open_session(project, target, options, ignore, None) as session, session.recorded([]):
        return recovery.import_answers(session.state, lines, session.run_id)
