"""A small project whose job reads a query or a remote file, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchforge import pipeline
from batchforge.project import Project
from batchforge.snapshots.fetching import Fetched
from batchforge.spec import JobSpec
from tests.project_files import lines_of, load, write_files

ORDERS = "id,region,amount\n1,north,10.50\n2,south,7\n3,north,1.25\n"
PROJECT = """\
name: shop
version: 1
targets:
  local: {type: emulator}
sources:
  orders: {file: data/orders.csv}
vars: {region: north}
defaults: {model: claude-haiku-5-5, max_tokens: 400}
"""
JOB = 'user: "{{ row | json }}"\n'


def write_shop(
    root: Path, job_input: str, *, project: str = "", files: Mapping[str, str | bytes] | None = None
) -> Path:
    """`job_input` is the value of the job's `input`; `project` is put at the end of batchforge.yml."""
    return write_files(
        root,
        {
            "batchforge.yml": PROJECT + project,
            "jobs/summarise.yml": f"input: {job_input}\n{JOB}",
            "data/orders.csv": ORDERS,
            **(files or {}),
        },
    )


def loaded(root: Path, **cli_vars: Any) -> tuple[Project, JobSpec]:
    project, jobs, problems = load(root, **cli_vars)
    assert not problems, lines_of(problems)
    return project, jobs["summarise"]


def fetched(root: Path, **cli_vars: Any) -> Fetched:
    project, job = loaded(root, **cli_vars)
    (found,) = pipeline.fetch(project, [job], project.target())
    assert isinstance(found, Fetched)
    return found


def rows(root: Path, **cli_vars: Any) -> list[dict[str, Any]]:
    """The job's rows, read from its snapshot."""
    from batchforge.clock import SystemClock
    from batchforge.inputs import read_input
    from batchforge.snapshots.snapshot_inputs import with_snapshots

    project, job = loaded(root, **cli_vars)
    spec = with_snapshots(job.input, project, project.target(), job.vars, SystemClock().now())
    return [row.values for row in read_input(spec, project.tree, job.vars)]


def fetched_rows(root: Path, **cli_vars: Any) -> list[dict[str, Any]]:
    fetched(root, **cli_vars)
    return rows(root, **cli_vars)
