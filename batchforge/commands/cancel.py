"""`batchforge cancel`: ask the API to stop what is in flight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import running_options
from batchforge.commands.running import choose, telling


@click.command(name="cancel")
@running_options
def command(
    job_names: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
) -> None:
    """Ask the API to cancel the batches that are in flight.

    What was answered before is billed and is not lost: `batchforge collect` keeps it.
    """
    from batchforge import pipeline
    from batchforge.terminal.report import counted, to_json

    chosen = choose(job_names, select, exclude, project_dir, cli_vars, target_name)
    with telling(quiet) as progress:
        batch_ids = pipeline.cancel(chosen.project, chosen.jobs, chosen.target, listen=progress)
    if output == "json":
        click.echo(to_json({"canceled": batch_ids}))
    elif batch_ids:
        click.echo(f"Asked to cancel {counted(len(batch_ids), 'batch')}. `batchforge collect` keeps what was answered.")
    else:
        click.echo("Nothing is in flight.")
