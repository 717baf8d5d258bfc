"""`batchforge runs`: the runs that state remembers, and one of them with its summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from batchforge.commands.looking import print_lines
from batchforge.commands.options import load_files, output_option, project_options, target_option

if TYPE_CHECKING:
    from batchforge.lookup.finding import Found, StateLooker

_MOST_RUNS = 10_000
"""Among which a beginning of an id is looked for."""


@click.group(name="runs", invoke_without_command=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many.")
@target_option
@project_options
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    limit: int,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """List runs, the last one first: what they sent and cost, who ran them, and on which commit."""
    from batchforge.lookup.finding import run_json
    from batchforge.lookup.found_text import run_lines
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    if ctx.invoked_subcommand is not None:
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
            ctx.fail(f"Options go behind `{ctx.invoked_subcommand}`.")
        return
    with _looker(target_name, project_dir, cli_vars) as looker:
        runs = [looker.run_facts(run) for run in looker.state.runs(limit)]
    if output == "json":
        click.echo(to_json([_short(run_json(run)) for run in runs]))
    else:
        columns = terminal_columns()
        print_lines(line for run in runs for line in run_lines(run, columns))


@command.command(name="show")
@click.argument("run_id", metavar="RUN")
@target_option
@project_options
@output_option
def show(run_id: str, target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Show one run: its summary and its batches. RUN is an id, the beginning of one, or `last`."""
    from batchforge.lookup.finding import run_json
    from batchforge.terminal.report import to_json
    from batchforge.terminal.text_layout import terminal_columns

    with _looker(target_name, project_dir, cli_vars) as looker:
        found = looker.find(_full_id(looker, run_id), 1)
    assert found is not None
    assert found.run is not None
    if output == "json":
        attempts = [asdict(attempt) for attempt in found.attempts]
        batches = [asdict(batch) for batch in found.batches]
        click.echo(to_json(run_json(found.run) | {"attempts": attempts, "batches": batches}))
    else:
        print_lines(_lines(found, terminal_columns()))


def _lines(found: Found, columns: int) -> Iterator[str]:
    from batchforge.lookup.found_text import attempt_lines, run_head_lines

    assert found.run is not None
    yield from run_head_lines(found.run, columns)
    by_id = {batch.batch_id: batch for batch in found.batches}
    if found.attempts:
        yield "\nsent:"
    for attempt in found.attempts:
        yield from attempt_lines(attempt, by_id.get(attempt.batch_id or ""), columns)


def _full_id(looker: StateLooker, run_id: str) -> str:
    from batchforge.errors import UsageError

    ids = [run.run_id for run in looker.state.runs(_MOST_RUNS)]
    matching = (
        ids[:1] if run_id == "last" else [i for i in ids if i == run_id] or [i for i in ids if i.startswith(run_id)]
    )
    if len(matching) == 1:
        return matching[0]
    what = f"{len(matching)} runs begin with" if matching else "There is no run"
    raise UsageError("BF941", f"{what} `{run_id}`.", hint="`batchforge runs` lists them.")


def _short(value: dict[str, Any]) -> dict[str, Any]:
    """Without the summary, which `runs show` gives."""
    return {name: item for name, item in value.items() if name != "summary"}


def _looker(
    target_name: str | None, project_dir: Path | None, cli_vars: dict[str, Any]
) -> AbstractContextManager[StateLooker]:
    from batchforge.lookup.states import looking_into

    project, _, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    return looking_into(project, project.target(target_name))
