"""`batchforge run`: send what is missing, wait for it, write outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import Sending, running_options, sending_options
from batchforge.commands.running import asker, choose, deferral_of, end, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.planning.plan_file import SavedPlan
    from batchforge.selection.choosing import Wanted


@click.command(name="run")
@running_options
@sending_options
@click.option(
    "--plan",
    "plan_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send only what this plan, made by `batchforge plan --out`, approved; refuse if more would be sent.",
)
@click.option(
    "--resend-and-risk-paying-twice",
    "resend_uncertain",
    is_flag=True,
    help="Send batches again whose acceptance is uncertain, without waiting for them to appear.",
)
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    sending: Sending,
    plan_path: Path | None,
    resend_uncertain: bool,
) -> None:
    """Send what is missing, wait for it, and write the outputs.

    Rows that were answered before are not asked again, whatever file they stand in.
    """
    from batchforge import pipeline
    from batchforge.planning.plan_file import read_plan

    saved = read_plan(plan_path) if plan_path else None
    if saved is not None:
        wanted = wanted if wanted.says_which else replace(wanted, names=tuple(saved.jobs))
        sending = _as_planned(sending, saved)
    chosen = choose(wanted, project_dir, cli_vars, target_name)
    deferral = deferral_of(chosen, wanted.state, is_wanted=sending.defer)
    if deferral is None and saved is not None:
        deferral = saved.options.deferral
    options = sending.run_options(saved_plan=saved, resend_uncertain=resend_uncertain, deferral=deferral, ask=asker())
    keep_manifest(chosen)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.run(chosen.project, chosen.jobs, chosen.target, options, listen=progress)
    end(summary, output)


def _as_planned(sending: Sending, saved: SavedPlan) -> Sending:
    """The rows that the plan was made for, where nothing else is said."""
    planned = saved.options
    return replace(
        sending,
        full_refresh=sending.full_refresh or planned.full_refresh,
        limit=planned.limit if sending.limit is None else sending.limit,
        sample=planned.sample if sending.sample is None else sending.sample,
    )
