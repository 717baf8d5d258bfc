"""tests/*.sql -> tests of jobs: queries over outputs whose rows are what is wrong.

`{{ output('job') }}` stands for a job's output, `{{ config(severity='warn') }}` sets what stands beside a test in YAML.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from batchforge.config.job_tests import with_own_names
from batchforge.errors import BatchForgeError, Location, ProblemList
from batchforge.graph import JobGraph, job_hint
from batchforge.nearest import did_you_mean
from batchforge.source_tree import SourceTree
from batchforge.spec import AssertionSpec, JobSpec
from batchforge.tables.duck import quoted_name
from batchforge.testing.thresholds import parse_threshold

if TYPE_CHECKING:
    from jinja2 import Environment

PATTERN = "tests/*.sql"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SEVERITIES = ("error", "warn")
_CONFIG = ("severity", "warn_if", "error_if", "limit", "description")
Jobs = Mapping[str, JobSpec]


def with_tests_placed(
    jobs: Jobs, names: Collection[str], graph: JobGraph, tree: SourceTree, problems: ProblemList
) -> dict[str, JobSpec]:
    """The jobs with the tests of tests/ among theirs, each with the last job that it reads, and with what they read.

    `names` are of all jobs, also of those that are not among `jobs` because something is wrong with them.
    """
    own = {
        name: [placed for test in job.tests if (placed := _placed(test, name, jobs, graph)) is not None]
        for name, job in jobs.items()
    }
    _check_judges(jobs, names, problems)
    for path in _paths(tree, problems):
        test = _read(path, tree, jobs, names, problems)
        if test is not None and test.reads:
            owner = max(test.reads, key=lambda name: _rank(name, graph))
            others = {name: output for name, output in test.reads.items() if name != owner}
            own[owner].append(_timed(replace(test, reads=others), owner, graph))
    return {
        name: replace(job, tests=with_own_names(own[name], problems)) if own[name] else job
        for name, job in jobs.items()
    }


def _rank(name: str, graph: JobGraph) -> tuple[int, str]:
    """A job stands behind all that it needs."""
    return len(graph.ancestors(name)), name


def _check_judges(jobs: Jobs, names: Collection[str], problems: ProblemList) -> None:
    for test in (test for job in jobs.values() for test in job.tests if test.kind == "judge"):
        judge = test.args["job"]
        if judge not in names:
            problems.add("BF180", f"There is no job `{judge}`.", location=test.location, hint=job_hint(judge, jobs))


def _placed(test: AssertionSpec, owner: str, jobs: Jobs, graph: JobGraph) -> AssertionSpec | None:
    if test.kind != "judge":
        return test
    judge = jobs.get(test.args["job"])
    return None if judge is None else _timed(replace(test, reads={judge.name: judge.output}), owner, graph)


def _timed(test: AssertionSpec, owner: str, graph: JobGraph) -> AssertionSpec:
    return replace(test, is_late=not test.reads.keys() <= graph.ancestors(owner))


def _paths(tree: SourceTree, problems: ProblemList) -> list[str]:
    try:
        return tree.glob(PATTERN)
    except BatchForgeError as exc:
        problems.extend(exc)
        return []


@dataclass(slots=True)
class _Settings:
    """What a file says of itself while it is rendered."""

    reads: dict[str, None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def output(self, job: str) -> str:
        self.reads[str(job)] = None
        return quoted_name(str(job))

    def set_config(self, **settings: Any) -> str:
        self.config |= settings
        return ""


def _read(
    path: str, tree: SourceTree, jobs: Jobs, names: Collection[str], problems: ProblemList
) -> AssertionSpec | None:
    from jinja2 import TemplateError

    name, place = path.rpartition("/")[2].removesuffix(".sql"), Location(path)
    if not _NAME.fullmatch(name):
        hint = "Rename the file: letters, digits, - and _."
        problems.add("BF192", f"`{name}` cannot be a test's name.", location=place, hint=hint)
        return None
    said = _Settings()
    try:
        text = tree.read_text(path)
        sql = _environment(said).from_string(text).render()
    except BatchForgeError as exc:
        problems.extend(exc)
        return None
    except (TemplateError, TypeError) as exc:
        place = Location(path, getattr(exc, "lineno", None))
        hint = "Write {{ output('job') }} where a job's output is meant."
        problems.add("BF192", f"The test cannot be read: {exc}", location=place, hint=hint)
        return None
    return _checked(AssertionSpec("sql", name, {"sql": sql}, location=place), said, text, jobs, names, problems)


def _environment(said: _Settings) -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"output": said.output, "config": said.set_config}
    return environment


def _checked(
    test: AssertionSpec, said: _Settings, text: str, jobs: Jobs, names: Collection[str], problems: ProblemList
) -> AssertionSpec | None:
    before = len(problems.errors)
    for name in said.reads:
        if name not in names:
            place = _place(test, text, name)
            problems.add("BF180", f"There is no job `{name}`.", location=place, hint=job_hint(name, jobs))
    if not said.reads:
        hint = "Write FROM {{ output('job') }}."
        problems.add("BF192", "The test reads no job's output.", location=test.location, hint=hint)
    for name, value in said.config.items():
        if reason := _why_not(name, value):
            hint = did_you_mean(name, _CONFIG) or f"A test takes {', '.join(_CONFIG)}."
            problems.add("BF192", reason, location=_place(test, text, name), hint=hint)
    if len(problems.errors) > before:
        return None
    return replace(test, reads={name: jobs[name].output for name in said.reads if name in jobs}, **said.config)


def _why_not(name: str, value: Any) -> str:
    """What is wrong with a setting; empty where nothing is."""
    if name not in _CONFIG:
        return f"`{name}` is not a setting of a test."
    if name == "severity" and value not in _SEVERITIES:
        return f"`severity` must be error or warn, but is `{value}`."
    if name == "limit" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        return f"`limit` must be a number of rows, but is `{value}`."
    if name in ("warn_if", "error_if"):
        try:
            parse_threshold(str(value))
        except ValueError as exc:
            return f"`{name}`: {exc}."
    return ""


def _place(test: AssertionSpec, text: str, word: str) -> Location:
    """The first line that holds a word."""
    assert test.location is not None
    lines = text.split("\n")
    number = next((number for number, line in enumerate(lines, 1) if word in line), 1)
    return Location(test.location.path, number, None, lines[number - 1])
