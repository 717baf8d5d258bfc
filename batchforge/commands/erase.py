"""`batchforge state erase JOB`: rows, and all that was asked and answered for them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.looking import choose_job, print_lines
from batchforge.commands.options import keys_option, output_option, project_options, target_option
from batchforge.commands.running import Chosen

if TYPE_CHECKING:
    from batchforge.execution.remote_deletion import Deleted
    from batchforge.lookup.erasing import Erasure


@click.command(name="erase")
@click.argument("job_name", metavar="JOB")
@keys_option
@click.option("--where", metavar="CONDITION", help="Rows for which this SQL condition over their columns holds.")
@click.option(
    "--delete-remote", is_flag=True, help="Also delete, at the API, the batches and uploaded documents that hold them."
)
@click.option("--yes", is_flag=True, help="Erase it; without this it is only counted.")
@target_option
@project_options
@output_option
def erase(
    job_name: str,
    keys: tuple[str, ...],
    where: str | None,
    delete_remote: bool,
    yes: bool,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Erase rows of a job: their requests, answers, and rows in outputs; and say what cannot be reached.

    E.g. --where "customer_id = 7", or --key 4711.
    """
    from batchforge.errors import UsageError

    if bool(keys) == (where is not None):
        hint = 'E.g. --where "customer_id = 7", or --key 4711.'
        raise UsageError("BF944", "Say which rows: either --key or --where.", hint=hint)
    chosen = choose_job(job_name, target_name, project_dir, cli_vars)
    found = _erase(chosen, keys, where, yes)
    deleted = _delete_remote(chosen, found) if yes and delete_remote else None
    _print(found, deleted, yes, output)


def _erase(chosen: Chosen, keys: tuple[str, ...], where: str | None, yes: bool) -> Erasure:
    from batchforge.clock import SystemClock
    from batchforge.lookup.erasing import Eraser
    from batchforge.targets import existing_state

    state = existing_state(chosen.project, chosen.target, read_only=not yes)
    try:
        eraser = Eraser(chosen.project, chosen.jobs[0], chosen.target, state, SystemClock())
        wanted = set(keys) if where is None else eraser.keys_where(where)
        found = eraser.survey(wanted, by_condition=where is not None)
        if yes:
            eraser.erase(found)
        return found
    finally:
        state.close()


def _delete_remote(chosen: Chosen, found: Erasure) -> Deleted:
    from batchforge.execution.remote_deletion import delete_batches, delete_files
    from batchforge.targets import open_target

    ids = [batch.batch_id for batch in found.held_batches if batch.target == chosen.target.name]
    with open_target(chosen.project, chosen.target) as opened:
        files = delete_files(opened.state, opened.files, found.state.uploaded_files)
        deleted = delete_batches(opened.state, opened.backend, ids)
    failures = {**deleted.failures, "files": files.failure} if files.failure else deleted.failures
    return replace(deleted, failures=failures, file_ids=files.file_ids)


def _print(found: Erasure, deleted: Deleted | None, is_done: bool, output: str) -> None:
    from batchforge.lookup.erasure_text import erasure_lines
    from batchforge.terminal.report import to_json

    if output == "json":
        value = asdict(found)
        value["state"].pop("custom_ids")
        at_api = [*deleted.batch_ids, *deleted.file_ids] if deleted else []
        click.echo(to_json(value | {"erased": is_done, "deleted_at_api": at_api}))
        return
    print_lines(erasure_lines(found, is_done=is_done, deleted=deleted))
