"""Two revisions of a project -> `ProjectDiff`: what the change asks anew and what that costs. Offline, read only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from batchforge.claude_models import PriceTable
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.events import Listener, ignore
from batchforge.inputs import read_input
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob, PartHashes, RowReader, compile_job
from batchforge.review.answer_values import RowAnswers
from batchforge.review.answers_diff import Labels
from batchforge.review.diff_values import JobDiff, ProjectDiff
from batchforge.review.gates import check_gates
from batchforge.review.git_base import Revision, find_base, find_head
from batchforge.review.git_objects import Repository
from batchforge.review.job_pairs import renamed
from batchforge.review.job_review import JobSide, Pair, ReviewSettings, review_job
from batchforge.review.samples import SampleSet
from batchforge.review.sides import Side, open_base, open_head, raise_if_not_here
from batchforge.row_shapes import InputRow
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.running.upstream import Upstream, deferring
from batchforge.selection.choosing import Wanted, choose, nothing_selected
from batchforge.selection.deferral import find_deferral
from batchforge.snapshots.snapshot_inputs import readable_input
from batchforge.spec import JobSpec
from batchforge.state.records import StateReader
from batchforge.target import Mode, Target
from batchforge.targets import state_if_told
from batchforge.terminal.report import EMULATED_NOTICE


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    base: str | None = None
    """A branch or commit; the merge base with it is compared with. None: the branch that the change is meant for."""
    head: str | None = None
    """None: the work tree."""
    wanted: Wanted = field(default_factory=Wanted)
    target: str | None = None
    cli_vars: Mapping[str, Any] = field(default_factory=dict)
    allow_unknown_model: bool = False
    shown_rows: int = 3
    labels: Labels | None = None
    """What is right; None: as the job's own test of accuracy says."""
    cluster: str = ""
    """A column: rows that share its value count as one, as far as chance goes."""
    sample: int | None = None
    """So many changed rows of each job are asked, on both sides, where answers are missing. Costs money."""
    asks_twice: bool = False
    """Whether the older side is asked a second time, to see what changes by chance."""
    mode: Mode = "sync"
    """How rows are asked: at once, or at half the price and within hours."""
    max_cost_usd: float | None = None
    yes: bool = False
    defer: bool = False
    """Jobs that have no answers on the target give those of `wanted.state`."""
    uses_state: bool = True
    """False: as where there is none, since what is there cannot be reached."""
    ask: Callable[[str], bool] | None = None
    """Asks a person; None where nobody is there."""
    fail_on: tuple[tuple[str, float | bool], ...] = ()
    """Rules besides those of `review: fail_on:`, of which the older side's hold too."""
    listen: Listener = ignore
    each_answer: Callable[[str, RowAnswers], None] | None = None
    """Given the job and each row that has a result on both sides."""


def review(root: Path, options: ReviewOptions, environment: Mapping[str, str] = os.environ) -> ProjectDiff:
    """What a change does.

    Raises:
        ProjectError: BF170-BF175 the older side cannot be found; or the newer side's files or rows are wrong.
        UsageError: there is no such job or target.
    """
    with ExitStack() as stack:
        repository = stack.enter_context(Repository(root))
        head = find_head(repository, options.head)
        base = find_base(repository, head, options.base, environment)
        new = stack.enter_context(open_head(root, repository, head, options.cli_vars))
        old = stack.enter_context(open_base(root, repository, base, head, options.cli_vars, new.rows))
        compared = _Review(base, head, old, new, options)
        if options.sample is None:
            return compared.with_gates(compared.compare())
        first = _Review(base, head, old, new, replace(options, each_answer=None))
        paid_usd = first.ask(first.compare())
        return compared.with_gates(replace(compared.compare(), paid_usd=paid_usd))


