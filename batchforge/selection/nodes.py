"""Jobs, sources and exposures -> nodes of one graph, with what words match of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from batchforge.graph import JobGraph
from batchforge.spec import ExposureSpec, JobSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    """A job's name, `source:name` or `exposure:name`."""
    kind: Literal["job", "source", "exposure"]
    name: str
    fqn: tuple[str, ...]
    """The project's name, the folders below jobs/, the own name."""
    path: str
    """Of the file that declares it."""
    tags: tuple[str, ...] = ()
    group: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeGraph:
    nodes: Mapping[str, Node]
    parents: Mapping[str, tuple[str, ...]]

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        return JobGraph(self.parents).children


def job_id(name: str) -> str:
    return name


def source_id(name: str) -> str:
    return f"source:{name}"


def exposure_id(name: str) -> str:
    return f"exposure:{name}"


def job_fqn(project: str, job: JobSpec) -> tuple[str, ...]:
    return (project, *job.path.split("/")[1:-1], job.name)


def node_graph(
    project: str,
    jobs: Mapping[str, JobSpec],
    sources: Mapping[str, SourceSpec],
    exposures: Mapping[str, ExposureSpec],
) -> NodeGraph:
    """The graph of all nodes but disabled jobs, which no word selects."""
    enabled = [job for job in jobs.values() if job.enabled]
    nodes = [
        *(_job_node(project, job) for job in enabled),
        *(_source_node(project, source) for source in sources.values()),
        *(_exposure_node(project, exposure) for exposure in exposures.values()),
    ]
    by_id = {node.id: node for node in nodes}
    parents = {
        **{job_id(job.name): job_parents(job) for job in enabled},
        **{source_id(name): () for name in sources},
        **{exposure_id(name): exposure_parents(exposure) for name, exposure in exposures.items()},
    }
    return NodeGraph(by_id, {node: tuple(each for each in of if each in by_id) for node, of in parents.items()})


def job_parents(job: JobSpec) -> tuple[str, ...]:
    """Ids of all that it needs."""
    return (*map(source_id, job.input.sources), *map(job_id, job.parents))


def exposure_parents(exposure: ExposureSpec) -> tuple[str, ...]:
    return (*map(source_id, exposure.sources), *map(job_id, exposure.jobs))


def _job_node(project: str, job: JobSpec) -> Node:
    config = {
        **job.config,
        "model": job.model,
        "tags": list(job.tags),
        "group": job.group,
        "meta": job.meta,
        "enabled": job.enabled,
        "min_success": job.min_success,
    }
    return Node(job_id(job.name), "job", job.name, job_fqn(project, job), job.path, job.tags, job.group, config)


def _source_node(project: str, source: SourceSpec) -> Node:
    config = {"enabled": True, "tags": list(source.tags), "meta": source.meta}
    return Node(
        source_id(source.name), "source", source.name, (project, source.name), _path(source), source.tags, None, config
    )


def _exposure_node(project: str, exposure: ExposureSpec) -> Node:
    fqn = (project, exposure.name)
    return Node(exposure_id(exposure.name), "exposure", exposure.name, fqn, _path(exposure), exposure.tags)


def _path(declared: SourceSpec | ExposureSpec) -> str:
    return declared.location.path if declared.location is not None else ""


def in_order(graph: NodeGraph, ids: Collection[str], kind: str) -> Sequence[Node]:
    """The chosen nodes of a kind, as they are declared."""
    return [node for node in graph.nodes.values() if node.kind == kind and node.id in ids]
