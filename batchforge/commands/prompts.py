"""`batchforge prompts`: rendered prompts as files to commit, so that a review shows them without any bot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import project_options, selection_options, target_option
from batchforge.commands.running import choose

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.group(name="prompts")
def command() -> None:
    """Write prompts as they are sent into samples/, one page a job, and check that they are fresh."""


@command.command(name="write")
@selection_options
@target_option
@project_options
@click.option(
    "--with-rows",
    "rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take N sample rows of each job from its data; they are committed with the page, so mind what they hold.",
)
def write_command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    rows: int | None,
) -> None:
    """Write samples/JOB.md with each job's rendered prompt.

    Without --with-rows the sample rows that are there are rendered again: that needs no data. The same project gives
    the same bytes.
    """
    from batchforge.review.sample_writing import write_prompts

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    is_whole = not wanted.is_anything
    written = write_prompts(chosen.project, chosen.jobs, chosen.target, rows=rows, whole_project=is_whole)
    changed = [file for file in written if file.is_changed]
    for file in changed:
        removed = "" if (chosen.project.root / file.path).exists() else "removed "
        click.echo(f"{removed}{file.path}")
    if not changed:
        click.echo(f"{len(written)} files, all fresh")


@command.command(name="check")
@selection_options
@target_option
@project_options
def check_command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
) -> None:
    """End with an error where samples/ is not what `prompts write` would write."""
    from batchforge.review.sample_writing import check_prompts

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    check_prompts(chosen.project, chosen.jobs, chosen.target, whole_project=not wanted.is_anything)
    click.echo(f"{len(chosen.jobs)} {'page' if len(chosen.jobs) == 1 else 'pages'} fresh")
