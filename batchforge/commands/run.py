"""`batchforge run`: send what is missing, wait for it, write outputs."""

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
    narrowing_options,
    no_fetch_option,
    no_wait_option,
    running_options,
    submitted_rows_option,
    unknown_model_option,
)
from batchforge.commands.running import asker, choose, end, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="run")
@running_options
@narrowing_options
@click.option("--empty", is_flag=True, help="Without any rows: everything is checked, and the output stays.")
@graph_options
@mode_option
@lock_timeout_option
@no_wait_option
@click.option("--full-refresh", is_flag=True, help="Ask every row again and pay again. Old answers are kept.")
@submitted_rows_option
@click.option(
    "--plan",
    "plan_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send only what this plan, made by `batchforge plan --out`, approved; refuse if more would be sent.",
)
@money_options
@no_fetch_option
@click.option(
    "--resend-and-risk-paying-twice",
    "resend_uncertain",
    is_flag=True,
    help="Send batches again whose acceptance is uncertain, without waiting for them to appear.",
)
@unknown_model_option
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
    lock_timeout_s: float,
    full_refresh: bool,
    submitted_rows: bool,
    plan_path: Path | None,
    max_cost_usd: float | None,
    yes: bool,
    no_fetch: bool,
    resend_uncertain: bool,
    allow_unknown_model: bool,
) -> None:
    """Send what is missing, wait for it, and write the outputs.

    Rows that were answered before are not asked again, whatever file they stand in.
    """
    from batchforge import pipeline
    from batchforge.planning.decisions import Resend
    from batchforge.planning.plan_file import read_plan
    from batchforge.running.run_options import RunOptions

    saved = read_plan(plan_path) if plan_path else None
    if saved is not None:
        wanted = wanted if wanted.says_which else replace(wanted, names=tuple(saved.jobs))
        full_refresh = full_refresh or saved.options.full_refresh
        limit = saved.options.limit if limit is None else limit
        sample = saved.options.sample if sample is None else sample
    chosen = choose(wanted, project_dir, cli_vars, target_name)
    options = RunOptions(
        lock_timeout_s=lock_timeout_s,
        resend=Resend.ALL if full_refresh else Resend.NOTHING_PAID,
        limit=0 if empty else limit,
        sample=sample,
        threads=threads,
        fail_fast=fail_fast,
        defer_to=defer_to,
        mode=mode,
        wait=not no_wait,
        submitted_rows=submitted_rows,
        resend_uncertain=resend_uncertain,
        saved_plan=saved,
        max_cost_usd=max_cost_usd,
        yes=yes,
        fetch=not no_fetch,
        ask=asker(),
        allow_unknown_model=allow_unknown_model,
    )
    keep_manifest(chosen)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.run(chosen.project, chosen.jobs, chosen.target, options, listen=progress)
    end(summary, output)
