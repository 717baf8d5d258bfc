"""`batchforge compare`: ask a sample in several ways, and find the cheapest that is not worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import defer_options, project_options, target_option
from batchforge.commands.running import asker, choose_enabled_job, deferral_of, telling

if TYPE_CHECKING:
    from batchforge.evaluation.comparison import Comparison


@click.command(name="compare")
@click.argument("job_name", metavar="JOB")
@click.option("--models", default="", metavar="A,B", help="Models, by name or alias.")
@click.option("--modes", default="", metavar="batch,sync", help="Ways of delivery.")
@click.option("--prompts", default="", metavar="A.j2,B.j2", help="Files of user prompts, in place of the job's own.")
@click.option("--effort", "efforts", default="", metavar="low,high", help="Efforts of thinking.")
@click.option("--sample", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Rows.")
@click.option("--aa", "asks_twice", is_flag=True, help="The first variant once more: how often it agrees with itself.")
@click.option("--label", metavar="FIELD=COLUMN", help="What is right: the field is to equal the column.")
@click.option("--field", "field_name", metavar="FIELD", help="Without a label: the field that decides.")
@click.option("--reference", default="", metavar="VARIANT", help="Without a label: whose answers are taken for right.")
@click.option("--margin", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="What is not worse.")
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(min=0), metavar="USD", help="What it may cost.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever it costs.")
@defer_options
@target_option
@project_options
@click.option(
    "--output", type=click.Choice(["text", "json", "markdown", "html"]), default="text", show_default=True, help="Form."
)
def command(
    job_name: str,
    models: str,
    modes: str,
    prompts: str,
    efforts: str,
    sample: int,
    asks_twice: bool,
    label: str | None,
    field_name: str | None,
    reference: str,
    margin: float,
    max_cost_usd: float | None,
    yes: bool,
    defer: bool,
    state: str | None,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Ask the same rows in several ways: agreement, accuracy, tests, price, and the cheapest that is not worse.

    Answers are kept: a later run does not pay for them again.
    """
    from batchforge.evaluation.asking_variants import CompareOptions, compare
    from batchforge.evaluation.variants import Axes
    from batchforge.running.run_options import RunOptions

    chosen = choose_enabled_job(job_name, project_dir, cli_vars, target_name)
    axes = Axes(_words(models), _modes(modes), _words(prompts), _words(efforts), asks_twice)
    wanted = CompareOptions(axes, sample, _labels(label, field_name), reference, margin)
    options = RunOptions(
        max_cost_usd=max_cost_usd,
        yes=yes,
        ask=asker(),
        deferral=deferral_of(chosen, state, is_wanted=defer),
    )
    with telling(quiet=False) as progress:
        comparison = compare(chosen.project, chosen.jobs[0], chosen.target, wanted, options, listen=progress)
    click.echo(_rendered(comparison, output))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _modes(text: str) -> list[Any]:
    words = _words(text)
    for word in words:
        if word not in ("batch", "sync"):
            raise click.UsageError(f"--modes: `{word}` is neither batch nor sync.")
    return words


def _labels(label: str | None, field_name: str | None) -> tuple[str, str] | None:
    if label is None:
        return None if field_name is None else (field_name, "")
    field, separator, column = label.partition("=")
    if not separator or not field or not column:
        raise click.UsageError("Write --label FIELD=COLUMN: a field of the answer, and a column of the input.")
    return field, column


def _rendered(comparison: Comparison, output: str) -> str:
    from batchforge.terminal.comparison_text import html_of_comparison, lines_of_comparison, markdown_of_comparison
    from batchforge.terminal.report import to_json

    match output:
        case "json":
            return to_json(comparison.to_json())
        case "markdown":
            return markdown_of_comparison(comparison)
        case "html":
            return html_of_comparison(comparison)
    return "\n".join(lines_of_comparison(comparison))
