"""`batchforge cancel`: ask the API to stop what is in flight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import running_options
from batchforge.commands.running import choose, telling

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="cancel")
@running_options
@click.option("--run", "run_id", metavar="RUN_ID", help="Only what this run has sent.")
@click.option("--job", "more_jobs", multiple=True, metavar="JOB", help="Only of this job. Can be given several times.")
@click.option("--batch", "batch_ids", multiple=True, metavar="ID", help="Only this batch. Can be given several times.")
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    run_id: str | None,
    more_jobs: tuple[str, ...],
    batch_ids: tuple[str, ...],
) -> None:
    """Ask the API to cancel the batches that are in flight.

    What was answered before is billed and is not lost: `batchforge collect` keeps it. Without an option it is
    everything of the jobs that are named, or of all.
    """
    from batchforge import pipeline
    from batchforge.terminal.report import counted, to_json

    wanted = replace(wanted, names=(*wanted.names, *more_jobs))
    chosen = choose(wanted, project_dir, cli_vars, target_name, with_disabled=True)
    cancellation = pipeline.Cancellation(run_id, batch_ids)
    with telling(quiet) as progress:
        canceled = pipeline.cancel(chosen.project, chosen.jobs, chosen.target, cancellation, listen=progress)
    if output == "json":
        click.echo(to_json({"canceled": canceled}))
    elif canceled:
        click.echo(f"Asked to cancel {counted(len(canceled), 'batch')}. `batchforge collect` keeps what was answered.")
    else:
        click.echo("Nothing is in flight.")
