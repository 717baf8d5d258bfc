"""What the commands share that look things up: the job they are asked about, and how their lines are printed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import load_files
from batchforge.commands.running import Chosen


def choose_job(job_name: str, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> Chosen:
    """One job by its name, also a disabled one: what it was asked before can still be looked up.

    Raises:
        ProjectError: the project's files are wrong. UsageError: there is no such target or job.
    """
    from batchforge.selection.choosing import check_job

    project, jobs, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    check_job(job_name, jobs)
    return Chosen(project, project.target(target_name), [jobs[job_name]], jobs)


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
