"""`batchforge history JOB --key K`: every answer that a row ever had."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from batchforge.commands.looking import choose_job, print_lines
from batchforge.commands.options import output_option, project_options, target_option


@click.command(name="history")
@click.argument("job_name", metavar="JOB")
@click.option("--key", required=True, metavar="KEY", help="The row's key.")
@target_option
@project_options
@output_option
def command(
    job_name: str, key: str, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str
) -> None:
    """Show every answer that a row ever had: its request, commit, model, batch, tokens, price, who ran it, and when."""
    from batchforge.lookup.found_text import history_lines
    from batchforge.lookup.states import looking_into
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    chosen = choose_job(job_name, target_name, project_dir, cli_vars)
    with looking_into(chosen.project, chosen.target) as looker:
        past = looker.history(job_name, chosen.target.name, key)
    if output == "json":
        click.echo(to_json([asdict(entry) for entry in past]))
    else:
        print_lines(history_lines(past, terminal_columns()))
