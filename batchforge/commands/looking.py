"""What the commands share that look things up: the state of a target, and how their lines are printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import load_files
from batchforge.commands.running import Chosen

if TYPE_CHECKING:
    from batchforge.lookup.finding import StateLooker
    from batchforge.project import Project
    from batchforge.target import Target


def choose_job(job_name: str, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> Chosen:
    """One job by its name, also a disabled one: what it was asked before can still be looked up.

    Raises:
        ProjectError: the project's files are wrong. UsageError: there is no such target or job.
    """
    from batchforge.selection import check_job

    project, jobs, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    check_job(job_name, jobs)
    return Chosen(project, project.target(target_name), [jobs[job_name]])


@contextmanager
def looking_into(project: Project, target: Target) -> Iterator[StateLooker]:
    """
    Raises:
        UsageError: BF908 nothing was run against the target yet.
    """
    from batchforge.lookup.finding import StateLooker
    from batchforge.targets import read_state

    with read_state(project, target) as state:
        if state is None:
            raise no_state(target)
        yield StateLooker(state)


def no_state(target: Target) -> Exception:
    from batchforge.errors import UsageError

    return UsageError("BF908", f"There is no state of target `{target.name}` yet.", hint="The first run makes it.")


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
