"""What the commands that run jobs share: the jobs they mean, what they tell meanwhile, and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from batchforge.commands.options import load_files
from batchforge.errors import BatchForgeError

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.selection.choosing import Choice, ChosenTests, Wanted
    from batchforge.selection.deferral import Deferral
    from batchforge.spec import JobSpec
    from batchforge.summaries import RunSummary
    from batchforge.target import Target
    from batchforge.terminal.progress import Progress

_PROGRESS, _PROJECT = "batchforge.terminal.progress", "batchforge.project"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a command line names."""

    project: Project
    target: Target
    jobs: Sequence[JobSpec]
    all_jobs: Mapping[str, JobSpec]
    """All jobs of the project, by name."""
    tests: Sequence[ChosenTests] = ()


def _kept(name: str, default: Any) -> Any:
    return click.get_current_context().meta.get(f"batchforge.{name}", default)


def choose(
    wanted: Wanted,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    target_name: str | None,
    *,
    with_disabled: bool = False,
    with_tests: bool = False,
) -> Chosen:
    """The project, target and jobs of a command line. Ends the command where nothing is selected; tests alone are
    something only `with_tests`.

    Raises:
        ProjectError: the project's files are wrong. UsageError: there is no such target or job.
    """
    from batchforge.selection import choosing

    project, jobs, problems = load_files(project_dir, cli_vars)
    click.get_current_context().meta[_PROJECT] = project
    problems.raise_if_any()
    target = project.target(target_name)
    choice = choosing.choose(project, jobs, wanted, with_disabled=with_disabled)
    tell_choice(choice)
    if not choice.jobs and not (with_tests and choice.tests):
        end_empty(wanted)
    return Chosen(project, target, list(choice.jobs), jobs, choice.tests)


def choose_enabled_job(
    name: str, project_dir: Path | None, cli_vars: dict[str, Any], target_name: str | None
) -> Chosen:
    """One job, by its name.

    Raises:
        ProjectError: the project's files are wrong. UsageError: there is no such target or job.
    """
    from batchforge.selection.choosing import check_enabled

    project, jobs, problems = load_files(project_dir, cli_vars)
    click.get_current_context().meta[_PROJECT] = project
    problems.raise_if_any()
    check_enabled(name, jobs)
    return Chosen(project, project.target(target_name), [jobs[name]], jobs)


def keep_manifest(chosen: Chosen) -> None:
    """What the jobs are made of as they are run, for a later `--state`."""
    from batchforge.requests.artifacts import write_manifest

    write_manifest(chosen.project, chosen.all_jobs, chosen.target)


def deferral_of(chosen: Chosen, state: str | None, *, is_wanted: bool) -> Deferral | None:
    """
    Raises:
        UsageError: BF922 `--state` does not say whose answers.
    """
    if not is_wanted:
        return None
    from batchforge.selection.deferral import find_deferral

    return find_deferral(chosen.project, state)


def tell_choice(choice: Choice) -> None:
    """On stderr: words that select nothing, and jobs that an earlier state had."""
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.terminal import wants_color

    if choice.warnings:
        click.echo(render_problems(choice.warnings, color=wants_color(sys.stderr)) + "\n", err=True)
    if choice.removed:
        click.echo(f"Gone since then: {', '.join(choice.removed)}.", err=True)


def end_empty(wanted: Wanted, message: str = "Nothing is selected.", *, is_told: bool = False) -> NoReturn:
    """Ends the command; `is_told`: stdout has its JSON value already.

    Raises:
        UsageError: BF920, with --on-empty fail. Exit: else.
    """
    from batchforge.selection.choosing import nothing_selected

    if wanted.on_empty == "fail":
        raise nothing_selected()
    if click.get_current_context().params.get("output") == "json" and not is_told:
        click.echo(json.dumps({"jobs": [], "message": message}))
    click.echo(message, err=True)
    raise click.exceptions.Exit(0)


