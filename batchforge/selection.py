"""`--select` and `--exclude` -> names of jobs. A word is a job's name, a glob, `tag:nightly`, or a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from batchforge.errors import UsageError
from batchforge.nearest import did_you_mean
from batchforge.spec import JobSpec

Jobs = Mapping[str, JobSpec]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One word: which jobs it means by `method` and `value`."""

    word: str
    method: str
    value: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The union of `include` (all jobs, where there is none) without the union of `exclude`."""

    include: tuple[Criterion, ...] = ()
    exclude: tuple[Criterion, ...] = ()


def parse_selection(select: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """Words as given on the command line; one argument may hold several, between spaces."""
    return Selection(_criteria(select), _criteria(exclude))


def select(jobs: Jobs, selection: Selection, *, with_disabled: bool = False) -> list[str]:
    """Names of the selected jobs, in the order of `jobs`. A word that means no job is an error, as is one disabled."""
    chosen = _union(jobs, selection.include) if selection.include else set(jobs)
    chosen -= _union(jobs, selection.exclude)
    if with_disabled:
        return [name for name in jobs if name in chosen]
    _refuse_disabled(jobs, selection.include)
    return [name for name, job in jobs.items() if name in chosen and job.enabled]


def choose(
    jobs: Jobs,
    names: Sequence[str],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    with_disabled: bool = False,
) -> list[JobSpec]:
    """The jobs that are named, and those that `include` means; all of them where nothing is said.

    Raises:
        UsageError: BF903 there is no such job.
    """
    for name in names:
        check_job(name, jobs)
    wanted = parse_selection((*include, *names), exclude)
    return [jobs[name] for name in select(jobs, wanted, with_disabled=with_disabled)]


def check_job(name: str, jobs: Jobs) -> None:
    """
    Raises:
        UsageError: BF903 there is no such job.
    """
    if name not in jobs:
        hint = did_you_mean(name, jobs) or f"Jobs here: {', '.join(jobs) or 'none'}."
        raise UsageError("BF903", f"There is no job `{name}`.", hint=hint)


def _criteria(arguments: Sequence[str]) -> tuple[Criterion, ...]:
    return tuple(_criterion(word) for argument in arguments for word in argument.split())


def _criterion(word: str) -> Criterion:
    method, colon, value = word.partition(":")
    if not colon:
        is_path = "/" in word or word.endswith((".yml", ".yaml"))
        return Criterion(word, "path" if is_path else "name", word)
    if method not in METHODS or not value:
        known = ", ".join(f"{name}:..." for name in METHODS)
        hint = did_you_mean(method, METHODS) or f"A word is a job's name, a glob, or one of {known}."
        raise UsageError("BF902", f"`{word}` does not say which jobs are meant.", hint=hint)
    return Criterion(word, method, value)


def _union(jobs: Jobs, criteria: Sequence[Criterion]) -> set[str]:
    return {name for criterion in criteria for name in _matches(jobs, criterion)}


def _matches(jobs: Jobs, criterion: Criterion) -> list[str]:
    is_match = METHODS[criterion.method]
    found = [name for name, job in jobs.items() if is_match(job, criterion.value)]
    if not found:
        hint = did_you_mean(criterion.value, _known(jobs, criterion.method)) or "`batchforge ls` lists all jobs."
        raise UsageError("BF903", f"`{criterion.word}` selects no job.", hint=hint)
    return found


def _known(jobs: Jobs, method: str) -> set[str]:
    if method == "tag":
        return {tag for job in jobs.values() for tag in job.tags}
    return {job.path for job in jobs.values()} if method == "path" else set(jobs)


def _is_name(job: JobSpec, value: str) -> bool:
    return fnmatchcase(job.name, value)


def _has_tag(job: JobSpec, value: str) -> bool:
    return any(fnmatchcase(tag, value) for tag in job.tags)


def _is_at_path(job: JobSpec, value: str) -> bool:
    path = value.removeprefix("./").rstrip("/")
    return job.path.startswith(f"{path}/") or fnmatchcase(job.path, path)


METHODS: dict[str, Callable[[JobSpec, str], bool]] = {"name": _is_name, "tag": _has_tag, "path": _is_at_path}


def _refuse_disabled(jobs: Jobs, criteria: Sequence[Criterion]) -> None:
    """Whoever names a job expects it to run; a glob or a tag just passes over it."""
    for criterion in criteria:
        job = jobs.get(criterion.value) if criterion.method == "name" else None
        if job is not None and not job.enabled:
            hint = f"Set `enabled: true` in {job.path}."
            raise UsageError("BF904", f"The job `{job.name}` is disabled.", hint=hint)
