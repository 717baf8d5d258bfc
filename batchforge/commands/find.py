"""`batchforge find ID`: whose a custom_id, request, batch, message or run is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.looking import print_lines
from batchforge.commands.options import load_files, output_option, project_options, target_option

if TYPE_CHECKING:
    from batchforge.lookup.finding import Found
    from batchforge.project import Project


@click.command(name="find")
@click.argument("found_id", metavar="ID")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many rows.")
@target_option
@project_options
@output_option
def command(
    found_id: str,
    limit: int,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Find a custom_id, batch, message or run: its job, rows, run, commit and result.

    Looks into the states of all targets, or of the one that --target names. Asks nobody.
    """
    from batchforge.errors import UsageError
    from batchforge.lookup.found_text import found_json, found_lines
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    names = [project.target(target_name).name] if target_name else _all_targets(project)
    found, left_out = _look(project, names, found_id, limit)
    if found is None:
        looked = ", ".join(name for name in names if name not in left_out) or "no target"
        hint = "; ".join(f"{name} was left out: {reason}" for name, reason in left_out.items())
        hint = hint or "Ids are bf1_… (custom_id), msgbatch_…, msg_…, or a run's as `batchforge runs` lists them."
        raise UsageError("BF940", f"Nothing is known of `{found_id}` in the state of {looked}.", hint=hint)
    if output == "json":
        click.echo(to_json(found_json(found)))
    else:
        print_lines(found_lines(found, terminal_columns()))


def _all_targets(project: Project) -> list[str]:
    """The default target first."""
    return sorted(project.targets, key=lambda name: (name != project.default_target, name))


def _look(project: Project, names: list[str], found_id: str, limit: int) -> tuple[Found | None, dict[str, str]]:
    """What the first state that knows the id says, and the targets whose state could not be read, with the reason."""
    from batchforge.errors import BatchForgeError
    from batchforge.lookup.finding import StateLooker
    from batchforge.targets import read_state

    left_out: dict[str, str] = {}
    for name in names:
        try:
            with read_state(project, project.targets[name]) as state:
                found = StateLooker(state).find(found_id, limit) if state else None
        except BatchForgeError as exc:
            left_out[name] = exc.problems[0].message
            continue
        if found is not None:
            return found, left_out
    return None, left_out
