"""Options that several commands share, as decorators, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchforge.errors import ProblemList, UsageError

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.spec import JobSpec

Function = TypeVar("Function", bound=Callable[..., Any])

_KEY_VALUE = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)


def project_dir_option(function: Function) -> Function:
    """`project_dir: Path | None`."""
    return click.option(
        "--project-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="BATCHFORGE_PROJECT_DIR",
        help="The project's folder. Default: the nearest one with a batchforge.yml, from here upward.",
    )(function)


def vars_option(function: Function) -> Function:
    """`cli_vars: dict`."""
    return click.option(
        "--vars",
        "cli_vars",
        multiple=True,
        callback=lambda _context, _option, texts: parse_vars(texts),
        metavar="KEY=VALUE",
        help="A value for templates: KEY=VALUE, or a YAML or JSON mapping. Can be given several times.",
    )(function)


def target_option(function: Function) -> Function:
    """`target_name: str | None`."""
    return click.option(
        "--target", "-t", "target_name", help="A target of batchforge.yml. Default: its default_target."
    )(function)


def output_option(function: Function) -> Function:
    """`output: str`, text or json."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Text for people, or one JSON value on stdout.",
    )(function)


def project_options(function: Function) -> Function:
    """--project-dir and --vars."""
    return project_dir_option(vars_option(function))


def selection_options(function: Function) -> Function:
    """`select: tuple[str, ...]` and `exclude: tuple[str, ...]`."""
    word = "A job's name, a glob, tag:NAME or a path. Can be given several times."
    chosen = click.option("--select", "-s", multiple=True, metavar="WORD", help=f"Only these jobs. {word}")
    left_out = click.option("--exclude", multiple=True, metavar="WORD", help="Not these jobs.")
    return chosen(left_out(function))


def project_root(project_dir: Path | None) -> Path:
    """The folder that was named, which must be a project; else the nearest one from here upward."""
    from batchforge.project import PROJECT_FILE, find_project

    if project_dir is None:
        return find_project(Path.cwd())
    if not (project_dir / PROJECT_FILE).is_file():
        hint = f"Name the folder that holds {PROJECT_FILE}."
        raise UsageError("BF120", f"There is no {PROJECT_FILE} in {project_dir}.", hint=hint)
    return project_dir.absolute()


def load_files(project_dir: Path | None, cli_vars: dict[str, Any]) -> tuple[Project, dict[str, JobSpec], ProblemList]:
    """The project and its jobs, and whatever is wrong with them."""
    from batchforge.config.job_files import load_jobs
    from batchforge.project import load_project

    problems = ProblemList()
    project = load_project(project_root(project_dir), problems=problems, cli_vars=cli_vars)
    return project, load_jobs(project, problems), problems


def parse_vars(texts: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` keeps the text as typed; a mapping keeps YAML's types. Later ones win."""
    values: dict[str, Any] = {}
    for text in texts:
        if match := _KEY_VALUE.fullmatch(text):
            values[match["key"]] = match["value"]
        else:
            values.update(_parse_mapping(text))
    return values


def _parse_mapping(text: str) -> dict[str, Any]:
    from batchforge.config.yaml_nodes import parse_yaml

    problems = ProblemList()
    node = parse_yaml(text, "--vars", problems)
    if node is not None and node.kind == "mapping" and not problems.errors:
        values: dict[str, Any] = node.data
        return values
    reason = f" ({problems.errors[0].message.rstrip('.')})" if problems.errors else ""
    hint = "Write --vars name=value, or --vars '{name: value, other: 3}'."
    raise UsageError("BF901", f"--vars `{text}` is neither KEY=VALUE nor a mapping{reason}.", hint=hint)
