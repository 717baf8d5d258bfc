"""`batchforge ls`: the project's jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import load_files, output_option, project_options, selection_options
from batchforge.terminal.terminal_text import display_width, printable

if TYPE_CHECKING:
    from batchforge.spec import JobSpec


@click.command(name="ls")
@selection_options
@project_options
@output_option
def command(
    select: tuple[str, ...], exclude: tuple[str, ...], project_dir: Path | None, cli_vars: dict[str, Any], output: str
) -> None:
    """List jobs with their tags and descriptions."""
    from batchforge import selection

    _, jobs, problems = load_files(project_dir, cli_vars)
    problems.raise_if_any()
    names = selection.select(jobs, selection.parse_selection(select, exclude), with_disabled=True)
    chosen = [jobs[name] for name in names]
    if output == "json":
        click.echo(json.dumps([_to_json(job) for job in chosen], indent=2, ensure_ascii=False))
    elif chosen:
        click.echo("\n".join(_lines(chosen)))


def _lines(jobs: Sequence[JobSpec]) -> list[str]:
    columns = [(job.name, ", ".join(job.tags), _about(job)) for job in jobs]
    shown = [tuple(printable(cell) for cell in row) for row in columns]
    widths = [max(display_width(row[column]) for row in shown) for column in (0, 1)]
    return ["  ".join((*map(_padded, row[:2], widths), row[2])).rstrip() for row in shown]


def _about(job: JobSpec) -> str:
    return " ".join(part for part in ("" if job.enabled else "(disabled)", job.description) if part)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))


def _to_json(job: JobSpec) -> dict[str, Any]:
    return {
        "name": job.name,
        "path": job.path,
        "description": job.description,
        "tags": list(job.tags),
        "model": job.model,
        "enabled": job.enabled,
        "output": job.output.file or f"outputs/{job.name}.jsonl",
    }
