"""Jobs, sources, exposures and tests -> nodes of one graph, with what words match of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from batchforge.graph import JobGraph
from batchforge.spec import AssertionSpec, ExposureSpec, JobSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    """A job's name, `source:name`, `exposure:name`, or `test:` and what it is a test of, with its name."""
    kind: Literal["job", "source", "exposure", "test"]
    name: str
    fqn: tuple[str, ...]
    """The project's name, the folders below jobs/, the own name."""
    path: str
    """Of the file that declares it."""
    tags: tuple[str, ...] = ()
    group: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    test_type: Literal["generic", "singular", ""] = ""
    """Of a test: whether it stands beside a job or source, or in a file of its own."""


@dataclass(frozen=True)
class NodeGraph:
    nodes: Mapping[str, Node]
    parents: Mapping[str, tuple[str, ...]]

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        return JobGraph(self.parents).children

    def with_tests(self, ids: set[str]) -> set[str]:
        """And each test that has one of them for a parent."""
        return ids.union(child for each in ids for child in self.children.get(each, ()) if child in self._tests)

    def readers(self, of: str) -> tuple[str, ...]:
        """What needs it, but for tests."""
        return tuple(child for child in self.children.get(of, ()) if child not in self._tests)

    @cached_property
    def _tests(self) -> frozenset[str]:
        return frozenset(node.id for node in self.nodes.values() if node.kind == "test")


def job_id(name: str) -> str:
    return name


def source_id(name: str) -> str:
    return f"source:{name}"


def exposure_id(name: str) -> str:
    return f"exposure:{name}"


def test_id(owner: str, name: str) -> str:
    """`owner` is the id of a job or a source."""
    return f"test:{owner}.{name}"


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
        *(_test_node(project, job.name, test, job_fqn(project, job)[:-1]) for job in enabled for test in job.tests),
        *(_test_node(project, source_id(s.name), test, (project,)) for s in sources.values() for test in s.tests),
    ]
    by_id = {node.id: node for node in nodes}
    parents = {
        **{job_id(job.name): job_parents(job) for job in enabled},
        **{source_id(name): () for name in sources},
        **{exposure_id(name): exposure_parents(exposure) for name, exposure in exposures.items()},
        **{test_id(job.name, test.name): test_parents(job.name, test) for job in enabled for test in job.tests},
        **{test_id(source_id(s.name), t.name): (source_id(s.name),) for s in sources.values() for t in s.tests},
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


def test_parents(owner: str, test: AssertionSpec) -> tuple[str, ...]:
    """Ids of all that it reads."""
    return tuple(dict.fromkeys((owner, *map(job_id, test.reads))))


def _test_node(project: str, owner: str, test: AssertionSpec, folders: Sequence[str]) -> Node:
    is_singular = test.kind == "sql"
    fqn = (project, test.name) if is_singular else (*folders, test.name)
    config = {"enabled": True, "severity": test.severity, "where": test.where, "limit": test.limit}
    path = test.location.path if test.location is not None else ""
    test_type: Literal["singular", "generic"] = "singular" if is_singular else "generic"
    return Node(test_id(owner, test.name), "test", test.name, fqn, path, config=config, test_type=test_type)


def _path(declared: SourceSpec | ExposureSpec) -> str:
    return declared.location.path if declared.location is not None else ""


def in_order(graph: NodeGraph, ids: Collection[str], kind: str) -> Sequence[Node]:
    """The chosen nodes of a kind, as they are declared."""
    return [node for node in graph.nodes.values() if node.kind == kind and node.id in ids]
