"""BatchForge from Python: the same values that the command line prints. Prints nothing, asks nobody, never exits.

Every method reads the project's files anew, as every command does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from batchforge.errors import Location, ProblemList, UsageError
from batchforge.events import Listener, ignore

if TYPE_CHECKING:
    from batchforge.execution.recovery import Recovered
    from batchforge.ledger.cost import CostReport
    from batchforge.lookup.finding import Found, PastAnswer, RowView, RunFacts, StateLooker
    from batchforge.lookup.tried import TrySummary
    from batchforge.project import Project as ProjectFiles
    from batchforge.running.run_options import RunOptions
    from batchforge.selection.choosing import Choice, Wanted
    from batchforge.snapshots.document_fetching import FetchedDocuments
    from batchforge.snapshots.fetching import Fetched
    from batchforge.spec import JobSpec
    from batchforge.summaries import RunSummary, StatusSummary
    from batchforge.target import Target

Mode = Literal["batch", "sync"]
CostDimension = Literal["job", "run", "day", "model", "tag", "commit"]


class RunKeywords(TypedDict, total=False):
    """What `run` and `build` can be told; all have the command line's defaults."""

    select: Sequence[str]
    """As the options of `batchforge run`; so are the next four."""
    exclude: Sequence[str]
    selector: str | None
    state: str | None
    defer: bool
    mode: Mode | None
    limit: int | None
    sample: int | None
    threads: int | None
    fail_fast: bool
    wait: bool
    full_refresh: bool
    submitted_rows: bool
    max_cost_usd: float | None
    """This or `yes` is needed where the run may cost more than `confirm_above_usd`."""
    yes: bool
    allow_unknown_model: bool
    listen: Listener
    """Is told what happens while it happens."""