def asker() -> Callable[[str], bool] | None:
    """Asks on the terminal; None where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        _clear_display()
        return click.confirm(question, err=True)

    return ask


def _clear_display() -> None:
    """A live display would be drawn over what is said next. It comes back with the next event."""
    progress: Progress | None = click.get_current_context().meta.get(_PROGRESS)
    if progress is not None:
        progress.close()


@contextmanager
def telling(quiet: bool) -> Iterator[Progress]:
    """A progress display on stderr for as long as the block runs."""
    from batchforge.terminal.progress import open_progress

    verbose, log_format = _kept("verbose", False), _kept("log_format", "text")
    progress = open_progress(sys.stderr, quiet=quiet, verbose=verbose, log_format=log_format)
    click.get_current_context().meta[_PROGRESS] = progress
    try:
        yield progress
    finally:
        progress.close()


@contextmanager
def telling_what_goes_on(chosen: Chosen) -> Iterator[None]:
    """On an interruption: what is in flight, and which command goes on."""
    try:
        yield
    except BatchForgeError as exc:
        from batchforge.notify import failure_value

        _notify(failure_value(chosen.project, exc.problems), has_failed=True)
        raise
    except KeyboardInterrupt:
        from batchforge.targets import read_state
        from batchforge.terminal.report import counted

        with read_state(chosen.project, chosen.target) as state:
            open_attempts = state.open_attempts([job.name for job in chosen.jobs]) if state else []
        requests = sum(attempt.request_count for attempt in open_attempts)
        batches, are = counted(len(open_attempts), "batch"), "is" if requests == 1 else "are"
        if open_attempts:
            _tell_interrupted(
                f"{counted(requests, 'request')} in {batches} {are} in flight; "
                "nothing was canceled.\n"
                "`batchforge collect --wait` fetches them, `batchforge resume` goes on, `batchforge cancel` gives up."
            )
        else:
            _tell_interrupted("Nothing is in flight.")
        raise


def _notify(value: dict[str, Any], *, has_failed: bool) -> None:
    project: Project | None = click.get_current_context().meta.get(_PROJECT)
    if project is None or not project.notices:
        return
    from batchforge.events import warning
    from batchforge.notify import send_notices

    problems = send_notices(project, value, has_failed=has_failed)
    with telling(quiet=False) as progress:
        for problem in problems:
            place = f"{problem.location}: " if problem.location else ""
            progress(warning(problem.code, f"{place}{problem.message} {problem.hint}"))


def _tell_interrupted(text: str) -> None:
    _clear_display()
    if _kept("log_format", "text") == "json":
        from batchforge.terminal.log_format import write_line

        write_line(sys.stderr, "interrupted", text.replace("\n", " "))
    else:
        click.echo(f"\n{text}", err=True)


def end_all(summaries: Sequence[RunSummary], output: str) -> None:
    """Print what several runs came to, and end with the exit code of the worst."""
    from batchforge.terminal.report import render_run, to_json

    if output == "json":
        click.echo(to_json({"runs": [summary.to_json() for summary in summaries]}))
    else:
        click.echo("\n\n".join(map(render_run, summaries)) or "Nothing to resume.")
    codes = {summary.exit_code for summary in summaries} - {0}
    click.get_current_context().exit(min(codes, default=0))


def end(summary: RunSummary, output: str, render: Callable[..., str] | None = None) -> None:
    """Print the summary, by `render` or as that of a run, and end with its exit code."""
    from batchforge.terminal.report import render_run, to_json
    from batchforge.terminal.terminal import wants_color
    from batchforge.terminal.text_layout import terminal_columns

    if output == "json":
        click.echo(to_json(summary.to_json()))
    else:
        columns = terminal_columns() if sys.stdout.isatty() else None
        click.echo((render or render_run)(summary, color=wants_color(sys.stdout), columns=columns))
    if summary.status != "pending":
        value = {"project": project.name} if (project := click.get_current_context().meta.get(_PROJECT)) else {}
        _notify({**value, **summary.to_json()}, has_failed=summary.status == "failed")
    click.get_current_context().exit(summary.exit_code)
