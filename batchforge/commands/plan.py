"""`batchforge plan`: what a run would send, why, and what it costs; offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from batchforge.commands.options import (
    defer_option,
    mode_option,
    narrowing_options,
    project_options,
    selection_options,
    target_option,
    unknown_model_option,
)
from batchforge.commands.running import choose, deferral_of

if TYPE_CHECKING:
    from batchforge.commands.running import Chosen
    from batchforge.pipeline import ProjectPlan
    from batchforge.selection.choosing import Wanted


@click.command(name="plan")
@selection_options
@narrowing_options
@target_option
@project_options
@click.option(
    "--output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="Text for people, one JSON value, or a Markdown table.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Save it for `run --plan`."
)
@click.option(
    "--include-bodies", is_flag=True, help="Put every request into the saved plan, prompts and rows included."
)
@click.option("--why", "why_key", metavar="KEY", help="Tell for one row why it is sent or not, with what changed.")
@click.option("--full-refresh", is_flag=True, help="Plan to ask every row again.")
@defer_option
@click.option("--no-state", is_flag=True, help="Plan as if nothing was ever sent, where the state cannot be reached.")
@mode_option
@click.option("--no-wait", is_flag=True, help="Plan for `run --no-wait`, in which no row can be sent ahead.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 10 where a run would change something.")
@click.option("--exact", is_flag=True, help="Ask the API to count the tokens of a few requests; needs a key, is free.")
@unknown_model_option
def command(
    wanted: Wanted,
    limit: int | None,
    sample: int | None,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    out: Path | None,
    include_bodies: bool,
    why_key: str | None,
    full_refresh: bool,
    defer: bool,
    no_state: bool,
    mode: Literal["batch", "sync"] | None,
    no_wait: bool,
    detailed_exitcode: bool,
    exact: bool,
    allow_unknown_model: bool,
) -> None:
    """Show what a run would send, why each row is sent, and what it would cost.

    Needs no network and no key, and writes nothing but the file that --out names.
    """
    from batchforge import pipeline
    from batchforge.planning.decisions import Resend
    from batchforge.planning.plan_values import has_changes
    from batchforge.running.run_options import RunOptions
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.terminal import wants_color

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    options = RunOptions(
        resend=Resend.ALL if full_refresh else Resend.NOTHING_PAID,
        limit=limit,
        sample=sample,
        mode=mode,
        deferral=deferral_of(chosen, wanted.state, is_wanted=defer),
        wait=not no_wait,
        uses_state=not no_state,
        allow_unknown_model=allow_unknown_model,
        looks_at_rows=why_key is not None,
        count_exactly=exact,
        command="plan",
    )
    with pipeline.plan(chosen.project, chosen.jobs, chosen.target, options) as planned:
        if planned.warnings:
            click.echo(render_problems(planned.warnings, color=wants_color(sys.stderr)) + "\n", err=True)
        if out is not None:
            _save(out, planned, include_bodies)
        click.echo(_why(planned, chosen, why_key, output) if why_key else _rendered(planned, chosen, output))
        changes = has_changes(planned.plans) or bool(planned.waiting)
    click.get_current_context().exit(10 if changes and detailed_exitcode else 0)


def _save(out: Path, planned: ProjectPlan, bodies: bool) -> None:
    from batchforge.terminal.report import to_json
    from batchforge.whole_file import replace_file

    document = planned.document(bodies=bodies)
    replace_file(out, (to_json(document) + "\n").encode())
    click.echo(
        f"Saved as {out}, plan {document['plan_hash'][:12]}. `batchforge run --plan {out}` keeps to it.", err=True
    )


def _rendered(planned: ProjectPlan, chosen: Chosen, output: str) -> str:
    from batchforge.planning.plan_values import render_markdown, render_plan
    from batchforge.terminal.report import printable_lines, to_json

    if output == "json":
        return to_json(planned.document())
    has_state = planned.state is not None
    if output == "markdown":
        return render_markdown(
            planned.plans, planned.notes, planned.waiting, target=chosen.target.name, has_state=has_state
        )
    lines = render_plan(planned.plans, planned.notes, planned.waiting, target=chosen.target.name, has_state=has_state)
    return printable_lines(lines)


def _why(planned: ProjectPlan, chosen: Chosen, key: str, output: str) -> str:
    from dataclasses import asdict

    from batchforge.errors import UsageError
    from batchforge.planning.why import explain_row
    from batchforge.terminal.report import printable_lines, to_json

    found = [
        (plan.job, explain_row(plan, row, planned.state, chosen.target.name))
        for plan in planned.plans
        for row in plan.rows()
        if row.row.key == key
    ]
    if found and output == "json":
        return to_json([{"job": job, **asdict(why)} for job, why in found])
    if found:
        lines = [[f"{job} {key} ({why.place}): {why.action}, {why.reason}", *why.diff] for job, why in found]
        return printable_lines([line for each in lines for line in each])
    raise UsageError("BF907", f"no job has a row with the key `{key}`.", hint="`batchforge render JOB` shows keys.")
