"""`batchforge cost`: what was spent, from stored usage."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import project_options, project_root, target_option

if TYPE_CHECKING:
    from batchforge.ledger.spending import Period
    from batchforge.project import Project
    from batchforge.target import Target

DIMENSIONS = ("job", "run", "day", "model", "tag", "commit", "target")


@click.command(name="cost")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(DIMENSIONS),
    help="What the lines stand for. Can be given several times. Default: job.",
)
@click.option("--since", metavar="DAY", help="From this day on, in UTC: 2026-11-01, or 7d for the last seven days.")
@click.option("--until", metavar="DAY", help="Up to this day, which is included.")
@click.option(
    "--reconcile",
    "export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Compare with a usage or cost export of the vendor's Console (CSV), by day and model.",
)
@target_option
@project_options
@click.option(
    "--output",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="Text for people, one JSON value, or CSV.",
)
def command(
    by: tuple[str, ...],
    since: str | None,
    until: str | None,
    export: Path | None,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Show what was spent, from the usage that came with each answer. Asks nobody.

    Counts every stored result of every target, or of --target. What emulators answered is shown apart: it is not paid.
    With --reconcile it exits with 1 where the export and the stored usage differ.
    """
    project, tags = _load(project_dir, cli_vars)
    target = project.target(target_name) if target_name else None
    period = _period(since, until)
    if export is not None:
        _reconcile(project, target, period, export, output)
        return
    from datetime import date

    from batchforge.ledger.cost import cost_report
    from batchforge.ledger.cost_text import cost_csv, cost_json, cost_lines
    from batchforge.terminal.report import printable_lines, to_json
    from batchforge.terminal.text_layout import terminal_columns

    report = cost_report(project, tags, target, period, list(dict.fromkeys(by)) or ["job"], date.today())
    if output == "json":
        click.echo(to_json(cost_json(report)))
    elif output == "csv":
        click.echo(cost_csv(report))
    else:
        columns = terminal_columns() if sys.stdout.isatty() else None
        click.echo(printable_lines(list(cost_lines(report, columns))))


def _reconcile(project: Project, target: Target | None, period: Period, export: Path, output: str) -> None:
    from batchforge.ledger.cost import reconciled
    from batchforge.ledger.cost_text import reconciliation_json, reconciliation_lines
    from batchforge.ledger.usage_export import read_usage_export
    from batchforge.terminal.report import printable_lines, to_json

    if output == "csv":
        raise click.UsageError("--reconcile gives text or JSON, not CSV.")
    found = reconciled(project, target, period, read_usage_export(export))
    text = to_json(reconciliation_json(found)) if output == "json" else printable_lines([*reconciliation_lines(found)])
    click.echo(text)
    click.get_current_context().exit(0 if found.is_equal else 1)


def _load(project_dir: Path | None, cli_vars: dict[str, Any]) -> tuple[Project, dict[str, tuple[str, ...]]]:
    """A job file with an error in it does not keep anyone from seeing what was spent."""
    from batchforge.config.job_files import load_jobs
    from batchforge.errors import ProblemList
    from batchforge.project import load_project

    problems = ProblemList()
    project = load_project(project_root(project_dir), problems=problems, cli_vars=cli_vars)
    problems.raise_if_any()
    return project, {name: job.tags for name, job in load_jobs(project, ProblemList()).items()}


def _period(since: str | None, until: str | None) -> Period:
    from batchforge.ledger.spending import Period

    return Period(_day("--since", since), _day("--until", until))


def _day(option: str, text: str | None) -> str | None:
    from datetime import date, timedelta

    from batchforge.clock import SystemClock
    from batchforge.errors import UsageError

    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,5})d", text):
        return (SystemClock().now().date() - timedelta(days=int(ago[1]))).isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        hint = "Write a day such as 2026-11-01, or a number of days such as 7d."
        raise UsageError("BF822", f"{option} `{text}` is not a day.", hint=hint) from None
