"""`batchforge adopt`: a person's word that a batch belongs to an uncertain attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import load_files, project_options, target_option


@click.command(name="adopt")
@click.argument("batch_id", metavar="BATCH_ID")
@target_option
@project_options
def command(batch_id: str, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> None:
    """Take a batch for the uncertain attempt that sent it.

    Its count must be the attempt's, and its custom_ids are checked once they can be read.
    """
    from batchforge.execution import recovery
    from batchforge.targets import open_target

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    with open_target(project, project.target(target_name)) as opened:
        attempt = recovery.adopt(opened.state, opened.backend, batch_id)
    click.echo(
        f"{batch_id} is taken for attempt {attempt.attempt_id} of {attempt.job} ({attempt.request_count:,} requests). "
        "`batchforge collect` fetches its results."
    )
