"""`batchforge parse`: check all project files and list everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from batchforge.commands.options import load_files, output_option, project_options
from batchforge.terminal.problem_text import problems_to_json, render_problems


@click.command(name="parse")
@project_options
@output_option
def command(project_dir: Path | None, cli_vars: dict[str, Any], output: str) -> None:
    """Check batchforge.yml and all job files. Nothing is sent, and no key is read."""
    project, jobs, problems = load_files(project_dir, cli_vars)
    if output == "json":
        value = {"project": project.name, "jobs": list(jobs), "problems": problems_to_json(problems.items)}
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        click.get_current_context().exit(2 if problems.errors else 0)
    problems.raise_if_any()
    if problems.warnings:
        click.echo(render_problems(problems.warnings) + "\n", err=True)
    click.echo(f"{project.name}: {counted(len(jobs), 'job')}, no errors.")


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
