"""`batchforge resume`: go on with the last run that did not end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import lock_timeout_option, money_options, no_wait_option, running_options
from batchforge.commands.running import asker, choose, end, end_all, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="resume")
@running_options
@click.option("--all", "is_all", is_flag=True, help="Every run that did not end, the oldest first; none is no error.")
@lock_timeout_option
@no_wait_option
@money_options
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    is_all: bool,
    no_wait: bool,
    lock_timeout_s: float,
    max_cost_usd: float | None,
    yes: bool,
) -> None:
    """Go on with the last run that did not end: send what it had planned and not sent, wait, write the outputs.

    Sends nothing that the run had not planned: where prompts or rows have changed since, it refuses.
    """
    from batchforge import pipeline
    from batchforge.running.run_options import RunOptions

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    options = RunOptions(
        lock_timeout_s=lock_timeout_s, wait=not no_wait, max_cost_usd=max_cost_usd, yes=yes, ask=asker()
    )
    keep_manifest(chosen)
    arguments = (chosen.project, chosen.jobs, chosen.target, options)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        if is_all:
            summaries = pipeline.resume_all(*arguments, listen=progress)
        else:
            summaries = [pipeline.resume(*arguments, listen=progress)]
    if is_all:
        end_all(summaries, output)
    else:
        end(summaries[0], output)
