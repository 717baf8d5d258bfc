"""`batchforge collect`: fetch what is in flight and write outputs."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.durations import Duration
from batchforge.commands.options import lock_timeout_option, running_options, submitted_rows_option
from batchforge.commands.running import choose, end, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="collect")
@running_options
@click.option(
    "--wait",
    "wait_s",
    type=Duration(),
    is_flag=False,
    flag_value=inf,
    metavar="[TIME]",
    help="Wait until everything has ended, or for at most so long, e.g. 30m.",
)
@click.option("--all", "with_disabled", is_flag=True, help="Also jobs that are disabled by now.")
@lock_timeout_option
@submitted_rows_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    wait_s: float | None,
    with_disabled: bool,
    lock_timeout_s: float,
    submitted_rows: bool,
) -> None:
    """Fetch what is in flight, from any process, and write the outputs that are complete.

    Never sends a request that costs. Ends with 3 while something is still in flight, and tells when it is expected.
    """
    from batchforge import pipeline
    from batchforge.running.run_options import RunOptions

    chosen = choose(wanted, project_dir, cli_vars, target_name, with_disabled=with_disabled)
    options = RunOptions(submitted_rows=submitted_rows, lock_timeout_s=lock_timeout_s)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.collect(
            chosen.project,
            chosen.jobs,
            chosen.target,
            options,
            wait=wait_s is not None,
            within_s=None if wait_s in (None, inf) else wait_s,
            listen=progress,
        )
    end(summary, output)
