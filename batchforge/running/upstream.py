"""What jobs read of each other: the accepted rows of a job, from state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from batchforge.config.job_files import load_jobs
from batchforge.errors import ProblemList, UsageError
from batchforge.graph import place_of_parent
from batchforge.outputs import accepted_rows
from batchforge.project import Project
from batchforge.selection.deferral import Deferral, deferred_jobs, is_of_another_form
from batchforge.spec import JobSpec
from batchforge.state.records import Manifest, StateReader
from batchforge.target import Target
from batchforge.targets import read_state


@dataclass(frozen=True, slots=True)
class Deferred:
    """Where the answers of jobs that are not selected are read instead."""

    state: StateReader | None
    """None where its target was never run."""
    target: str
    jobs: Mapping[str, JobSpec]
    """What says how the answers are read."""
    is_of_another_form: Callable[[JobSpec], bool]
    """Whether a job's answers look otherwise here than there, where nothing says how they are read."""


@dataclass(slots=True)
class Upstream:
    """The answers of the jobs that others read. Rows are read from state each time they are asked for."""

    jobs: Mapping[str, JobSpec]
    """Every job of the project; none where no job that runs needs another."""
    target: str
    selected: Collection[str] = ()
    """Jobs that are run now: of those the rows of this run are read, few as they may be."""
    scope: str = ""
    """Which rows this run is for; empty for all."""
    state: StateReader | None = None
    """None until it is open, or where there is none yet: then no job has any rows."""
    deferred: Deferred | None = None

    def rows(self, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and columns of each row that was answered."""
        own = self._own(job)
        if own is not None and self.state is not None:
            yield from accepted_rows(self.jobs[job], self.state, own)
        elif (given := self._given(job)) is not None:
            deferred, manifest = given
            assert deferred.state is not None
            yield from accepted_rows(deferred.jobs[job], deferred.state, manifest)

    def has_rows(self, job: str) -> bool:
        """Whether the job was ever run for all that is read of it."""
        return self._own(job) is not None or self._given(job) is not None

    def is_of_another_form(self, job: str) -> bool:
        """Whether its answers would be read as what they are not."""
        deferred = self.deferred
        return deferred is not None and self._own(job) is None and deferred.is_of_another_form(self.jobs[job])

    def is_narrowed(self, spec: JobSpec) -> bool:
        """Whether the rows of a job are few already, since those that it reads are."""
        return any(ref in self.selected for ref in spec.input.refs)

    def _own(self, job: str) -> Manifest | None:
        scope = self.scope if job in self.selected else ""
        return self.state.manifest(self.target, job, scope) if self.state else None

    def _given(self, job: str) -> tuple[Deferred, Manifest] | None:
        deferred = self.deferred
        if deferred is None or deferred.state is None or job in self.selected or job not in deferred.jobs:
            return None
        manifest = deferred.state.manifest(deferred.target, job)
        return None if manifest is None else (deferred, manifest)


def make_upstream(project: Project, jobs: Sequence[JobSpec], target: Target, scope: str) -> Upstream:
    """For the jobs that run now; its state is yet to be opened."""
    if not any(spec.parents for spec in jobs):
        return Upstream({}, target.name)
    return Upstream(load_jobs(project, ProblemList()), target.name, {spec.name for spec in jobs}, scope)


@contextmanager
def deferring(project: Project, target: Target, deferral: Deferral | None, upstream: Upstream) -> Iterator[None]:
    """Meanwhile, answers that the target does not have are read from where they are deferred to.

    Raises:
        UsageError: BF926 an emulator's answers are not for a real target; BF922 the commit cannot be read.
    """
    if deferral is None or not upstream.jobs:
        yield
        return
    other = project.target(deferral.target)
    if other.type == "emulator" and target.type != "emulator":
        hint = "Defer to a target of the same kind: `defer_to` in batchforge.yml, or the manifest of another run."
        message = f"`{other.name}` is an emulator; its answers never serve the real target `{target.name}`."
        raise UsageError("BF926", message, hint=hint)
    jobs = deferred_jobs(project, deferral, upstream.jobs)
    with read_state(project, other) as state:
        upstream.deferred = Deferred(state, other.name, jobs, partial(is_of_another_form, project, deferral))
        yield
        upstream.deferred = None


def check_upstream(upstream: Upstream, spec: JobSpec, problems: ProblemList) -> None:
    """Jobs that are read, and not run now, must have answers."""
    for ref in spec.input.refs:
        if ref in upstream.selected:
            continue
        if upstream.is_of_another_form(ref):
            message = f"{spec.name} reads `{ref}`, whose answers look otherwise here than in the manifest of --state."
            hint = f"Run it too: `--select +{spec.name}`. Or give --state a commit, whose `{ref}` is then what holds."
            problems.add("BF227", message, location=place_of_parent(spec, ref), hint=hint)
        elif not upstream.has_rows(ref):
            where = f"{upstream.target}` or `{upstream.deferred.target}" if upstream.deferred else upstream.target
            problems.add(
                "BF226",
                f"{spec.name} reads `{ref}`, which has no answers on target `{where}` yet.",
                location=place_of_parent(spec, ref),
                hint=f"Run it too: `--select +{spec.name}`. Or read those of production: `--defer --state main`.",
            )
