"""What jobs read of each other: the accepted rows of a job, from state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from batchforge.config.job_files import load_jobs
from batchforge.errors import ProblemList
from batchforge.graph import place_of_parent
from batchforge.outputs import accepted_rows
from batchforge.project import Project
from batchforge.spec import JobSpec
from batchforge.state.records import Manifest, StateReader
from batchforge.target import Target
from batchforge.targets import read_state


@dataclass(frozen=True, slots=True)
class Deferred:
    """Where the answers of jobs that are not selected are read instead."""

    state: StateReader
    target: str


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
        state, manifest = self._found(job)
        if state is not None and manifest is not None:
            yield from accepted_rows(self.jobs[job], state, manifest)

    def has_rows(self, job: str) -> bool:
        """Whether the job was ever run for all that is read of it."""
        return self._found(job)[1] is not None

    def is_narrowed(self, spec: JobSpec) -> bool:
        """Whether the rows of a job are few already, since those that it reads are."""
        return any(ref in self.selected for ref in spec.input.refs)

    def _found(self, job: str) -> tuple[StateReader | None, Manifest | None]:
        scope = self.scope if job in self.selected else ""
        own = self.state.manifest(self.target, job, scope) if self.state else None
        if own is None and self.deferred is not None and job not in self.selected:
            return self.deferred.state, self.deferred.state.manifest(self.deferred.target, job)
        return self.state, own


def make_upstream(project: Project, jobs: Sequence[JobSpec], target: Target, scope: str) -> Upstream:
    """For the jobs that run now; its state is yet to be opened."""
    if not any(spec.parents for spec in jobs):
        return Upstream({}, target.name)
    return Upstream(load_jobs(project, ProblemList()), target.name, {spec.name for spec in jobs}, scope)


@contextmanager
def deferring(project: Project, target_name: str | None, upstream: Upstream) -> Iterator[None]:
    """Meanwhile, answers that this target does not have are read from the state of that one."""
    if target_name is None:
        yield
        return
    target = project.target(target_name)
    with read_state(project, target) as state:
        upstream.deferred = Deferred(state, target.name) if state is not None else None
        yield


def check_upstream(upstream: Upstream, spec: JobSpec, problems: ProblemList) -> None:
    """Jobs that are read, and not run now, must have answers."""
    for ref in spec.input.refs:
        if ref not in upstream.selected and not upstream.has_rows(ref):
            where = f"{upstream.target}` or `{upstream.deferred.target}" if upstream.deferred else upstream.target
            problems.add(
                "BF226",
                f"{spec.name} reads `{ref}`, which has no answers on target `{where}` yet.",
                location=place_of_parent(spec, ref),
                hint=f"Run it too: `--select +{spec.name}`. Or read another target's answers with --defer-to.",
            )