class _Review:
    def __init__(self, base: Revision, head: Revision, old: Side, new: Side, options: ReviewOptions) -> None:
        assert new.project is not None
        self.base, self.head, self.old, self.new, self.options = base, head, old, new, options
        self.project: Project = new.project
        self.target = self.project.target(options.target)
        self.problems = ProblemList()
        self.notes: list[str] = []
        self.upstream = Upstream({}, self.target.name)
        self.pairs: list[Pair] = []
        self.deferral = find_deferral(self.project, options.wanted.state) if options.defer else None

    def compare(self) -> ProjectDiff:
        chosen = self._chosen()
        prices = self.project.price_table(self.target)
        with ExitStack() as stack:
            state = stack.enter_context(self._state())
            self.upstream = Upstream({**self.old.jobs, **self.new.jobs}, self.target.name, state=state)
            stack.enter_context(deferring(self.project, self.target, self.deferral, self.upstream))
            self.pairs = self._pairs(chosen)
            self.problems.raise_if_any()
            settings = self._settings(state, prices)
            jobs = self._all_reviewed(self.pairs, settings)
            if self.target.type == "emulator" and any(job.answers for job in jobs):
                self.notes.append(EMULATED_NOTICE)
            return ProjectDiff(
                project=self.project.name,
                target=self.target.name,
                base=self.base,
                head=self.head,
                jobs=sorted(jobs, key=lambda job: job.job),
                has_state=state is not None,
                prices_as_of=prices.as_of.isoformat(),
                problems=self.problems.warnings,
                notes=self.notes,
                target_changes=_target_changes(self.old.project, self.project),
            )

    def _state(self) -> AbstractContextManager[StateReader | None]:
        if not self.options.uses_state:
            return nullcontext()
        return state_if_told(self.project, self.target, self.problems)

    def with_gates(self, diff: ProjectDiff) -> ProjectDiff:
        """A rule that the change itself relaxes or removes still holds for it."""
        sides = [self.project.fail_on, self.old.project.fail_on if self.old.project else {}]
        rules = [rule for rules in sides for rule in rules.items()]
        return replace(diff, gates=check_gates(diff, [*rules, *self.options.fail_on]))

    def ask(self, diff: ProjectDiff) -> float:
        """What it cost. Answers are kept: a later run does not pay for them again."""
        from batchforge.review.asking import AskedJob, ask_both_sides

        wanted = self.options
        keys = {job.job: job.keys_to_ask for job in diff.jobs}
        jobs = [
            AskedJob(pair.old.compiled, pair.new.compiled, keys[pair.new.compiled.spec.name])
            for pair in self.pairs
            if pair.old and pair.new and keys.get(pair.new.compiled.spec.name)
        ]
        if not jobs:
            return 0.0
        options = RunOptions(max_cost_usd=wanted.max_cost_usd, yes=wanted.yes, ask=wanted.ask, mode=wanted.mode)
        project = replace(self.project, tree=self.new.rows)
        with deferring(project, self.target, self.deferral, self.upstream):
            return ask_both_sides(
                project, self.target, self.upstream, jobs, options, asks_twice=wanted.asks_twice, listen=wanted.listen
            )

    def _settings(self, state: StateReader | None, prices: PriceTable) -> ReviewSettings:
        options = self.options
        return ReviewSettings(
            target=self.target.name,
            state=state,
            prices=prices,
            shown_rows=options.shown_rows,
            wanted_keys=options.sample or 0,
            labels=options.labels,
            cluster=options.cluster,
            each_answer=options.each_answer,
        )

    def _chosen(self) -> set[str]:
        both = {**self.old.jobs, **self.new.jobs}
        wanted = self.options.wanted
        choice = choose(self.project, both, wanted)
        self.problems.items += choice.warnings
        if not choice.jobs and wanted.on_empty == "fail":
            raise nothing_selected()
        disabled = {name for name, job in both.items() if not job.enabled and not wanted.is_anything}
        return {job.name for job in choice.jobs} | disabled

    # ---- pairs

    def _pairs(self, chosen: set[str]) -> list[Pair]:
        names: dict[str, str | None] = {name: name if name in self.old.jobs else None for name in self.new.jobs}
        names.update(self._renamed())
        pairs = [self._pair(before, now) for now, before in names.items() if now in chosen or before in chosen]
        gone = [name for name in self.old.jobs if name not in names.values() and name in chosen]
        return [*(pair for pair in pairs if pair), *(pair for name in gone if (pair := self._pair(name, None)))]

    def _renamed(self) -> dict[str, str]:
        gone = {name: spec for name, spec in self.old.jobs.items() if name not in self.new.jobs}
        added = {name: spec for name, spec in self.new.jobs.items() if name not in self.old.jobs}
        if not gone or not added:
            return {}
        return renamed(_with_parts(gone, self.old.project), _with_parts(added, self.project))

    def _pair(self, before: str | None, now: str | None) -> Pair | None:
        spec = self.new.jobs[now] if now else self.old.jobs[before or ""]
        side = self.new if now else self.old
        has_rows = side.has_files(spec) and all(map(self.upstream.has_rows, spec.input.refs))
        samples = None if has_rows else self._samples(before, now)
        new = self._compiled(self.new, now, samples, has_rows=has_rows) if now else None
        if now and new is None:
            return None  # what is wrong with it is in `problems`
        old = self._compiled(self.old, before, samples, has_rows=has_rows) if before else None
        if now and now in self.old.broken:
            self.notes.append(f"{now} cannot be read at the base, so it counts as new: {self.old.broken[now]}")
        return Pair(old, new, samples, has_rows) if old or new else None

    def _samples(self, before: str | None, now: str | None) -> SampleSet | None:
        found = self.new.samples(now) if now else None
        return found or (self.old.samples(before) if before else None)

    def _compiled(self, side: Side, name: str, samples: SampleSet | None, *, has_rows: bool) -> JobSide | None:
        assert side.project is not None
        is_new = side is self.new
        found = ProblemList()
        options = RunOptions(allow_unknown_model=self.options.allow_unknown_model or not is_new)
        target = self.target if is_new else side.project.targets.get(self.target.name, self.target)
        rows_of = partial(self._rows_of, side, target, samples, has_rows=has_rows)
        jobs = compile_jobs(side.project, [side.jobs[name]], target, options, found, rows_of=rows_of)
        if is_new:
            self.problems.items += found.items
        elif not jobs:
            problem = found.errors[0]
            raise_if_not_here([problem])
            self.notes.append(f"{name} cannot be compiled at the base, so it counts as new: {problem.message}")
        return JobSide(jobs[0], side.project.tree, side.rows) if jobs else None

    def _rows_of(
        self, side: Side, target: Target, samples: SampleSet | None, spec: JobSpec, *, has_rows: bool
    ) -> RowReader:
        """Answers of other jobs are those that state holds now, and snapshots those that are here, on both sides."""
        if has_rows and side.project is not None:
            rows = readable_input(spec.input, side.project, target, spec.vars)
            return partial(read_input, rows, side.rows, spec.vars, upstream=self.upstream.rows)
        return samples.read if samples else _no_rows

    # ---- jobs

    def _all_reviewed(self, pairs: Sequence[Pair], settings: ReviewSettings) -> list[JobDiff]:
        """Jobs before those that read their rows."""
        by_name = {pair.shown.compiled.spec.name: pair for pair in pairs}
        done: dict[str, JobDiff] = {}

        def visit(name: str) -> None:
            if name in done or name not in by_name:
                return
            parents = by_name[name].shown.compiled.spec.input.refs
            for parent in parents:
                visit(parent)
            anew = tuple(parent for parent in parents if parent in done and done[parent].is_asked_anew)
            done[name] = self._reviewed(replace(by_name[name], upstream=anew), settings)

        for name in by_name:
            visit(name)
        return list(done.values())

    def _reviewed(self, pair: Pair, settings: ReviewSettings) -> JobDiff:
        try:
            return review_job(pair, settings)
        except BatchForgeError as exc:
            if pair.old is None or pair.new is None or exc.problems[0].code == "BF174":
                raise
            diff = review_job(Pair(None, pair.new, pair.samples, pair.has_rows), settings)  # raises where the head is
            name = pair.new.compiled.spec.name
            self.notes.append(f"{name} cannot be rendered at the base, so it counts as new: {exc.problems[0].message}")
            return diff


