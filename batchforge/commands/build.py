"""`batchforge build`: run jobs and test their outputs, each as soon as what it needs is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import Sending, junit_option, running_options, sending_options
from batchforge.commands.running import asker, choose, deferral_of, end, keep_manifest, telling, telling_what_goes_on

if TYPE_CHECKING:
    from batchforge.selection.choosing import Wanted


@click.command(name="build")
@running_options
@sending_options
@junit_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    quiet: bool,
    sending: Sending,
    junit_path: Path | None,
) -> None:
    """Run jobs and test their outputs, in the order in which they need each other.

    A job whose rows or tests fail stops only those that need it. What was answered before is not asked again.
    """
    from batchforge import pipeline
    from batchforge.terminal.build_text import render_build
    from batchforge.terminal.junit import write_junit

    chosen = choose(wanted, project_dir, cli_vars, target_name, with_tests=True)
    deferral = deferral_of(chosen, wanted.state, is_wanted=sending.defer)
    options = sending.run_options(command="build", tests=chosen.tests, deferral=deferral, ask=asker())
    keep_manifest(chosen)
    with telling(quiet) as progress, telling_what_goes_on(chosen):
        summary = pipeline.run(chosen.project, chosen.jobs, chosen.target, options, listen=progress)
    if junit_path is not None:
        write_junit(junit_path, summary, chosen.project.name)
    end(summary, output, render_build)