class Project:
    """A folder with a batchforge.yml.

    Where several jobs can be meant, none means all that are enabled. What goes wrong is raised as a `BatchForgeError`
    with the code, the place and the hint that the command line would show.
    """

    def __init__(
        self, folder: str | Path = ".", *, target: str | None = None, variables: Mapping[str, Any] | None = None
    ) -> None:
        """
        Args:
            target: A target of batchforge.yml. None: its default_target.
            variables: Values for templates, as --vars.

        Raises:
            ProjectError: the files are wrong. UsageError: there is no project, or no such target.
        """
        self.folder = Path(folder).absolute()
        self._target, self._variables = target, dict(variables or {})
        self._load(())

    @property
    def jobs(self) -> list[str]:
        """Names of the enabled jobs."""
        return [job.name for job in self._load_files()[1].values() if job.enabled]

    def run(self, *jobs: str, **options: Unpack[RunKeywords]) -> RunSummary:
        """Send what is missing, wait for it, and write the outputs."""
        return self._sent("run", jobs, **options)

    def build(self, *jobs: str, **options: Unpack[RunKeywords]) -> RunSummary:
        """Run jobs and test their outputs, and sources, in the order in which they need each other."""
        return self._sent("build", jobs, **options)

    def test(
        self,
        *jobs: str,
        select: Sequence[str] = (),
        exclude: Sequence[str] = (),
        selector: str | None = None,
        state: str | None = None,
    ) -> RunSummary:
        """Run tests on the outputs that are there, and on sources: those named in `select`, and those of what is
        selected. Sends nothing."""
        from batchforge import pipeline

        project, choice, target = self._chosen(_wanted(jobs, select, exclude, selector, state))
        return pipeline.test(project, choice.tests, target)

    def plan(
        self,
        *jobs: str,
        select: Sequence[str] = (),
        exclude: Sequence[str] = (),
        selector: str | None = None,
        state: str | None = None,
        mode: Mode | None = None,
        limit: int | None = None,
        sample: int | None = None,
        defer: bool = False,
        wait: bool = True,
        full_refresh: bool = False,
        exact: bool = False,
        allow_unknown_model: bool = False,
    ) -> dict[str, Any]:
        """What `run` would send, why, and what it would cost; offline, and without a write.

        Args:
            select, exclude, selector, state, defer: As the options of `batchforge plan`.
            wait: False: for a run that does not wait, in which no row can be sent ahead.
            exact: Let the API count the tokens of a few requests. Needs a key, is free.

        Returns:
            As `plan --output json` prints it, by schemas/plan.schema.json. Saved as a file, it is one for `run --plan`.
        """
        from batchforge import pipeline
        from batchforge.planning.decisions import Resend
        from batchforge.running.run_options import RunOptions
        from batchforge.selection.deferral import find_deferral

        project, choice, target = self._chosen(_wanted(jobs, select, exclude, selector, state))
        options = RunOptions(
            resend=Resend.ALL if full_refresh else Resend.NOTHING_PAID,
            mode=mode,
            limit=limit,
            sample=sample,
            wait=wait,
            count_exactly=exact,
            allow_unknown_model=allow_unknown_model,
            deferral=find_deferral(project, state) if defer else None,
            command="plan",
        )
        with pipeline.plan(project, choice.jobs, target, options) as planned:
            return planned.document()

    def retry(
        self,
        *jobs: str,
        select: Sequence[str] = (),
        exclude: Sequence[str] = (),
        selector: str | None = None,
        state: str | None = None,
        mode: Mode | None = None,
        defer: bool = False,
        wait: bool = True,
        max_cost_usd: float | None = None,
        yes: bool = False,
        listen: Listener = ignore,
    ) -> RunSummary:
        """Run again what failed or was skipped, and ask failed rows once more; without jobs, those that have any."""
        from batchforge.planning.decisions import Resend
        from batchforge.running.run_options import RunOptions

        options = RunOptions(
            resend=Resend.FAILED, mode=mode, wait=wait, max_cost_usd=max_cost_usd, yes=yes, command="retry"
        )
        wanted = _wanted(jobs, select, exclude, selector, state)
        return self._send(wanted, options, listen, defer=defer)

    def resume(
        self,
        *jobs: str,
        wait: bool = True,
        max_cost_usd: float | None = None,
        yes: bool = False,
        listen: Listener = ignore,
    ) -> RunSummary:
        """Go on with the last run that did not end, within what it had planned.

        Args:
            max_cost_usd: None: the limit of that run.
        """
        from batchforge import pipeline
        from batchforge.running.run_options import RunOptions

        options = RunOptions(wait=wait, max_cost_usd=max_cost_usd, yes=yes)
        project, chosen, target = self._load(jobs)
        self._keep_manifest(project, target)
        return pipeline.resume(project, chosen, target, options, listen=listen)

    def collect(
        self, *jobs: str, wait: bool = False, submitted_rows: bool = False, listen: Listener = ignore
    ) -> RunSummary:
        """Fetch what is in flight and write the outputs that are complete. Never sends a request that costs."""
        from batchforge import pipeline
        from batchforge.running.run_options import RunOptions

        options = RunOptions(submitted_rows=submitted_rows)
        return pipeline.collect(*self._load(jobs), options, wait=wait, listen=listen)

    def cancel(self, *jobs: str) -> list[str]:
        """Ask the API to cancel the batches in flight; returns their ids."""
        from batchforge import pipeline

        return pipeline.cancel(*self._load(jobs))

    def try_(
        self,
        job: str,
        *,
        limit: int = 5,
        keys: Sequence[str] = (),
        max_cost_usd: float | None = None,
        yes: bool = False,
        allow_unknown_model: bool = False,
        listen: Listener = ignore,
    ) -> TrySummary:
        """Answer a few rows at once, the first ones or those with `keys`. The answers are kept for a later run."""
        from batchforge import pipeline
        from batchforge.running.run_options import RunOptions

        project, (spec,), target = self._load((job,))
        options = RunOptions(
            limit=None if keys else limit,
            keys=tuple(keys),
            max_cost_usd=max_cost_usd,
            yes=yes,
            allow_unknown_model=allow_unknown_model,
        )
        return pipeline.try_rows(project, spec, target, options, listen=listen)

    def fetch(self, *jobs: str, listen: Listener = ignore) -> list[Fetched | FetchedDocuments]:
        """Take snapshots of what the jobs read from databases and object stores."""
        from batchforge import pipeline

        return pipeline.fetch(*self._load(jobs), listen=listen)

    def compile(self, *jobs: str, allow_unknown_model: bool = False) -> dict[str, Any]:
        """Render and check every request, offline; writes target/ and returns its manifest."""
        from batchforge import pipeline
        from batchforge.requests.artifacts import write_artifacts
        from batchforge.running.run_options import RunOptions

        project, chosen, target = self._load(jobs)
        options = RunOptions(allow_unknown_model=allow_unknown_model)
        with pipeline.compiled_offline(project, chosen, target, options) as offline:
            return write_artifacts(project, self._load_files()[1], target, offline.jobs, ProblemList())

    def status(self, *jobs: str) -> StatusSummary:
        """What is in flight, as state knows it. Asks nobody."""
        from batchforge import pipeline

        return pipeline.status(*self._load(jobs))

    def cost(
        self, *, by: Sequence[CostDimension] = ("job",), since: date | None = None, until: date | None = None
    ) -> CostReport:
        """What was spent with the target that was named, or with all targets where none was, from stored usage.

        Raises:
            UsageError: BF908 the target has no state yet.
        """
        from batchforge.ledger.cost import cost_report
        from batchforge.ledger.spending import Period

        project, jobs, target = self._load(())
        period = Period(since.isoformat() if since else None, until.isoformat() if until else None)
        tags = {job.name: job.tags for job in jobs}
        return cost_report(project, tags, target if self._target else None, period, list(by), date.today())

    def runs(self, limit: int = 20) -> list[RunFacts]:
        """The last runs of the target, the last one first."""
        with self._looker() as looker:
            return [looker.run_facts(run) for run in looker.state.runs(limit)]

    def show(self, job: str, key: str) -> RowView:
        """A row of the job's last run: its request, its answer, what it cost."""
        with self._looker() as looker:
            _, (spec,), target = self._load((job,))
            return looker.row(spec, target.name, key)

    def history(self, job: str, key: str) -> list[PastAnswer]:
        """Every answer that a row ever had."""
        with self._looker() as looker:
            return looker.history(job, self._load((job,))[2].name, key)

    def find(self, text: str, limit: int = 10) -> Found:
        """What a custom_id, or the id of a batch, a message, a request or a run stands for.

        Raises:
            UsageError: BF940 no state knows it.
        """
        from batchforge.lookup.states import find_in

        return find_in(self._load(())[0], self._target, text, limit)

    def recover(self, listen: Listener = ignore) -> Recovered:
        """Read our batches of the last 29 days that the state does not know back from the API. Costs nothing."""
        from batchforge import pipeline

        project, _, target = self._load(())
        return pipeline.recover_batches(project, target, listen=listen)

    def _looker(self) -> AbstractContextManager[StateLooker]:
        from batchforge.lookup.states import looking_into

        project, _, target = self._load(())
        return looking_into(project, target)

    def rows(self, job: str) -> Iterator[dict[str, Any]]:
        """The rows of the job's published output, one by one.

        Raises:
            UsageError: BF705 there is no output yet.
        """
        from batchforge.outputs import output_path
        from batchforge.tables.options import TableOptions, format_of
        from batchforge.tables.reading import read_rows

        project, (spec,), target = self._load((job,))
        path = output_path(spec, project, target)
        if not path.is_file():
            hint = f"Run it first: Project(...).run({job!r}). A run that failed leaves its rows beside it."
            raise UsageError("BF705", f"there is no output of {job} yet", hint=hint, location=Location(str(path)))
        return (row for _, row in read_rows(path, str(path), TableOptions(format_of(path.name))))

    def _sent(
        self,
        command: str,
        jobs: Sequence[str],
        *,
        select: Sequence[str] = (),
        exclude: Sequence[str] = (),
        selector: str | None = None,
        state: str | None = None,
        defer: bool = False,
        full_refresh: bool = False,
        listen: Listener = ignore,
        **more: Any,
    ) -> RunSummary:
        from batchforge.planning.decisions import Resend
        from batchforge.running.run_options import RunOptions

        resend = Resend.ALL if full_refresh else Resend.NOTHING_PAID
        options = RunOptions(resend=resend, command=command, **more)
        return self._send(_wanted(jobs, select, exclude, selector, state), options, listen, defer=defer)

    def _send(
        self,
        wanted: Wanted,
        options: RunOptions,
        listen: Listener,
        *,
        defer: bool,
    ) -> RunSummary:
        from batchforge import pipeline
        from batchforge.selection.deferral import find_deferral

        project, choice, target = self._chosen(wanted)
        deferral = find_deferral(project, wanted.state) if defer else None
        jobs, tests = choice.jobs, choice.tests if options.command == "build" else ()
        if options.command == "retry":
            failed = pipeline.failed_last(project, jobs, choice.tests, target, is_named=wanted.says_which)
            jobs, tests, deferral = tuple(failed.jobs), tuple(failed.tests), deferral or failed.deferral
        self._keep_manifest(project, target)
        return pipeline.run(project, jobs, target, replace(options, deferral=deferral, tests=tests), listen=listen)

    def _keep_manifest(self, project: ProjectFiles, target: Target) -> None:
        from batchforge.requests.artifacts import write_manifest

        write_manifest(project, self._load_files()[1], target)

    def _load(self, names: Sequence[str]) -> tuple[ProjectFiles, list[JobSpec], Target]:
        project, choice, target = self._chosen(_wanted(names))
        return project, list(choice.jobs), target

    def _chosen(self, wanted: Wanted) -> tuple[ProjectFiles, Choice, Target]:
        from batchforge.selection.choosing import choose

        project, jobs = self._load_files()
        return project, choose(project, jobs, wanted), project.target(self._target)

    def _load_files(self) -> tuple[ProjectFiles, dict[str, JobSpec]]:
        from batchforge.config.job_files import load_jobs
        from batchforge.project import PROJECT_FILE, load_project

        if not (self.folder / PROJECT_FILE).is_file():
            hint = f"Name the folder that holds {PROJECT_FILE}."
            raise UsageError("BF120", f"There is no {PROJECT_FILE} in {self.folder}.", hint=hint)
        problems = ProblemList()
        project = load_project(self.folder, problems=problems, cli_vars=self._variables)
        jobs = load_jobs(project, problems)
        problems.raise_if_any()
        return project, jobs


def _wanted(
    names: Sequence[str],
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    selector: str | None = None,
    state: str | None = None,
) -> Wanted:
    from batchforge.selection.choosing import Wanted

    return Wanted(tuple(names), tuple(select), tuple(exclude), selector, state)
