"""`batchforge state`: make the state, look into it, move it, export it, prune it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from batchforge.commands.erase import erase
from batchforge.commands.options import load_files, output_option, project_options, target_option
from batchforge.commands.state_places import doctor, init, locks, migrate, unlock

if TYPE_CHECKING:
    from batchforge.execution.remote_deletion import DeletedFiles
    from batchforge.state.sql_state import SqlState


@click.group(name="state")
def command() -> None:
    """Make the state, look into it, move it, export it, prune it."""


for each in (erase, init, migrate, doctor, locks, unlock):
    command.add_command(each)


@command.command(name="show")
@target_option
@project_options
@output_option
def show(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Show where the state is, whose answers it holds, and how many."""
    from batchforge.terminal.report import printable_lines, to_json

    with _opened(target_name, project_dir, cli_vars, read_only=True) as state:
        value: dict[str, Any] = {
            "url": state.url,
            "origin": str(state.origin() or ""),
            "size_bytes": state.size_bytes(),
            **state.counts(),
        }
    if output == "json":
        click.echo(to_json(value))
    else:
        click.echo(
            printable_lines(
                [
                    f"{name}: {count:,}" if isinstance(count, int) else f"{name}: {count}"
                    for name, count in value.items()
                ]
            )
        )


@command.command(name="export")
@target_option
@project_options
def export(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> None:
    """Print every stored answer with its request, one line of JSON each."""
    from batchforge.state.maintenance import export_answers

    with _opened(target_name, project_dir, cli_vars, read_only=True) as state:
        for value in export_answers(state):
            click.echo(json.dumps(value, ensure_ascii=False))


@command.command(name="prune")
@target_option
@project_options
@output_option
@click.option("--older-than", metavar="AGE", help="E.g. 90d or 12h. Default: the target's retention_days, else 90d.")
@click.option("--yes", is_flag=True, help="Remove it; without this it is only counted.")
def prune(
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
    older_than: str | None,
    yes: bool,
) -> None:
    """Remove answers that serve no row any more, and uploaded documents that were not used for as long.

    Says first what that would be.
    """
    from dataclasses import asdict

    from batchforge.clock import SystemClock
    from batchforge.execution.remote_deletion import DeletedFiles, unused_files
    from batchforge.state import maintenance
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import size_words

    before = _before(older_than or _retention(target_name, project_dir, cli_vars))
    with _opened(target_name, project_dir, cli_vars, read_only=not yes) as state:
        found = maintenance.prune(state, before) if yes else maintenance.find_prunable(state, before)
        files = unused_files(state, before, SystemClock().now())
        emulated = _forget_emulated(target_name, project_dir, cli_vars, state) if yes else 0
    deleted = _delete_files(target_name, project_dir, cli_vars, files) if yes and files else DeletedFiles(files)
    if output == "json":
        facts = asdict(found) | {"files": len(deleted.file_ids), "files_failure": deleted.failure, "removed": yes}
        facts["emulator_bytes"] = emulated
        click.echo(to_json(facts))
        return
    verb, files_removed = "Removed" if yes else "Would remove", f"{len(deleted.file_ids):,} uploaded files"
    click.echo(
        f"{verb} {found.answers:,} answers ({found.billed_answers:,} of them paid) of {found.requests:,} requests, "
        f"and {found.runs:,} runs, from before {before[:10]}; and {files_removed} from the API."
    )
    if emulated:
        click.echo(f"Removed {size_words(emulated)} that the emulator had kept of what it was sent.")
    if deleted.failure:
        click.echo(f"Not all files could be deleted; run this again. {deleted.failure}", err=True)
    if not yes and found.answers:
        click.echo("If one of these requests is asked again, it is paid again. --yes removes them.")


def _forget_emulated(
    target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], state: SqlState
) -> int:
    """Bytes that were removed."""
    from batchforge.lookup.emulated import emulated_memory, forget_emulated

    project, _, _ = load_files(project_dir, cli_vars)
    target = project.target(target_name)
    files = [file for path in emulated_memory(project, target) for file in (path, *path.glob("*")) if file.is_file()]
    size_bytes = sum(file.stat().st_size for file in files)
    return size_bytes if forget_emulated(project, target, state) else 0


def _delete_files(
    target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], files: Sequence[str]
) -> DeletedFiles:
    from batchforge.execution.remote_deletion import delete_files
    from batchforge.targets import open_target

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    with open_target(project, project.target(target_name)) as opened:
        return delete_files(opened.state, opened.files, files)


@command.command(name="recover")
@target_option
@project_options
@output_option
def recover(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Read our batches of the last 29 days back from the API, for a state that was lost or that never knew them.

    Costs nothing. What is recovered is reused by the next run, as if it had been stored all along.
    """
    from dataclasses import asdict

    from batchforge.pipeline import recover_batches
    from batchforge.terminal.report import to_json

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    found = recover_batches(project, project.target(target_name))
    if output == "json":
        click.echo(to_json(asdict(found)))
        return
    click.echo(f"Recovered {found.answers:,} results of {found.batches:,} batches.")
    if found.in_progress:
        click.echo(f"{found.in_progress:,} batches are in progress; run this again when they have ended.")
    if found.unreadable:
        click.echo(f"Not readable now: {', '.join(found.unreadable)}. Run this again.")


@command.command(name="import")
@click.argument("file", type=click.File("rb"))
@target_option
@project_options
def import_(file: BinaryIO, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> None:
    """Take the answers of an export (`state export > FILE`) into the state. A second time changes nothing."""
    from batchforge.pipeline import import_answers

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    read, stored = import_answers(project, project.target(target_name), file)
    click.echo(f"Read {read:,} answers, {stored:,} of them new.")


@contextmanager
def _opened(
    target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], *, read_only: bool
) -> Iterator[SqlState]:
    from batchforge.targets import existing_state

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    state = existing_state(project, project.target(target_name), read_only=read_only)
    try:
        yield state
    finally:
        state.close()


def _retention(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> str:
    project, _, _ = load_files(project_dir, cli_vars)
    return f"{project.target(target_name).retention_days or 90}d"


def _before(age: str) -> str:
    from datetime import timedelta

    from batchforge.clock import SystemClock, iso
    from batchforge.errors import UsageError

    match = re.fullmatch(r"(\d+)([dh])", age)
    if match is None:
        raise UsageError("BF909", f"--older-than `{age}` is not an age.", hint="Write days or hours: 90d, 12h.")
    span = timedelta(days=int(match[1])) if match[2] == "d" else timedelta(hours=int(match[1]))
    return iso(SystemClock().now() - span)
