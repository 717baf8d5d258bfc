"""`batchforge show JOB`: one row with its request and answer, or the rows of the last run with a status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchforge.commands.looking import choose_job, print_lines
from batchforge.commands.options import output_option, project_options, target_option

_STATUSES = (
    *("answered", "rejected", "invalid", "truncated", "refused", "thinking_only", "context_exceeded", "empty"),
    *("paused", "errored", "expired", "canceled", "blocked", "pending"),
)


@click.command(name="show")
@click.argument("job_name", metavar="JOB")
@click.option("--key", metavar="KEY", help="Only the row with this key, with its request and answer in full.")
@click.option(
    "--status",
    type=click.Choice(_STATUSES),
    metavar="STATUS",
    help="Only rows with this status, e.g. truncated or refused; `rejected`: all without an answer that counts.",
)
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many rows.")
@target_option
@project_options
@output_option
def command(
    job_name: str,
    key: str | None,
    status: str | None,
    limit: int,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Show rows of the last run: what was asked, what came back, what it cost. Asks nobody."""
    from batchforge.lookup.found_text import row_json, row_lines, rows_lines
    from batchforge.lookup.states import looking_into
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    chosen = choose_job(job_name, target_name, project_dir, cli_vars)
    with looking_into(chosen.project, chosen.target) as looker:
        if key is not None:
            view = looker.row(chosen.jobs[0], chosen.target.name, key)
            if output == "json":
                click.echo(to_json(row_json(view)))
            else:
                print_lines(row_lines(view, terminal_columns()))
            return
        views = looker.rows(chosen.jobs[0], chosen.target.name, status, limit)
    if output == "json":
        click.echo(to_json([row_json(view) for view in views]))
    elif views:
        print_lines(rows_lines(views, terminal_columns()))
    else:
        click.echo(f"No row of the last run of {job_name}{f' is {status}' if status else ''}.")
