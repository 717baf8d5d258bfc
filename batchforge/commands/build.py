"""`batchforge build`: run jobs and test their outputs, each as soon as what it needs is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from batchforge.commands.options import graph_options, mode_option, narrowing_options, no_fetch_option, running_options
from batchforge.commands.running import asker, choose, end, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="build")
@running_options
@narrowing_options
@click.option("--empty", is_flag=True, help="Without any rows: everything is checked, and the output stays.")
@graph_options
@mode_option
@click.option("--no-wait", is_flag=True, help="Submit and end; `batchforge resume` goes on later.")
@click.option("--full-refresh", is_flag=True, help="Ask every row again and pay again. Old answers are kept.")
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(min=0), metavar="USD", help="What the run may cost.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever it costs.")
@no_fetch_option
@click.option(
    "--junit",
    "junit_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the results of tests as JUnit's XML.",
)
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    limit: int | None,
    sample: int | None,
    empty: bool,
    threads: int | None,
    fail_fast: bool,
    defer_to: str | None,
    mode: Literal["batch", "sync"] | None,
    no_wait: bool,
    full_refresh: bool,
    max_cost_usd: float | None,
    yes: bool,
    no_fetch: bool,
    junit_path: Path | None,
) -> None:
    """Run jobs and test their outputs, in the order in which they need each other.

    A job whose rows or tests fail stops only those that need it. What was answered before is not asked again.
    """
    from batchforge import pipeline
    from batchforge.planning.decisions import Resend
    from batchforge.running.run_options import RunOptions
    from batchforge.terminal.build_text import render_build
    from batchforge.terminal.junit import write_junit

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    options = RunOptions(
        command="build",
        resend=Resend.ALL if full_refresh else Resend.NOTHING_PAID,
        limit=0 if empty else limit,
        sample=sample,
        threads=threads,
        fail_fast=fail_fast,
        defer_to=defer_to,
        mode=mode,
        wait=not no_wait,
        max_cost_usd=max_cost_usd,
        yes=yes,
        fetch=not no_fetch,
        ask=asker(),
    )
    keep_manifest(chosen)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.run(chosen.project, chosen.jobs, chosen.target, options, listen=progress)
    if junit_path is not None:
        write_junit(junit_path, summary, chosen.project.name)
    end(summary, output, render_build)
