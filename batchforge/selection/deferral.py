"""`--defer --state DIR|REF` -> whose answers are read for jobs that are not selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from batchforge.errors import UsageError
from batchforge.project import Project
from batchforge.selection.previous import folder_of, jobs_at, read_manifest, resolve_commit
from batchforge.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Deferral:
    """As a run's record and a saved plan keep it: it means the same when they are gone on with."""

    target: str
    """Whose answers are read."""
    commit: str = ""
    """Whose jobs say how they are read; empty: the jobs as they are here."""
    schemas: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of a manifest: job -> hash of what its answers look like."""

    def to_json(self) -> dict[str, str]:
        return {"target": self.target, "commit": self.commit}


def find_deferral(project: Project, state: str | None) -> Deferral:
    """
    Raises:
        UsageError: BF922 nothing says whose answers; BF130 the target is not in batchforge.yml.
    """
    if state is None:
        hint = "Add --state FOLDER (with the manifest.json of a run) or --state main (a branch, tag or commit)."
        raise UsageError("BF922", "`--defer` needs something to defer to.", hint=hint)
    folder = folder_of(project, state)
    if folder is None:
        return Deferral(project.target(project.defer_to).name, resolve_commit(project, state))
    manifest = read_manifest(folder)
    if not manifest.get("target"):
        hint = "`batchforge compile` or `run` of this version, with the --target that is meant, writes one that does."
        raise UsageError("BF922", f"The manifest in {state} does not say which target it is of.", hint=hint)
    schemas = {name: job["made_of"]["schema"] for name, job in manifest["jobs"].items() if job.get("made_of")}
    return Deferral(project.target(manifest["target"]).name, schemas=schemas)


def deferred_jobs(project: Project, deferral: Deferral, jobs: Mapping[str, JobSpec]) -> Mapping[str, JobSpec]:
    """The jobs that say how answers are read: those of the commit, before `jobs`, which are those of now."""
    return {**jobs, **jobs_at(project, deferral.commit)} if deferral.commit else jobs


def is_of_another_form(project: Project, deferral: Deferral, job: JobSpec) -> bool:
    """Whether the answers look otherwise than when the manifest was written."""
    if job.name not in deferral.schemas:
        return False
    from batchforge.selection.job_facts import project_facts

    return project_facts(project, {job.name: job}).jobs[job.name].parts["schema"] != deferral.schemas[job.name]
