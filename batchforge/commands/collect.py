"""`batchforge collect`: fetch what is in flight and write outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import running_options, submitted_rows_option
from batchforge.commands.running import choose, end, telling, telling_what_goes_on


@click.command(name="collect")
@running_options
@click.option("--wait", is_flag=True, help="Wait until everything has ended.")
@submitted_rows_option
def command(
    job_names: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    wait: bool,
    submitted_rows: bool,
) -> None:
    """Fetch what is in flight, from any process, and write the outputs that are complete.

    Never sends a request that costs. Ends with 3 while something is still in flight.
    """
    from batchforge import pipeline
    from batchforge.running.run_options import RunOptions

    chosen = choose(job_names, select, exclude, project_dir, cli_vars, target_name)
    options = RunOptions(submitted_rows=submitted_rows)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.collect(chosen.project, chosen.jobs, chosen.target, options, wait=wait, listen=progress)
    end(summary, output)
