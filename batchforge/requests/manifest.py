"""A project, its jobs and what was compiled -> the manifest: lineage, files, and what each job is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from batchforge.selection.job_facts import JobFacts, project_facts
from batchforge.selection.nodes import (
    NodeGraph,
    exposure_parents,
    job_fqn,
    job_id,
    job_parents,
    node_graph,
    source_id,
)

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.spec import AssertionSpec, ExposureSpec, JobSpec, SourceSpec

MANIFEST_VERSION = 2


def manifest_of(
    project: Project, jobs: Mapping[str, JobSpec], compiled: Mapping[str, Mapping[str, Any]], target: str
) -> dict[str, Any]:
    """The same value for the same files and target. `compiled` holds what is known of requests, of the jobs that were
    compiled."""
    facts = project_facts(project, jobs)
    graph = node_graph(project.name, jobs, project.sources, project.exposures)
    return {
        "manifest_version": MANIFEST_VERSION,
        "batchforge_version": version("batchforge"),
        "project": project.name,
        "target": target,
        "jobs": {
            name: {**_job(project, job, graph, facts.jobs.get(name)), **compiled.get(name, {})}
            for name, job in jobs.items()
        },
        "sources": {name: _source(source, graph) for name, source in project.sources.items()},
        "exposures": {name: _exposure(exposure) for name, exposure in project.exposures.items()},
        "declared": dict(facts.declared),
        "files": {path: asdict(facts.files[path]) for path in sorted(facts.files)},
    }


def _job(project: Project, job: JobSpec, graph: NodeGraph, facts: JobFacts | None) -> dict[str, Any]:
    return {
        "path": job.path,
        "fqn": list(job_fqn(project.name, job)),
        "description": job.description,
        "tags": list(job.tags),
        "group": job.group,
        "meta": dict(job.meta),
        "enabled": job.enabled,
        "model": job.model,
        "max_tokens": job.max_tokens,
        "betas": list(job.betas),
        "tests": [_test(test) for test in job.tests],
        "output": job.output.address or job.output.local_file(job.name),
        "parents": list(job_parents(job)),
        "children": list(graph.readers(job_id(job.name))),
        "made_of": dict(facts.parts) if facts else {},
        "files": sorted(facts.files) if facts else [],
        "data_files": list(facts.data) if facts else [],
    }


def _test(test: AssertionSpec) -> dict[str, Any]:
    return {"name": test.name, "kind": test.kind, "severity": test.severity, "description": test.description}


def _source(source: SourceSpec, graph: NodeGraph) -> dict[str, Any]:
    return {
        "description": source.description,
        "tags": list(source.tags),
        "meta": dict(source.meta),
        "tests": [_test(test) for test in source.tests],
        "file": source.input.files or source.input.text_files,
        "children": list(graph.readers(source_id(source.name))),
    }


def _exposure(exposure: ExposureSpec) -> dict[str, Any]:
    return {
        "type": exposure.type,
        "label": exposure.label,
        "description": exposure.description,
        "owner": dict(exposure.owner),
        "url": exposure.url,
        "tags": list(exposure.tags),
        "meta": dict(exposure.meta),
        "parents": list(exposure_parents(exposure)),
    }
