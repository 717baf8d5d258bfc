"""`batchforge diff`: what a change asks anew, what it costs, and what the prompts look like before and after."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchforge.commands.options import (
    defer_option,
    project_options,
    project_root,
    selection_options,
    target_option,
    unknown_model_option,
)
from batchforge.commands.running import asker, telling

if TYPE_CHECKING:
    from batchforge.review.answers_diff import Labels
    from batchforge.review.diff_values import ProjectDiff
    from batchforge.review.reviewing import ReviewOptions
    from batchforge.selection.choosing import Wanted
    from batchforge.target import Mode

_FORMATS = ("text", "json", "markdown", "sarif", "junit", "github")


@click.command(name="diff")
@selection_options
@target_option
@project_options
@click.option("--base", metavar="REF", help="Compare with the merge base of this branch or commit.")
@click.option("--head", metavar="REF", help="The newer side. Default: the work tree, with all that is not committed.")
@click.option(
    "--output",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="Text for people, one JSON value, Markdown for a comment; or errors, warnings and changed jobs with their "
    "places: SARIF, JUnit, annotations of GitHub's log.",
)
@click.option(
    "--rows", "shown_rows", type=click.IntRange(min=0), default=3, show_default=True, help="Show so many rows of a job."
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask N changed rows of each job on both sides, where answers are missing, and compare them. Costs money.",
)
@click.option(
    "--aa", "asks_twice", is_flag=True, help="With --sample: ask the older side twice, to know what is chance."
)
@click.option(
    "--mode",
    type=click.Choice(["sync", "batch"]),
    help="With --sample: ask at once (sync, the default), or in batches, at half the price and within hours.",
)
@click.option(
    "--label",
    metavar="FIELD=COLUMN",
    help="Right is what equals the column. Default: as the job's tests say.",
)
@click.option("--cluster", metavar="COLUMN", default="", help="Rows that share its value count as one, as chance goes.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write one HTML file that opens from disk, with every answer that was compared.",
)
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(min=0), metavar="USD", help="What --sample may cost.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever --sample costs.")
@click.option(
    "--fail-on",
    "rules",
    multiple=True,
    metavar="RULE",
    help="End with 5 where the change goes beyond a limit, e.g. rows_rerun=1000, cost_increase_percent=10, "
    "unpriced_model; besides the rules of `review: fail_on:` in batchforge.yml. Can be given several times.",
)
@defer_option
@unknown_model_option
def command(
    wanted: Wanted,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    base: str | None,
    head: str | None,
    output: str,
    shown_rows: int,
    sample: int | None,
    asks_twice: bool,
    mode: Mode | None,
    label: str | None,
    cluster: str,
    html: Path | None,
    max_cost_usd: float | None,
    yes: bool,
    rules: tuple[str, ...],
    defer: bool,
    allow_unknown_model: bool,
) -> None:
    """Compare the requests of two revisions: which rows ask something else, at what cost, with which words.

    Needs no network and no key, and writes nothing, unless --sample asks for answers. The older side is read from git.
    """
    from batchforge.review.gates import parse_rule
    from batchforge.review.reviewing import ReviewOptions

    for option, is_given in (("--aa", asks_twice), ("--mode", mode is not None)):
        if is_given and sample is None:
            raise click.UsageError(f"{option} goes with --sample N.")
    options = ReviewOptions(
        base=base,
        head=head,
        wanted=wanted,
        defer=defer,
        target=target_name,
        cli_vars=cli_vars,
        allow_unknown_model=allow_unknown_model,
        shown_rows=shown_rows,
        labels=_labels(label),
        cluster=cluster,
        sample=sample,
        asks_twice=asks_twice,
        mode=mode or "sync",
        max_cost_usd=max_cost_usd,
        yes=yes,
        ask=asker(),
        fail_on=tuple(map(parse_rule, rules)),
    )
    root = project_root(project_dir)
    if output in ("sarif", "junit", "github"):
        _tell_findings(root, options, output)
    else:
        _tell_diff(root, options, output, html)


def _tell_diff(root: Path, options: ReviewOptions, output: str, html: Path | None) -> None:
    from batchforge.review.gates import gates_error
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.terminal import wants_color

    diff = _reviewed(root, options) if html is None else _with_html(root, options, html)
    if diff.problems:
        click.echo(render_problems(diff.problems, color=wants_color(sys.stderr)) + "\n", err=True)
    click.echo(_rendered(diff, output))
    if error := gates_error(diff.gates):
        raise error


def _labels(text: str | None) -> Labels | None:
    from batchforge.review.answers_diff import Labels

    if text is None:
        return None
    field, separator, column = text.partition("=")
    if not separator or not field or not column:
        raise click.UsageError("Write --label FIELD=COLUMN: a field of the answer, and a column of the input.")
    return Labels(field, column)


def _reviewed(root: Path, options: ReviewOptions) -> ProjectDiff:
    from batchforge.review.reviewing import review

    if options.sample is None:
        return review(root, options)
    with telling(quiet=False) as progress:
        return review(root, replace(options, listen=progress))


def _with_html(root: Path, options: ReviewOptions, html: Path) -> ProjectDiff:
    from batchforge.review.html_report import HtmlReport

    with HtmlReport() as report:
        diff = _reviewed(root, replace(options, each_answer=report.add))
        report.write(diff, html)
    return diff


def _tell_findings(root: Path, options: ReviewOptions, output: str) -> None:
    """Also what is wrong with the project is output then, and the exit code is that of the error."""
    from batchforge.errors import BatchForgeError, Problem
    from batchforge.review.findings import findings_of, to_annotations, to_junit, to_sarif
    from batchforge.review.gates import gates_error
    from batchforge.review.git_objects import Repository

    diff, problems, exit_code = None, list[Problem](), 0
    try:
        diff = _reviewed(root, options)
        problems += diff.problems
        if error := gates_error(diff.gates):
            raise error
    except BatchForgeError as exc:
        problems += exc.problems
        exit_code = exc.exit_code
    try:
        with Repository(root) as repository:
            prefix = repository.prefix
    except BatchForgeError:
        prefix = ""
    found = findings_of(problems, diff, prefix)
    texts = {"sarif": lambda: to_sarif(found), "junit": lambda: to_junit(found, diff)}
    click.echo(texts.get(output, lambda: to_annotations(found))())
    click.get_current_context().exit(exit_code)


def _rendered(diff: ProjectDiff, output: str) -> str:
    from batchforge.terminal.terminal import wants_color

    if output == "json":
        from batchforge.review.diff_json import diff_value
        from batchforge.terminal.report import to_json

        return to_json(diff_value(diff))
    if output == "markdown":
        from batchforge.review.diff_markdown import render_diff_markdown

        return render_diff_markdown(diff)
    from batchforge.review.diff_text import render_diff_text

    return render_diff_text(diff, color=wants_color(sys.stdout))
