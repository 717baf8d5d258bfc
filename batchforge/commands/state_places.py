"""`batchforge state init | migrate | doctor | locks | unlock`: places of states, and who is at work in them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import load_files, output_option, project_options, target_option

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.state.sql_state import SqlState


@click.command(name="init")
@target_option
@project_options
def init(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> None:
    """Make the target's state, and try whether its store keeps two writers apart. A second time changes nothing."""
    from batchforge.execution.leases import probe
    from batchforge.targets import open_state

    project = _project(project_dir, cli_vars)
    target = project.target(target_name)
    with closing(open_state(project, target)) as state, closing(open_state(project, target)) as other:
        probe(state, other)
        click.echo(f"The state of `{target.name}` is at {state.url}, for answers of {target.origin()}.")


@click.command(name="migrate")
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@project_options
@output_option
def migrate(source: str, destination: str, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Copy the whole of a state into another store, and verify that all of it arrived. FROM stays as it is.

    FROM and TO are targets, or addresses as in `state:`, e.g. sqlite:///.batchforge/state.db; {{ env_var('NAME') }}
    keeps a password out of the command line.
    """
    from batchforge.execution.leases import alone_with
    from batchforge.state.copying import copy_state
    from batchforge.terminal.report import to_json

    project = _project(project_dir, cli_vars)
    with (
        closing(_opened(project, source, is_new=False)) as old,
        closing(_opened(project, destination, is_new=True)) as new,
        alone_with(old, f"migrating to {new.url}"),
    ):
        copied, urls = copy_state(old, new), (old.url, new.url)
    if output == "json":
        click.echo(to_json({"from": urls[0], "to": urls[1], "tables": [asdict(table) for table in copied]}))
        return
    for table in copied:
        click.echo(f"{table.name}: {table.rows:,} rows, sha256 {table.sha256[:16]}")
    click.echo(f"All of {urls[0]} is at {urls[1]}. Now set `state:` of its targets to the new address.")


@click.command(name="doctor")
@target_option
@project_options
@output_option
def doctor(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """See whether the state can be used: reachable, of this schema, undamaged, and fitting together. Changes nothing.

    Ends with 1 where something is wrong.
    """
    from batchforge.state.checkup import find_problems, find_remarks
    from batchforge.state.schema import MIGRATIONS
    from batchforge.targets import existing_state
    from batchforge.terminal.report import to_json

    project = _project(project_dir, cli_vars)
    target = project.target(target_name)
    with closing(existing_state(project, target)) as state:
        problems, remarks = list(find_problems(state)), list(find_remarks(state))
        held = state.origin()
        if held is not None and held != target.origin():
            problems.append(f"it holds answers of {held}, and the target is {target.origin()}")
        facts = {"url": state.url, "schema": state.schema_version(), "newest_schema": len(MIGRATIONS)}
    if output == "json":
        click.echo(to_json({**facts, "problems": problems, "remarks": remarks}))
    else:
        click.echo(f"{facts['url']}: schema {facts['schema']} (this version knows {facts['newest_schema']})")
        for line in [*(f"problem: {each}" for each in problems), *(f"note: {each}" for each in remarks)]:
            click.echo(line)
        click.echo("Nothing is wrong." if not problems else "`batchforge state export` may still read what is there.")
    click.get_current_context().exit(1 if problems else 0)


@click.command(name="locks")
@target_option
@project_options
@output_option
def locks(target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Show who is at work in the state, and until when they have it without a further sign of life."""
    from batchforge.state.sql_leases import holder_words
    from batchforge.targets import existing_state
    from batchforge.terminal.report import to_json

    project = _project(project_dir, cli_vars)
    with closing(existing_state(project, project.target(target_name))) as state:
        leases = state.leases()
    if output == "json":
        click.echo(to_json({"locks": [asdict(lease) for lease in leases]}))
        return
    for lease in leases:
        click.echo(f"{lease.name}: {holder_words(lease)} since {lease.acquired_at}, until {lease.expires_at}")
        click.echo(f"  {lease.purpose}; last sign of life {lease.renewed_at}")
    if not leases:
        click.echo("Nobody is at work.")


@click.command(name="unlock")
@click.argument("name", metavar="LOCK")
@click.option("--yes", is_flag=True, help="Take it away; without this it is only shown.")
@target_option
@project_options
def unlock(name: str, yes: bool, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]) -> None:
    """Take a lock away from a process that is surely gone. What it may still want to write is refused.

    Locks of dead processes end by themselves; `batchforge state locks` shows when.
    """
    from batchforge.state.sql_leases import holder_words
    from batchforge.targets import existing_state

    project = _project(project_dir, cli_vars)
    with closing(existing_state(project, project.target(target_name), read_only=not yes)) as state:
        held = next((lease for lease in state.leases() if lease.name == name), None)
        if held is not None and yes:
            state.break_lease(name)
    if held is None:
        click.echo(f"Nobody holds `{name}`.")
    elif yes:
        click.echo(f"`{name}` was held by {holder_words(held)}; it is free.")
    else:
        click.echo(f"`{name}` is held by {holder_words(held)}: {held.purpose}. --yes takes it away.")


def _project(project_dir: Path | None, cli_vars: dict[str, Any]) -> Project:
    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    return project


def _opened(project: Project, name: str, *, is_new: bool) -> SqlState:
    """A target's state, or the one at an address.

    Raises:
        StateError: BF521 there is none to be copied.
    """
    from batchforge.errors import UsageError
    from batchforge.state.stores import Opening, open_state, shown_url, state_exists
    from batchforge.target import placed_url, resolve_env
    from batchforge.targets import state_url

    if name in project.targets:
        url = state_url(project, project.targets[name])
    else:
        url = placed_url(resolve_env(name, "state"), project.root)
    if not is_new and not state_exists(url):
        raise UsageError("BF908", f"There is no state at {shown_url(url)}.", hint="Name a target, or its `state:`.")
    return open_state(url, Opening(folder=project.state_folder))
