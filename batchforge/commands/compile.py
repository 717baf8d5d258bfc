"""`batchforge compile`: render and check every request, offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import (
    defer_option,
    output_option,
    project_options,
    selection_options,
    target_option,
    unknown_model_option,
)
from batchforge.commands.running import choose, deferral_of

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="compile")
@selection_options
@target_option
@project_options
@output_option
@defer_option
@unknown_model_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    defer: bool,
    allow_unknown_model: bool,
) -> None:
    """Render every request and check it; write target/manifest.json and target/compiled/<job>.jsonl.

    Needs no network and no key, and gives the same bytes for the same files.
    """
    from batchforge import pipeline
    from batchforge.errors import ProblemList
    from batchforge.requests.artifacts import write_artifacts
    from batchforge.running.run_options import RunOptions
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.report import printable_lines, to_json
    from batchforge.terminal.terminal import wants_color
    from batchforge.terminal.text_layout import size_words

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    options = RunOptions(
        allow_unknown_model=allow_unknown_model, deferral=deferral_of(chosen, wanted.state, is_wanted=defer)
    )
    problems = ProblemList()
    with pipeline.compiled_offline(chosen.project, chosen.jobs, chosen.target, options) as offline:
        problems.items += offline.warnings
        manifest = write_artifacts(chosen.project, chosen.all_jobs, chosen.target, offline.jobs, problems)
    if problems.warnings:
        click.echo(render_problems(problems.warnings, color=wants_color(sys.stderr)) + "\n", err=True)
    if output == "json":
        click.echo(to_json(manifest))
        return
    lines = [
        f"{name}: {entry['requests']:,} requests, {size_words(entry['request_bytes'])}"
        + (f", {len(entry['blocked_rows']):,} rows blocked" if entry["blocked_rows"] else "")
        for name, entry in manifest["jobs"].items()
        if "requests" in entry
    ]
    click.echo(printable_lines([*lines, f"wrote {chosen.project.manifest_path.relative_to(chosen.project.root)}"]))
