"""`batchforge find ID`: whose a custom_id, request, batch, message or run is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.looking import print_lines
from batchforge.commands.options import load_files, output_option, project_options, target_option

if TYPE_CHECKING:
    pass


@click.command(name="find")
@click.argument("found_id", metavar="ID")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many rows.")
@target_option
@project_options
@output_option
def command(
    found_id: str,
    limit: int,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Find a custom_id, batch, message, API request or run: its job, rows, run, commit and result.

    Looks into the states of all targets, or of the one that --target names. Asks nobody.
    """
    from batchforge.lookup.found_text import found_json, found_lines
    from batchforge.lookup.states import find_in
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    found = find_in(project, target_name, found_id, limit)
    if output == "json":
        click.echo(to_json(found_json(found)))
    else:
        print_lines(found_lines(found, terminal_columns()))