def _no_rows() -> Iterator[InputRow]:
    return iter(())


def _with_parts(jobs: Mapping[str, JobSpec], project: Project | None) -> dict[str, tuple[JobSpec, PartHashes]]:
    assert project is not None
    found = {}
    for name, spec in jobs.items():
        compiled = _compiled_quietly(spec, project, _no_rows)
        if compiled is not None:
            found[name] = (spec, compiled.parts)
    return found


def _compiled_quietly(spec: JobSpec, project: Project, rows: Callable[[], Iterator[InputRow]]) -> CompiledJob | None:
    try:
        return compile_job(spec, project.tree, rows)
    except BatchForgeError:
        return None


def _target_changes(old: Project | None, new: Project) -> list[str]:
    if old is None:
        return []
    words = []
    for name in sorted({*old.targets, *new.targets}):
        before, after = old.targets.get(name), new.targets.get(name)
        if before is None or after is None:
            words.append(f"{name}: {'added' if before is None else 'removed'}")
        else:
            words += [f"{name}: {setting}" for setting in _edited_settings(before, after)]
    if old.default_target != new.default_target:
        words.append(f"default_target: {old.default_target} → {new.default_target}")
    return words


def _edited_settings(before: Target, after: Target) -> list[str]:
    names = sorted({*before.settings, *after.settings})
    return [name for name in names if before.settings.get(name) != after.settings.get(name)]
