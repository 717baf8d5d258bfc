"""Jobs and what they read of each other -> their order: waves, ancestors, descendants, the path of a cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter

from batchforge.errors import Location, ProblemList
from batchforge.nearest import did_you_mean
from batchforge.spec import JobSpec

_CYCLE_HINT = "A job cannot need its own output. Take one of these refs away."


@dataclass(frozen=True)
class JobGraph:
    """Which job needs which. Names that no job has are left out; `build_graph` has named them as errors."""

    parents: Mapping[str, tuple[str, ...]]
    """Job -> jobs that it reads or waits for, in the order in which it names them."""

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.parents}
        for name, parents in self.parents.items():
            for parent in parents:
                found[parent].append(name)
        return {name: tuple(children) for name, children in found.items()}

    def waves(self, names: Collection[str]) -> Iterator[list[str]]:
        """The chosen jobs in waves: each stands behind all that it needs, also through jobs that were not chosen."""
        chosen = set(names)
        waves: dict[int, list[str]] = {}
        depths = self._depths(chosen)
        for name in self.parents:
            if name in chosen:
                waves.setdefault(depths[name], []).append(name)
        return (waves[depth] for depth in sorted(waves))

    def _depths(self, chosen: set[str]) -> dict[str, int]:
        """Job -> the most chosen jobs that stand before it on any path."""
        depths: dict[str, int] = {}
        for name in TopologicalSorter(self.parents).static_order():
            depths[name] = max((depths[each] + (each in chosen) for each in self.parents[name]), default=0)
        return depths

    def ancestors(self, name: str, depth: int | None = None) -> set[str]:
        """Jobs that it needs, through at most `depth` steps."""
        return reach({name}, self.parents, depth) - {name}

    def descendants(self, name: str, depth: int | None = None) -> set[str]:
        """Jobs that need it, through at most `depth` steps."""
        return reach({name}, self.children, depth) - {name}


def reach(names: Collection[str], steps: Mapping[str, Collection[str]], depth: int | None = None) -> set[str]:
    """The names, and all that at most `depth` steps lead to."""
    found = edge = set(names)
    while edge and depth != 0:
        edge = {step for each in edge for step in steps.get(each, ())} - found
        found = found | edge
        depth = None if depth is None else depth - 1
    return found


def graph_of(jobs: Mapping[str, JobSpec]) -> JobGraph:
    """The graph of jobs that were checked."""
    return JobGraph({name: tuple(each for each in job.parents if each in jobs) for name, job in jobs.items()})


def build_graph(
    jobs: Mapping[str, JobSpec], problems: ProblemList, others: Mapping[str, Collection[str]] | None = None
) -> JobGraph:
    """The graph of all jobs; what is wrong with it goes into `problems`.

    `others`: name -> files of jobs that are not among `jobs`, because something is wrong with them, or whose name more
    than one file has.
    """
    for job in jobs.values():
        for parent in job.parents:
            _check_parent(job, parent, jobs, others or {}, problems)
    graph = graph_of(jobs)
    cycle = find_cycle(graph.parents)
    if cycle:
        path = " -> ".join(cycle)
        location = place_of_parent(jobs[cycle[0]], cycle[1])
        problems.add("BF181", f"These jobs need each other: {path}.", location=location, hint=_CYCLE_HINT)
    return graph


def _check_parent(
    job: JobSpec,
    parent: str,
    jobs: Mapping[str, JobSpec],
    others: Mapping[str, Collection[str]],
    problems: ProblemList,
) -> None:
    location, files = place_of_parent(job, parent), others.get(parent, ())
    if len(files) > 1:
        message = f"More than one job is named `{parent}`: {' and '.join(files)}."
        problems.add("BF182", message, location=location, hint="Rename one of them.")
    elif parent not in jobs and not files:
        problems.add("BF180", f"There is no job `{parent}`.", location=location, hint=job_hint(parent, jobs))
    elif parent in jobs and job.enabled and not jobs[parent].enabled:
        hint = f"Set `enabled: true` in {jobs[parent].path}, or take the ref away."
        problems.add("BF180", f"The job `{parent}` is disabled.", location=location, hint=hint)


def job_hint(name: str, jobs: Mapping[str, JobSpec]) -> str:
    return did_you_mean(name, jobs) or f"Jobs here: {', '.join(sorted(jobs)) or 'none'}."


def place_of_parent(job: JobSpec, parent: str) -> Location:
    return job.parent_locations.get(parent, Location(job.path))


def find_cycle(parents: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One cycle as a path that ends where it began; empty where there is none."""
    finished: set[str] = set()
    for start in parents:
        path: dict[str, None] = {}
        stack = [iter((start,))]
        while stack:
            name = next(stack[-1], None)
            if name is None:
                stack.pop()
                if path:
                    finished.add(path.popitem()[0])
            elif name in path:
                names = list(path)
                return [*names[names.index(name) :], name]
            elif name not in finished:
                path[name] = None
                stack.append(iter(parents[name]))
    return []
