"""`batchforge ls`: the project's jobs, sources and exposures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import load_files, output_option, project_options, selection_options
from batchforge.commands.running import end_empty, tell_choice
from batchforge.terminal.terminal_text import display_width, printable

if TYPE_CHECKING:
    from batchforge.commands.listing import Listed
    from batchforge.selection.choosing import Wanted


@click.command(name="ls")
@selection_options
@project_options
@click.option(
    "--resource-type",
    "kinds",
    multiple=True,
    type=click.Choice(["job", "source", "exposure", "test"]),
    help="Only these. Can be given several times.",
)
@click.option("--lineage", is_flag=True, help="Also what each needs, and what needs it.")
@click.option("--settings", is_flag=True, help="Also each setting of a job, and where it was set.")
@output_option
def command(
    wanted: Wanted,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    kinds: tuple[str, ...],
    lineage: bool,
    settings: bool,
    output: str,
) -> None:
    """List jobs with their tags and descriptions, declared sources, and exposures: who uses the outputs.

    Tests are listed with `--resource-type test`, and where nothing else is selected.

    Without a selection disabled jobs are listed too.
    """
    from batchforge.commands.listing import listed
    from batchforge.selection.choosing import choose

    project, jobs, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    choice = choose(project, jobs, wanted)
    tell_choice(choice)
    found = list(listed(project, jobs, choice, wanted, set(kinds)))
    if output == "json":
        click.echo(json.dumps([each.to_json() for each in found], indent=2, ensure_ascii=False))
    elif found:
        click.echo("\n".join(_lines(found, lineage=lineage, settings=settings)))
    if not found:
        end_empty(wanted, is_told=output == "json")


def _lines(found: Sequence[Listed], *, lineage: bool, settings: bool) -> Iterator[str]:
    columns = [tuple(printable(cell) for cell in (each.id, ", ".join(each.tags), each.about)) for each in found]
    widths = [max(display_width(row[column]) for row in columns) for column in (0, 1)]
    for each, row in zip(found, columns, strict=True):
        yield "  ".join((*map(_padded, row[:2], widths), row[2])).rstrip()
        if lineage:
            yield from (f"    needs {name}" for name in each.parents)
            yield from (f"    needed by {name}" for name in each.children)
        if settings:
            yield from _setting_lines(each)


def _setting_lines(each: Listed) -> Iterator[str]:
    rows = [(f"{name}: {_short(value)}", place) for name, (value, place) in each.settings.items()]
    width = max((display_width(row[0]) for row in rows), default=0)
    return (f"    {_padded(setting, width)}  {place}".rstrip() for setting, place in rows)


def _short(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else text[:57] + "..."


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))
