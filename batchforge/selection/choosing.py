"""A project, its jobs and what a command line asks for -> the chosen jobs, with warnings where a word means none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from batchforge.errors import Problem, ProblemList, UsageError
from batchforge.nearest import did_you_mean
from batchforge.selection.criteria import Criterion, Selection, criteria_of, parse_selection
from batchforge.selection.methods import Facts
from batchforge.selection.nodes import NodeGraph, in_order, node_graph, source_id, test_id
from batchforge.selection.selecting import Selector, find_selector
from batchforge.selection.selectors_file import Selectors, load_selectors
from batchforge.spec import AssertionSpec, JobSpec, SourceSpec

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.selection.job_facts import ProjectFacts

Jobs = Mapping[str, JobSpec]
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line asks for."""

    names: tuple[str, ...] = ()
    """Jobs that are named; each must be there. Other words are as in `select`."""
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    selector: str | None = None
    state: str | None = None
    """A folder with a manifest, or a commit."""
    on_empty: Literal["ok", "fail"] = "ok"

    @property
    def says_which(self) -> bool:
        """Not only which not."""
        return bool(self.names or self.select or self.selector)

    @property
    def is_anything(self) -> bool:
        return bool(self.names or self.select or self.exclude or self.selector)


@dataclass(frozen=True, slots=True)
class ChosenTests:
    """Those tests of a job or a source that are chosen."""

    spec: JobSpec | SourceSpec
    names: frozenset[str]

    @property
    def owner(self) -> str:
        """Id of what they are tests of."""
        return self.spec.name if isinstance(self.spec, JobSpec) else source_id(self.spec.name)

    @property
    def tests(self) -> list[AssertionSpec]:
        return [test for test in self.spec.tests if test.name in self.names]


@dataclass(frozen=True, slots=True)
class Choice:
    graph: NodeGraph
    ids: frozenset[str]
    """Of all chosen nodes."""
    jobs: tuple[JobSpec, ...]
    tests: tuple[ChosenTests, ...] = ()
    """First those of sources."""
    warnings: tuple[Problem, ...] = ()
    removed: tuple[str, ...] = field(default=())
    """Where states were compared: ids of what is gone."""


def choose(project: Project, jobs: Jobs, wanted: Wanted, *, with_disabled: bool = False) -> Choice:
    """What is wanted; disabled jobs only `with_disabled`.

    Raises:
        UsageError: BF902 a word means nothing, BF903 there is no job of a name, BF904 it is disabled, BF921 there is no
            such selector, BF922 the earlier state cannot be read.
        ProjectError: a file of selectors is wrong.
    """
    problems = ProblemList()
    selectors = load_selectors(project.tree, problems)
    problems.raise_if_any()
    open_jobs = {name: replace(job, enabled=True) for name, job in jobs.items()} if with_disabled else jobs
    selection = _selection(open_jobs, wanted, selectors, problems)
    facts = _facts(project, open_jobs, wanted, selection, selectors)
    graph = node_graph(project.name, open_jobs, project.sources, project.exposures)
    disabled = {job.name: job.path for job in open_jobs.values() if not job.enabled}
    ids = frozenset(Selector(graph, facts, problems, disabled).select(selection))
    chosen = tuple(jobs[node.name] for node in in_order(graph, ids, "job"))
    removed = facts.changes.removed if facts.changes is not None else ()
    tests = tuple(_chosen_tests(project, open_jobs, ids))
    return Choice(graph, ids, chosen, tests, tuple(problems.warnings), removed)


def _chosen_tests(project: Project, jobs: Jobs, ids: Collection[str]) -> Iterator[ChosenTests]:
    specs: list[JobSpec | SourceSpec] = [*project.sources.values(), *jobs.values()]
    for spec in specs:
        owner = ChosenTests(spec, frozenset()).owner
        names = frozenset(test.name for test in spec.tests if test_id(owner, test.name) in ids)
        if names:
            yield ChosenTests(spec, names)


def nothing_selected() -> UsageError:
    return UsageError("BF920", "Nothing is selected.", hint="`batchforge ls` lists all jobs and their tags.")


def check_job(name: str, jobs: Jobs) -> None:
    """
    Raises:
        UsageError: BF903 there is no such job.
    """
    if name not in jobs:
        hint = did_you_mean(name, jobs) or f"Jobs here: {', '.join(jobs) or 'none'}."
        raise UsageError("BF903", f"There is no job `{name}`.", hint=hint)


def check_enabled(name: str, jobs: Jobs) -> None:
    """Whoever names a job expects it to run; a glob or a tag just passes over it.

    Raises:
        UsageError: BF903 there is no such job, BF904 it is disabled.
    """
    check_job(name, jobs)
    if not jobs[name].enabled:
        hint = f"Set `enabled: true` in {jobs[name].path}."
        raise UsageError("BF904", f"The job `{name}` is disabled.", hint=hint)


def _selection(jobs: Jobs, wanted: Wanted, selectors: Selectors, problems: ProblemList) -> Selection:
    if wanted.selector is not None:
        if wanted.names or wanted.select or wanted.exclude:
            hint = f"Write --select selector:{wanted.selector}, which goes with all other words."
            problems.warn("BF924", "--selector stands alone: no other word is looked at.", hint=hint)
        return find_selector(wanted.selector, Facts(selectors=selectors.by_name))
    if not wanted.is_anything and selectors.default is not None:
        return selectors.by_name[selectors.default]
    for name in wanted.names:
        if _NAME.fullmatch(name):
            check_enabled(name, jobs)
    return parse_selection((*wanted.select, *wanted.names), wanted.exclude)


def _facts(project: Project, jobs: Jobs, wanted: Wanted, selection: Selection, selectors: Selectors) -> Facts:
    """What the words ask for, and no more: only `state:` and `git:` read files, only `result:` the last run."""
    criteria = list(criteria_of(selection, selectors.by_name))
    methods = {each.method for each in criteria}
    if methods.isdisjoint(("state", "result", "git")):
        return Facts(selectors=selectors.by_name)
    from batchforge.selection.comparing import compare
    from batchforge.selection.job_facts import project_facts
    from batchforge.selection.previous import read_previous, read_results

    now = project_facts(project, jobs)
    return Facts(
        changes=compare(read_previous(project, _required_state(wanted)), now) if "state" in methods else None,
        results=read_results(project, wanted.state) if "result" in methods else None,
        touched=_touched(project, now, criteria),
        selectors=selectors.by_name,
    )


def _required_state(wanted: Wanted) -> str:
    if wanted.state is None:
        hint = "Add --state FOLDER (with the manifest.json of a run) or --state main (a branch, tag or commit)."
        raise UsageError("BF922", "`state:` needs something to compare with.", hint=hint)
    return wanted.state


def _touched(project: Project, now: ProjectFacts, criteria: Sequence[Criterion]) -> dict[str, frozenset[str]]:
    from batchforge.selection.previous import changed_since

    touched = {}
    for name in {each.value for each in criteria if each.method == "git"}:
        changed = set(changed_since(project, name))
        touched[name] = frozenset(job for job, facts in now.jobs.items() if not changed.isdisjoint(facts.files))
    return touched
