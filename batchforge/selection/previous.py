"""`--state DIR|REF` -> the facts of an earlier state: of a manifest that was kept, or of a commit, read on the fly."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchforge.config.job_files import load_jobs
from batchforge.errors import BatchForgeError, Location, ProblemList, UsageError
from batchforge.project import Project, load_project
from batchforge.review.git_base import find_base, find_head
from batchforge.review.git_objects import Repository
from batchforge.review.git_tree import GitTree
from batchforge.selection.job_facts import FileFacts, JobFacts, ProjectFacts, project_facts
from batchforge.selection.nodes import test_id
from batchforge.spec import JobSpec

MANIFEST, RUN_RESULTS = "manifest.json", "run_results.json"


def read_previous(project: Project, state: str) -> ProjectFacts:
    """
    Raises:
        UsageError: BF922 it is neither a folder with a manifest nor a commit. ProjectError: the commit's files are
            wrong.
    """
    path = folder_of(project, state)
    if path is None:
        with _project_at(project, state) as (before, jobs):
            facts = project_facts(before, jobs)
            return ProjectFacts(facts.jobs, facts.declared, dict(facts.files))
    return facts_of_manifest(read_manifest(path))


def read_manifest(path: Path) -> Mapping[str, Any]:
    """Of a folder, or of a manifest itself."""
    return _read_json(path / MANIFEST if path.is_dir() else path)


def folder_of(project: Project, state: str) -> Path | None:
    """A folder with a manifest, or a manifest itself: from here, or from the project's folder."""
    candidates = (Path(state), project.root / state)
    return next((path for path in candidates if path.is_file() or (path / MANIFEST).is_file()), None)


def read_results(project: Project, state: str | None) -> Mapping[str, str]:
    """Id of a job or a test -> its status in the run whose results lie beside the manifest; else in the project's last
    run.

    Raises:
        UsageError: BF922 there are no results.
    """
    folder = folder_of(project, state) if state is not None else None
    beside = folder / RUN_RESULTS if folder is not None else project.run_results_path
    value = _read_json(beside if beside.is_file() else project.run_results_path)
    statuses = {}
    for name, job in _jobs_of(value):
        statuses[str(name)] = status_of(job)
        statuses |= {test_id(str(name), test["name"]): str(test["status"]) for test in job.get("tests", ())}
    return statuses


def status_of(job: Mapping[str, Any]) -> str:
    """A job's entry in run_results.json as one of success, warn, fail, error, skipped; pending while it is awaited."""
    return str(job.get("status") or ("error" if job.get("is_failed") else "success"))


def _jobs_of(value: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    jobs = value.get("jobs", {})
    return list(jobs.items()) if isinstance(jobs, Mapping) else [(str(job["job"]), job) for job in jobs]


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "`batchforge compile` writes target/manifest.json, a run target/run_results.json; keep a copy of both."
        raise UsageError("BF922", f"There is no file {path}.", hint=hint) from None
    except (OSError, ValueError) as exc:
        raise UsageError("BF922", f"{path} cannot be read: {exc}.", hint="Write it anew.") from None
    return value if isinstance(value, dict) else {}


def facts_of_manifest(manifest: Mapping[str, Any]) -> ProjectFacts:
    """
    Raises:
        UsageError: BF922 the manifest does not say what jobs are made of.
    """
    if "declared" not in manifest:
        hint = "`batchforge compile` of this version writes one that can be compared."
        raise UsageError("BF922", "The manifest does not say what its jobs are made of.", hint=hint)
    files = {path: FileFacts(entry["size_bytes"], entry["sha256"]) for path, entry in manifest["files"].items()}
    jobs = {
        name: JobFacts(entry["path"], entry["made_of"], tuple(entry["files"]), tuple(entry["data_files"]))
        for name, entry in manifest["jobs"].items()
        if entry["enabled"]
    }
    return ProjectFacts(jobs, manifest["declared"], files)


def jobs_at(project: Project, name: str) -> Mapping[str, JobSpec]:
    """The jobs as of a commit.

    Raises:
        UsageError: BF922 there is no such commit, or its project has errors.
    """
    with _project_at(project, name) as (_, jobs):
        return jobs


def resolve_commit(project: Project, name: str) -> str:
    """The id of a commit.

    Raises:
        UsageError: BF922 there is none of this name.
    """
    with _repository(project, name) as repository:
        return _commit(repository, name)


@contextmanager
def _repository(project: Project, name: str) -> Iterator[Repository]:
    try:
        repository = Repository(project.root)
    except BatchForgeError as exc:
        message = f"`{name}` is no folder with a manifest.json, and no commit can be looked for: {exc}"
        hint = "Name the folder that holds the manifest.json of an earlier run."
        raise UsageError("BF922", message, hint=hint) from exc
    with repository:
        yield repository


def _commit(repository: Repository, name: str) -> str:
    commit = repository.commit(name)
    if commit is None:
        hint = "Name a folder that holds a manifest.json, or a branch, tag or commit of this clone."
        raise UsageError("BF922", f"`{name}` is neither a folder nor a commit here.", hint=hint)
    return commit


@contextmanager
def _project_at(project: Project, name: str) -> Iterator[tuple[Project, Mapping[str, JobSpec]]]:
    with _repository(project, name) as repository:
        tree = GitTree(project.root, repository, _commit(repository, name), repository.prefix)
        try:
            yield _read_project(project, tree, name)
        finally:
            tree.close()


def _read_project(project: Project, tree: GitTree, name: str) -> tuple[Project, Mapping[str, JobSpec]]:
    problems = ProblemList()
    before = load_project(project.root, problems=problems, cli_vars=project.cli_vars, tree=tree)
    jobs = load_jobs(before, problems)
    # A variable that is given now need not have been declared then.
    wrong = [problem for problem in problems.errors if problem.code != "BF141"]
    if wrong:
        first = wrong[0]
        place = f"{first.location}: " if first.location else ""
        hint = "Name a commit whose project is in order, or a folder with a manifest."
        message = f"The project as of `{name}` has errors, e.g. {first.code} {place}{first.message}"
        raise UsageError("BF922", message, hint=hint, location=Location(name))
    return before, jobs


def changed_since(project: Project, name: str) -> Collection[str]:
    """Project-relative paths of files that differ from where the work left the commit, or are new and not ignored.

    Raises:
        ProjectError, UsageError: BF170-BF173 there is no such commit.
    """
    with Repository(project.root) as repository:
        base = find_base(repository, find_head(repository, None), name, {})
        changed = repository.ask("diff", "--name-only", "-z", "--relative", "--no-renames", base.commit, "--", ".")
        added = repository.ask("ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    return {path for listed in (changed, added) if listed for path in listed.split("\0") if path}
