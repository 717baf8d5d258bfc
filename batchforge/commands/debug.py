"""`batchforge debug`: what would be used, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from batchforge.commands.options import output_option, project_options, project_root, target_option

if TYPE_CHECKING:
    from batchforge.lookup.diagnosis import Findings
    from batchforge.project import Project

_PROJECT_DIR = "BATCHFORGE_PROJECT_DIR"


@click.command(name="debug")
@click.option("--job", "job_names", multiple=True, metavar="JOB", help="Also where this job's settings come from.")
@click.option("--offline", is_flag=True, help="Ask neither the target's server nor databases.")
@target_option
@project_options
@output_option
def command(
    job_names: tuple[str, ...],
    offline: bool,
    target_name: str | None,
    project_dir: Path | None,
    cli_vars: dict[str, Any],
    output: str,
) -> None:
    """Show versions, project, target, state and their health. Shows whether there is a key, never the key itself."""
    from batchforge.errors import BatchForgeError
    from batchforge.lookup import diagnosis
    from batchforge.terminal.report import to_json

    findings = diagnosis.Findings()
    findings.groups["versions"] = diagnosis.versions()
    findings.groups["environment"] = diagnosis.environment(os.environ)
    try:
        project = _look_at_project(findings, project_dir, cli_vars, job_names)
        if project.targets:
            _look_at_target(findings, project, target_name, offline)
    except BatchForgeError as exc:
        findings.problems.extend(exc)
    click.echo(to_json(_value(findings)) if output == "json" else "\n".join(_lines(findings)))
    click.get_current_context().exit(2 if findings.problems.errors else 0)


def _look_at_project(
    findings: Findings, project_dir: Path | None, cli_vars: dict[str, Any], job_names: tuple[str, ...]
) -> Project:
    from batchforge.config.job_files import load_jobs
    from batchforge.lookup import diagnosis
    from batchforge.project import load_project
    from batchforge.selection.choosing import check_job

    root = project_root(project_dir)
    findings.choices.append(_folder_choice(root, project_dir))
    project = load_project(root, problems=findings.problems, cli_vars=cli_vars)
    jobs = load_jobs(project, findings.problems)
    findings.groups["project"] = {"name": project.name, "folder": str(root), "jobs": list(jobs)}
    for name in job_names:
        check_job(name, jobs)
        for choice in diagnosis.job_choices(project, jobs[name].path):
            findings.choices.append(replace(choice, what=f"{name}: {choice.what}"))
    return project


def _look_at_target(findings: Findings, project: Project, target_name: str | None, offline: bool) -> None:
    from batchforge.lookup import diagnosis

    default = f"{project.default_target} from default_target" if project.default_target else ""
    chosen = target_name or project.default_target
    source = "--target" if target_name else "default_target in batchforge.yml"
    findings.choices.append(diagnosis.Choice("target", chosen, source, (default,) if target_name and default else ()))
    target = project.target(target_name)
    findings.groups["target"] = diagnosis.target_facts(project, target, findings.problems)
    findings.groups["state"] = diagnosis.state_facts(project, target, findings.problems)
    if not offline:
        findings.groups["server"] = diagnosis.server_facts(target, findings.problems)
        findings.groups["connections"] = diagnosis.connection_facts(project, target, findings.problems)


def _folder_choice(root: Path, project_dir: Path | None) -> Any:
    from batchforge.lookup.diagnosis import Choice

    variable = os.environ.get(_PROJECT_DIR)
    if project_dir is None:
        return Choice("project folder", str(root), "the nearest batchforge.yml from here upward")
    if click.get_current_context().get_parameter_source("project_dir") is ParameterSource.ENVIRONMENT:
        return Choice("project folder", str(root), _PROJECT_DIR, _nearest(root))
    hidden = (f"{variable} from {_PROJECT_DIR}",) if variable else ()
    return Choice("project folder", str(root), "--project-dir", (*hidden, *_nearest(root)))


def _nearest(root: Path) -> tuple[str, ...]:
    """The project that would be used if none were named, if it is another one."""
    from batchforge.errors import UsageError
    from batchforge.project import find_project

    try:
        nearest = find_project(Path.cwd())
    except UsageError:
        return ()
    return () if nearest == root else (f"{nearest} from here upward",)


def _value(findings: Findings) -> dict[str, Any]:
    from batchforge.lookup.diagnosis import unique_problems
    from batchforge.terminal.problem_text import problems_to_json

    return {
        **findings.groups,
        "used": [asdict(choice) for choice in findings.choices],
        "problems": problems_to_json(unique_problems(findings.problems)),
    }


def _lines(findings: Findings) -> Iterator[str]:
    import sys

    from batchforge.lookup.diagnosis import unique_problems
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.terminal import wants_color
    from batchforge.terminal.terminal_text import printable

    for group, facts in findings.groups.items():
        if facts:
            yield f"{group}"
            width = max(len(name) for name in facts)
            yield from (f"  {name:<{width}}  {printable(_words(value))}" for name, value in facts.items())
    yield "used"
    width = max((len(choice.what) for choice in findings.choices), default=0)
    for choice in findings.choices:
        over = f"; not {', not '.join(choice.over)}" if choice.over else ""
        used = f"{choice.used} " if choice.used else ""
        yield f"  {choice.what:<{width}}  {printable(f'{used}from {choice.source}{over}')}"
    problems = unique_problems(findings.problems)
    yield ""
    yield render_problems(problems, color=wants_color(sys.stdout)) if problems else "Nothing is wrong."


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
