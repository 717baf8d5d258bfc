"""`batchforge test`: test outputs again; sends nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import junit_option, output_option, project_options, selection_options, target_option
from batchforge.commands.running import choose

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="test")
@selection_options
@target_option
@project_options
@output_option
@junit_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    junit_path: Path | None,
) -> None:
    """Run the tests of jobs on the outputs that are there, and those of sources that they read.

    Nothing is sent, and it costs nothing.

    Failing rows are stored in target/<target>/test_failures/.
    """
    from batchforge import pipeline
    from batchforge.terminal.junit import write_junit
    from batchforge.terminal.report import to_json
    from batchforge.terminal.terminal import wants_color
    from batchforge.terminal.test_text import lines_of_tests

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    summary = pipeline.test_jobs(chosen.project, chosen.jobs, chosen.target)
    if junit_path is not None:
        write_junit(junit_path, summary, chosen.project.name)
    if output == "json":
        click.echo(to_json(summary.to_json()))
    elif not summary.jobs:
        click.echo("Nothing to do: no job that was chosen has tests.")
    else:
        for line in lines_of_tests(summary.jobs, chosen.project.root, color=wants_color(sys.stdout)):
            click.echo(line)
    click.get_current_context().exit(summary.exit_code)
