"""What was chosen -> what `ls` lists of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchforge.project import Project
from batchforge.selection.choosing import Choice, Wanted
from batchforge.selection.nodes import exposure_id, job_id, job_parents, source_id, test_id
from batchforge.spec import AssertionSpec, ExposureSpec, JobSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class Listed:
    id: str
    kind: str
    about: str
    tags: tuple[str, ...]
    parents: tuple[str, ...]
    children: tuple[str, ...]
    facts: Mapping[str, Any]
    settings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """Setting -> its value, and where it was set."""

    def to_json(self) -> dict[str, Any]:
        settings = {name: {"value": value, "from": place} for name, (value, place) in self.settings.items()}
        lineage = {"parents": list(self.parents), "children": list(self.children)}
        return {**self.facts, "resource_type": self.kind, **lineage, **({"settings": settings} if settings else {})}


def listed(
    project: Project, jobs: Mapping[str, JobSpec], choice: Choice, wanted: Wanted, kinds: Collection[str] = ()
) -> Iterator[Listed]:
    """Jobs, sources and exposures of these kinds; tests where they are asked for, or are all that was chosen."""
    found = [each for each in _declared(project, jobs, choice, wanted) if not kinds or each.kind in kinds]
    yield from found
    if "test" in kinds or not (found or kinds):
        for chosen in choice.tests:
            yield from (_test(test, chosen.owner, choice) for test in chosen.tests)


def _declared(project: Project, jobs: Mapping[str, JobSpec], choice: Choice, wanted: Wanted) -> Iterator[Listed]:
    """Disabled jobs come only where nothing is selected."""
    shows_disabled = not wanted.is_anything
    for job in jobs.values():
        if job_id(job.name) in choice.ids or (shows_disabled and not job.enabled):
            yield _job(job, choice)
    for source in project.sources.values():
        if source_id(source.name) in choice.ids:
            yield _source(source, choice)
    for exposure in project.exposures.values():
        if exposure_id(exposure.name) in choice.ids:
            yield _exposure(exposure, choice)


def _job(job: JobSpec, choice: Choice) -> Listed:
    node = choice.graph.nodes.get(job_id(job.name))
    facts = {
        "name": job.name,
        "path": job.path,
        "fqn": list(node.fqn) if node is not None else [],
        "description": job.description,
        "tags": list(job.tags),
        "group": job.group,
        "model": job.model,
        "models": list(job.models),
        "tests": [test.name for test in job.tests],
        "enabled": job.enabled,
        "output": job.output.address or job.output.local_file(job.name),
    }
    ladder = f"({', then '.join(job.models)})" if job.ladder is not None else ""
    about = " ".join(part for part in ("" if job.enabled else "(disabled)", job.description, ladder) if part)
    settings = {name: (value, str(job.locations[name])) for name, value in job.config.items()}
    children = choice.graph.readers(job_id(job.name))
    return Listed(job.name, "job", about, job.tags, job_parents(job), children, facts, settings)


def _source(source: SourceSpec, choice: Choice) -> Listed:
    file = source.input.files or source.input.text_files
    facts = {
        "name": source.name,
        "path": str(source.location),
        "description": source.description,
        "tags": list(source.tags),
        "file": file,
        "tests": [test.name for test in source.tests],
    }
    about = source.description or file or ""
    children = choice.graph.readers(source_id(source.name))
    return Listed(source_id(source.name), "source", about, source.tags, (), children, facts)


def _test(test: AssertionSpec, owner: str, choice: Choice) -> Listed:
    node = choice.graph.nodes[test_id(owner, test.name)]
    facts = {
        "name": test.name,
        "path": node.path,
        "fqn": list(node.fqn),
        "description": test.description,
        "kind": test.kind,
        "test_type": node.test_type,
        "severity": test.severity,
    }
    about = " ".join(word for word in ("(warn)" if test.severity == "warn" else "", test.description) if word)
    return Listed(node.id, "test", about, (), choice.graph.parents[node.id], (), facts)


def _exposure(exposure: ExposureSpec, choice: Choice) -> Listed:
    facts = {
        "name": exposure.name,
        "path": str(exposure.location),
        "type": exposure.type,
        "label": exposure.label,
        "description": exposure.description,
        "owner": dict(exposure.owner),
        "url": exposure.url,
        "tags": list(exposure.tags),
    }
    owner = " ".join(exposure.owner.values())
    words = (exposure.label, exposure.description, f"({owner})" if owner else "", exposure.url)
    about = f"{exposure.type}: {' '.join(word for word in words if word)}".rstrip(": ")
    parents = choice.graph.parents[exposure_id(exposure.name)]
    return Listed(exposure_id(exposure.name), "exposure", about, exposure.tags, parents, (), facts)
