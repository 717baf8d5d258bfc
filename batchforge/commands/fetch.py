"""`batchforge fetch`: snapshots of what the jobs read from databases and object stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import running_options
from batchforge.commands.running import choose, telling

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="fetch")
@running_options
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
) -> None:
    """Ask the databases and object stores that the jobs read from, and keep what they give under target/.

    `compile`, `plan` and `diff` read these snapshots and nothing else; `run` and `try` fetch by themselves. A remote
    file that has not changed is not fetched again.
    """
    from batchforge import pipeline
    from batchforge.terminal.report import printable_lines, to_json

    chosen = choose(wanted, project_dir, cli_vars, target_name)
    with telling(quiet) as progress:
        fetched = pipeline.fetch(chosen.project, chosen.jobs, chosen.target, listen=progress)
    if output == "json":
        click.echo(to_json({"fetched": [each.to_json() for each in fetched]}))
        return
    changed = sum(each.is_changed for each in fetched)
    line = (
        f"{len(fetched):,} fetched, {changed:,} of them changed"
        if fetched
        else "These jobs read nothing from elsewhere."
    )
    click.echo(printable_lines([line]))
