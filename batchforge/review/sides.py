"""The two sides of a comparison: a project at a commit or in the work tree, its jobs, and where their rows are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchforge.config.job_files import JOBS_FOLDER, load_jobs
from batchforge.errors import BatchForgeError, Problem, ProblemList, ProjectError
from batchforge.inputs import input_paths
from batchforge.project import PROJECT_FILE, Project, load_project
from batchforge.review.git_base import Revision
from batchforge.review.git_objects import Repository
from batchforge.review.git_tree import GitTree, RowsTree, find_moved_project
from batchforge.review.samples import SampleSet, read_samples
from batchforge.source_tree import SourceTree
from batchforge.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Side:
    project: Project | None
    """None where the commit holds no project."""
    jobs: Mapping[str, JobSpec]
    """Those that are enabled."""
    rows: SourceTree
    """Where the rows' files are read."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Jobs whose files are there but cannot be read -> why."""

    def has_files(self, spec: JobSpec) -> bool:
        """Whether the files are here that its rows, or what is joined to them, come from."""
        try:
            input_paths(spec.input, self.rows)
        except BatchForgeError:
            return False
        return True

    def samples(self, job: str) -> SampleSet | None:
        return read_samples(self.project.tree, job) if self.project else None


@contextmanager
def open_head(root: Path, repository: Repository, head: Revision, cli_vars: Mapping[str, Any]) -> Iterator[Side]:
    """
    Raises:
        ProjectError: its files are wrong.
    """
    disk = SourceTree(root)
    if head.is_work_tree:
        yield _checked(root, disk, disk, cli_vars)
        return
    tree = GitTree(root, repository, head.commit, repository.prefix)
    try:
        yield _checked(root, tree, RowsTree(tree, disk, repository), cli_vars)
    finally:
        tree.close()


@contextmanager
def open_base(
    root: Path, repository: Repository, base: Revision, head: Revision, cli_vars: Mapping[str, Any], newer: SourceTree
) -> Iterator[Side]:
    """Its own mistakes are told, not raised: they are what the change may mend."""
    tree = GitTree(root, repository, base.commit, repository.prefix)
    if not tree.exists(PROJECT_FILE):
        taken = repository.folders_with(PROJECT_FILE, None if head.is_work_tree else head.commit)
        moved = find_moved_project(repository, base.commit, PROJECT_FILE, taken | {repository.prefix})
        if moved is not None:
            tree.close()
            tree = GitTree(root, repository, base.commit, moved)
    try:
        rows = RowsTree(tree, newer, repository)
        if not tree.exists(PROJECT_FILE):
            yield Side(None, {}, rows)
            return
        problems = ProblemList()
        project = load_project(root, problems=problems, cli_vars=cli_vars, tree=tree)
        jobs = load_jobs(project, problems)
        raise_if_not_here(problems.errors)
        yield Side(project, _enabled(jobs), rows, _broken(tree, jobs, problems))
    finally:
        tree.close()


def raise_if_not_here(problems: Sequence[Problem]) -> None:
    """What this clone lacks is no mistake of the base: without it nothing can be said.

    Raises:
        ProjectError: BF174
    """
    missing = [problem for problem in problems if problem.code == "BF174"]
    if missing:
        raise ProjectError.of(missing)


def _checked(root: Path, tree: SourceTree, rows: SourceTree, cli_vars: Mapping[str, Any]) -> Side:
    problems = ProblemList()
    project = load_project(root, problems=problems, cli_vars=cli_vars, tree=tree)
    jobs = load_jobs(project, problems)
    problems.raise_if_any()
    return Side(project, _enabled(jobs), rows)


def _enabled(jobs: Mapping[str, JobSpec]) -> dict[str, JobSpec]:
    return {name: job for name, job in jobs.items() if job.enabled}


def _broken(tree: GitTree, jobs: Mapping[str, JobSpec], problems: ProblemList) -> dict[str, str]:
    """Job files that made no job, with the first problem that may be why."""
    paths = [path for path in tree.glob(f"{JOBS_FOLDER}/**/*") if path.endswith((".yml", ".yaml"))]
    names = {path.rpartition("/")[2].rpartition(".")[0]: path for path in paths if "/_defaults." not in path}
    return {name: _why(path, problems.errors) for name, path in names.items() if name not in jobs}


def _why(path: str, errors: list[Problem]) -> str:
    own = [problem for problem in errors if problem.location and problem.location.path == path]
    found = (own or errors)[:1]
    return f"{found[0].code} {found[0].message}" if found else ""
