"""Small projects for tests: a working one to begin with, so that a test names only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchforge.config.job_files import load_jobs
from batchforge.errors import Problem, ProblemList
from batchforge.project import Project, load_project
from batchforge.spec import JobSpec

PROJECT = """\
name: support
version: 1
default_target: local
targets:
  local: {type: emulator}
defaults: {model: cheap, max_tokens: 400}
models: {cheap: claude-haiku-5-5, strong: claude-opus-5-5}
lists: {categories: prompts/categories.yml}
"""
JOB = """\
description: One of three categories for each ticket.
tags: [nightly]
input: {file: data/tickets.tsv}
thinking: disabled
system: {file: prompts/classify.md.j2}
user: "<ticket>{{ row.text }}</ticket>"
output:
  fields:
    category: {one_of: categories}
    reason: text
  file: outputs/tickets.parquet
"""
FILES: Mapping[str, str | bytes] = {
    "batchforge.yml": PROJECT,
    "jobs/triage/classify_tickets.yml": JOB,
    "prompts/classify.md.j2": "Classify the ticket.\n",
    "prompts/categories.yml": "billing: the money\nclaim: the damage\nno: neither\n",
}


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def write_project(root: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """The working project, with some files replaced or added."""
    return write_files(root, {**FILES, **(files or {})})


def load(root: Path, **cli_vars: Any) -> tuple[Project, dict[str, JobSpec], list[Problem]]:
    problems = ProblemList()
    project = load_project(root, problems=problems, cli_vars=cli_vars)
    return project, load_jobs(project, problems), problems.items


def load_one(root: Path, settings: str, files: Mapping[str, str | bytes] | None = None, **cli_vars: Any) -> JobSpec:
    """The one job that `settings` makes, in a project without defaults of its own but model and max_tokens."""
    job = {"jobs/triage/classify_tickets.yml": settings}
    _, jobs, problems = load(write_project(root, {**job, **(files or {})}), **cli_vars)
    assert not problems, lines_of(problems)
    (job_spec,) = jobs.values()
    return job_spec


def problems_of(root: Path, files: Mapping[str, str | bytes], **cli_vars: Any) -> list[str]:
    """What is wrong, as the command line says it: code, place, message."""
    return lines_of(load(write_project(root, files), **cli_vars)[2])


def lines_of(problems: list[Problem]) -> list[str]:
    return [f"{p.code} {p.location}: {p.message}" if p.location else f"{p.code} {p.message}" for p in problems]
