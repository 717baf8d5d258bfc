"""`batchforge try JOB`: a few real answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import (
    defer_options,
    keys_option,
    lock_timeout_option,
    money_options,
    no_fetch_option,
    output_option,
    project_options,
    target_option,
    telling_options,
    unknown_model_option,
)
from batchforge.commands.running import asker, choose_enabled_job, deferral_of, telling


@click.command(name="try")
@click.argument("job_name", metavar="JOB")
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="How many rows.")
@keys_option
@target_option
@project_options
@output_option
@telling_options
@lock_timeout_option
@money_options
@no_fetch_option
@defer_options
@unknown_model_option
def command(
    job_name: str,
    limit: int,
    keys: tuple[str, ...],
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    lock_timeout_s: float,
    max_cost_usd: float | None,
    yes: bool,
    no_fetch: bool,
    defer: bool,
    state: str | None,
    allow_unknown_model: bool,
) -> None:
    """Ask for a few rows at once and show the answers beside their inputs, with their price.

    The answers are kept: `batchforge run` does not pay for them again. No output file is written.
    Ends with 1 where a row has no answer, with 3 where one is in flight already.
    """
    from batchforge import pipeline
    from batchforge.lookup.tried_text import try_lines
    from batchforge.running.run_options import RunOptions
    from batchforge.terminal.report import EMULATED_NOTICE, to_json
    from batchforge.terminal.text_layout import terminal_columns

    chosen = choose_enabled_job(job_name, project_dir, cli_vars, target_name)
    options = RunOptions(
        limit=None if keys else limit,
        keys=keys,
        lock_timeout_s=lock_timeout_s,
        max_cost_usd=max_cost_usd,
        yes=yes,
        fetch=not no_fetch,
        ask=asker(),
        deferral=deferral_of(chosen, state, is_wanted=defer),
        allow_unknown_model=allow_unknown_model,
    )
    with telling(quiet) as progress:
        summary = pipeline.try_rows(chosen.project, chosen.jobs[0], chosen.target, options, listen=progress)
    if output == "json":
        click.echo(to_json(summary.to_json()))
    else:
        notice = ["", EMULATED_NOTICE] if summary.is_emulated and summary.rows else []
        click.echo("\n".join([*try_lines(summary, terminal_columns()), *notice]))
    click.get_current_context().exit(summary.exit_code)
