"""`batchforge test`: test outputs again; sends nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import junit_option, output_option, project_options, selection_options, target_option
from batchforge.commands.running import choose, end_empty

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
    """Run tests on the outputs that are there, and on sources: those that are named, and those of what is selected.

    Nothing is sent, and it costs nothing.

    Failing rows are stored in target/<target>/test_failures/.
    """
    from batchforge import pipeline
    from batchforge.terminal.junit import write_junit
    from batchforge.terminal.report import to_json
    from batchforge.terminal.terminal import wants_color
    from batchforge.terminal.test_text import lines_of_tests

    chosen = choose(wanted, project_dir, cli_vars, target_name, with_tests=True)
    if not chosen.tests:
        end_empty(wanted, "Nothing to do: nothing that is selected has tests.")
    summary = pipeline.test(chosen.project, chosen.tests, chosen.target)
    if junit_path is not None:
        write_junit(junit_path, summary, chosen.project.name)
    if output == "json":
        click.echo(to_json(summary.to_json()))
    else:
        for line in lines_of_tests(summary.jobs, chosen.project.root, color=wants_color(sys.stdout)):
            click.echo(line)
    click.get_current_context().exit(summary.exit_code)
