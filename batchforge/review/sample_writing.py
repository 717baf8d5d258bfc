"""A project's jobs -> the files of samples/ as they should be, to be written or to be compared with what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from batchforge.config.job_files import JOBS_FOLDER
from batchforge.errors import Location, Problem, ProblemList, ProjectError
from batchforge.inputs import read_input
from batchforge.project import Project
from batchforge.requests.compiler import CompiledJob
from batchforge.requests.request import MessageRequest
from batchforge.results import Learnt
from batchforge.review.prompt_pages import page_path, prompt_page
from batchforge.review.samples import SAMPLES_FOLDER, SampleSet, read_samples, samples_path, settled
from batchforge.row_shapes import InputRow
from batchforge.running.compiling import compile_jobs
from batchforge.running.run_options import RunOptions
from batchforge.snapshots.snapshot_inputs import readable_input
from batchforge.spec import JobSpec
from batchforge.target import Target
from batchforge.targets import read_state
from batchforge.whole_file import replace_file


@dataclass(frozen=True, slots=True)
class Written:
    path: str
    is_changed: bool


def write_prompts(
    project: Project, jobs: Sequence[JobSpec], target: Target, *, rows: int | None = None, whole_project: bool = True
) -> list[Written]:
    """Render each job's prompt with its sample rows; with `rows`, so many of them are taken anew from its data.

    Raises:
        ProjectError: a job, its data or its samples are wrong.
    """
    written = []
    for job in jobs:
        _settle(project, job.name)
        if rows is not None:
            samples = _sampled(project, job, target, rows)
            written.append(_replace(project, samples.path, samples.to_text(job.name)))
    written += [_replace(project, path, text) for path, text in prompt_pages(project, jobs, target).items()]
    for path in left_over(project) if whole_project else ():
        (project.root / path).unlink()
        written.append(Written(path, True))
    return written


def check_prompts(project: Project, jobs: Sequence[JobSpec], target: Target, *, whole_project: bool = True) -> None:
    """
    Raises:
        ProjectError: BF311 a file is not what `write_prompts` would write.
    """
    problems = ProblemList()
    for path, text in prompt_pages(project, jobs, target).items():
        if not project.tree.exists(path):
            problems.items.append(_stale(path, "is missing"))
        elif (found := project.tree.read_text(path)) != text:
            problems.items.append(_stale(path, "is not what the prompt is now", _first_difference(found, text)))
    for path in left_over(project) if whole_project else ():
        problems.items.append(_stale(path, "belongs to no job"))
    problems.raise_if_any()


def prompt_pages(project: Project, jobs: Sequence[JobSpec], target: Target) -> Mapping[str, str]:
    """Path -> text, for each job."""
    problems = ProblemList()
    compiled = compile_jobs(project, jobs, target, RunOptions(), problems, rows_of=partial(_sample_rows, project))
    problems.raise_if_any()
    return {page_path(job.spec.name): prompt_page(job, _requests(job)) for job in compiled}


def left_over(project: Project) -> list[str]:
    """Files of samples/ that we wrote for jobs that are gone."""
    names = {PurePosixPath(path).stem for path in project.tree.glob(f"{JOBS_FOLDER}/**/*")}
    paths = project.tree.glob(f"{SAMPLES_FOLDER}/*.md") + project.tree.glob(f"{SAMPLES_FOLDER}/*.jsonl")
    own = [path for path in paths if path.rpartition("/")[2].rpartition(".")[0] not in names]
    return [path for path in own if _is_ours(project.tree.read_text(path))]


def _is_ours(text: str) -> bool:
    return "Written by `batchforge prompts write`" in text[:500] or '"samples_of"' in text[:200]


def _sample_rows(project: Project, job: JobSpec) -> partial[Iterator[InputRow]]:
    samples = read_samples(project.tree, job.name)
    return partial(samples.read) if samples else partial(_no_rows)


def _no_rows() -> Iterator[InputRow]:
    return iter(())


def _requests(job: CompiledJob) -> list[MessageRequest]:
    return [row for row in job.requests() if isinstance(row, MessageRequest)]


def _sampled(project: Project, job: JobSpec, target: Target, rows: int) -> SampleSet:
    """So many rows, always the same ones of the same data, and what state has learnt from the job's results."""
    if job.input.refs:
        message = f"The rows of `{job.name}` are answers of {', '.join(job.input.refs)}, not files to sample from."
        raise ProjectError("BF312", message, hint="Leave the job out: its page shows what all rows share.")
    read = partial(read_input, readable_input(job.input, project, target, job.vars), project.tree, job.vars)
    chosen = [(row.key, row.values) for row in islice(read(sample=rows), rows)]
    return SampleSet(samples_path(job.name), sum(1 for _ in read()), _learnt(project, job, target), chosen)


def _learnt(project: Project, job: JobSpec, target: Target) -> Learnt:
    """From the state that is here, else what the samples say already."""
    with read_state(project, target) as state:
        learnt = state.learnt(job.name, job.model, job.mode or target.mode or "batch") if state else Learnt()
    known = read_samples(project.tree, job.name)
    return learnt if learnt.results or known is None else known.learnt


def _settle(project: Project, job: str) -> None:
    path = samples_path(job)
    if project.tree.exists(path):
        text = project.tree.read_text(path)
        if settled(text) != text:
            _replace(project, path, settled(text))


def _replace(project: Project, path: str, text: str) -> Written:
    data, local = text.encode(), project.tree.local_path(path)
    is_changed = not local.exists() or local.read_bytes() != data
    if is_changed:
        replace_file(local, data)
    return Written(path, is_changed)


def _first_difference(found: str, wanted: str) -> int:
    lines = zip(found.split("\n"), wanted.split("\n"), strict=False)
    return next((number for number, (one, other) in enumerate(lines, 1) if one != other), 1)


def _stale(path: str, what: str, line: int = 1) -> Problem:
    hint = "`batchforge prompts write`, and commit what it writes. It needs no data and costs nothing."
    return Problem("BF311", f"{path} {what}.", Location(path, line), hint)
