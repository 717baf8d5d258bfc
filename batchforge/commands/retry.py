"""`batchforge retry`: a run that also asks failed rows again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from batchforge.commands.options import (
    graph_options,
    lock_timeout_option,
    mode_option,
    money_options,
    no_wait_option,
    running_options,
)
from batchforge.commands.running import asker, choose, deferral_of, end, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="retry")
@running_options
@money_options
@graph_options
@mode_option
@lock_timeout_option
@no_wait_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    max_cost_usd: float | None,
    yes: bool,
    threads: int | None,
    fail_fast: bool,
    defer: bool,
    mode: Literal["batch", "sync"] | None,
    no_wait: bool,
    lock_timeout_s: float,
) -> None:
    """Run again what failed or was skipped, and ask rows once more that were refused, cut, or invalid.

    Without JOB and --select: the jobs that failed when they last ran, that were skipped, or that have failed rows.
    Tests of sources that failed are asked again first. What the run has read by --defer is read again.

    Failures that were paid are asked under a new ordinal and paid again; a plain run never does that.
    """
    from batchforge import pipeline
    from batchforge.planning.decisions import Resend
    from batchforge.running.run_options import RunOptions

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    failed = pipeline.failed_last(chosen.project, chosen.jobs, chosen.tests, chosen.target, is_named=wanted.says_which)
    options = RunOptions(
        lock_timeout_s=lock_timeout_s,
        resend=Resend.FAILED,
        threads=threads,
        fail_fast=fail_fast,
        tests=failed.tests,
        deferral=deferral_of(chosen, wanted.state, is_wanted=True) if defer else failed.deferral,
        mode=mode,
        wait=not no_wait,
        max_cost_usd=max_cost_usd,
        yes=yes,
        ask=asker(),
        command="retry",
    )
    chosen = replace(chosen, jobs=failed.jobs)
    keep_manifest(chosen)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.run(chosen.project, chosen.jobs, chosen.target, options, listen=progress)
    end(summary, output)
