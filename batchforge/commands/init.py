"""`batchforge init`: a project that runs at once, from a file of the user's or from rows of its own."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from batchforge.commands.options import output_option
from batchforge.errors import UsageError

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.starter import Starter
    from batchforge.table_survey import TableSurvey

_ODD_CHARACTERS = re.compile(r"[^\w .()+,@=-]")
_OWN_FOLDERS = ("target", ".batchforge", "outputs")


@click.command(name="init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Your rows: a CSV, TSV, JSONL, JSON or Parquet file.",
)
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option(
    "--ci",
    "forge",
    type=click.Choice(["github", "gitlab"]),
    help="Write the workflow files of a project that is there: review, submit, collect.",
)
@click.option(
    "--action", metavar="OWNER/REPO@REF", help="With --ci github: where the action is. Default: that of this version."
)
@output_option
def command(
    folder: Path,
    source: Path | None,
    yes: bool,
    forge: Literal["github", "gitlab"] | None,
    action: str | None,
    output: str,
) -> None:
    """Make a project in DIR that runs at once: one job, its prompt, and comments that explain them.

    With --from, the job is about your own file. Nothing that is there is overwritten.
    """
    from dataclasses import replace

    from batchforge.starter import SAMPLE_FILE, project_name, sample_starter, starter_for
    from batchforge.table_survey import survey_table
    from batchforge.terminal.report import to_json

    if forge is not None:
        _write_workflows(folder, forge, action, output)
        return
    may_ask = not yes and output == "text" and sys.stdin.isatty()
    if source is None and may_ask:
        source = _ask_for_file()
    name = project_name(folder.absolute().name)
    if source is None:
        made = _Made(folder, sample_starter(name), SAMPLE_FILE)
    else:
        survey = survey_table(_checked(source))
        if may_ask:
            survey = replace(survey, text=_ask_for_text(survey))
        file, copy_of = _place_in_project(source, folder)
        made = _Made(folder, starter_for(name, file, survey), file, survey, copy_of)
    _write(made)
    click.echo(to_json(_value(made)) if output == "json" else "\n".join(_told(made)))


def _write_workflows(folder: Path, forge: Literal["github", "gitlab"], action: str | None, output: str) -> None:
    from batchforge.ci.workflow_files import repository_root, workflow_files
    from batchforge.commands.options import load_files
    from batchforge.terminal.report import to_json

    project, _, problems = load_files(folder, {})
    problems.raise_if_any()
    files, root = workflow_files(forge, project, action), repository_root(project.root)
    _check_free(root, list(files))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    if output == "json":
        click.echo(to_json({"folder": str(root), "files": list(files)}))
        return
    click.echo("\n".join([f"Written in {root}:", *(f"  {name}" for name in files)]))
    click.echo("\n".join(["", "Next:", *(f"  {line}" for line in _ci_steps(forge, project))]))


def _ci_steps(forge: Literal["github", "gitlab"], project: Project) -> list[str]:
    """What nobody but a person can set up."""
    from batchforge.ci.workflow_files import target_of

    target = target_of(project)
    is_shared = "state" in target.settings
    steps = ["commit these files"]
    if not is_shared:
        steps.append(f"give {target.name} a `state:` that runners share, e.g. s3://BUCKET/NAME: theirs ends with them")
    if forge == "github":
        steps.append("make the environment `batchforge`: who approves as reviewers, and the secret ANTHROPIC_API_KEY")
        steps.append("make `batchforge-collect` with the same secret, and without reviewers")
    else:
        steps.append("add to .gitlab-ci.yml: include: {local: batchforge.gitlab-ci.yml}")
        steps.append("set ANTHROPIC_API_KEY, protected, and BATCHFORGE_GITLAB_TOKEN: a project token, scope api")
        steps.append("make a schedule of pipelines, for collect")
    return [*steps, "then open a change that edits a prompt: docs/ci.md tells the whole way"]


@dataclass(frozen=True)
class _Made:
    folder: Path
    starter: Starter
    file: str
    """The rows' path in the project."""
    survey: TableSurvey | None = None
    copy_of: Path | None = None

    @cached_property
    def new_files(self) -> dict[str, str]:
        """All but a .gitignore that is there already: most folders of a repository have one."""
        has_own = (self.folder / ".gitignore").is_file()
        return {name: text for name, text in self.starter.files.items() if name != ".gitignore" or not has_own}


def _ask_for_file() -> Path | None:
    text = click.prompt("A file with your rows (empty: six rows to play with)", default="", show_default=False)
    return Path(text).expanduser() if text.strip() else None


def _ask_for_text(survey: TableSurvey) -> str:
    from batchforge.terminal.terminal_text import printable

    click.echo(f"{survey.row_count:,} rows; columns: {', '.join(printable(name) for name in survey.columns)}")
    choice = click.Choice(survey.columns)
    answer: str = click.prompt(
        "The column that Claude is to read", default=survey.text, type=choice, show_choices=False
    )
    return answer


def _checked(source: Path) -> Path:
    from batchforge.nearest import did_you_mean

    if source.is_file():
        return source
    if source.is_dir():
        raise UsageError("BF931", f"{source} is a folder.", hint="Name a file in it.")
    folder = source.parent
    near = did_you_mean(source.name, [path.name for path in folder.iterdir()]) if folder.is_dir() else ""
    hint = near or "The path starts at the folder you are in."
    raise UsageError("BF931", f"There is no file {source}.", hint=hint)


def _place_in_project(source: Path, folder: Path) -> tuple[str, Path | None]:
    """(its path in the project, what is to be copied there): a file that lies in the project stays where it is."""
    from batchforge.errors import BatchForgeError
    from batchforge.source_tree import SourceTree

    root, real = folder.resolve(), source.resolve()
    if real.is_relative_to(root):
        path = real.relative_to(root).as_posix()
        try:
            if path.split("/")[0] not in _OWN_FOLDERS and SourceTree(root).exists(path):
                return path, None
        except BatchForgeError:
            pass  # a name that paths in a project cannot have; the copy gets another one
    return f"data/{_ODD_CHARACTERS.sub('_', source.name)}", real


def _write(made: _Made) -> None:
    """All or nothing."""
    names = [*made.new_files, *([made.file] if made.copy_of else [])]
    _check_free(made.folder, names)
    for name in names:
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
    for name, text in made.new_files.items():
        with (made.folder / name).open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    if made.copy_of:
        shutil.copyfile(made.copy_of, made.folder / made.file)


def _check_free(folder: Path, names: Sequence[str]) -> None:
    """
    Raises:
        UsageError: BF930 one of the files is there already.
    """
    in_the_way = list(dict.fromkeys(found for name in names if (found := _in_the_way(folder, name))))
    if in_the_way:
        are = "is" if len(in_the_way) == 1 else "are"
        raise UsageError(
            "BF930",
            f"{', '.join(in_the_way)} {are} there already; nothing was written.",
            hint="Name another folder, e.g. `batchforge init my_project`, or move away what is in the way.",
        )


def _in_the_way(folder: Path, name: str) -> str | None:
    """The file itself, or a file where a folder is needed."""
    path = folder / name
    if path.exists() or path.is_symlink():
        return name
    blocking = next((parent for parent in path.parents if parent.exists()), folder)
    return None if blocking.is_dir() else str(blocking)


def _value(made: _Made) -> dict[str, object]:
    survey, found = made.survey, None
    if survey is not None:
        found = {"rows": survey.row_count, "columns": survey.columns, "key": survey.key, "text": survey.text}
    files = [*made.new_files, *([made.file] if made.copy_of else [])]
    return {"folder": str(made.folder), "job": made.starter.job, "files": files, "input": found}


def _told(made: _Made) -> Iterator[str]:
    from batchforge.terminal.terminal_text import printable

    job, survey = made.starter.job, made.survey
    if survey is not None:
        key = f"{printable(survey.key)} names a row" if survey.key else "no column names a row, so its content does"
        yield f"{survey.row_count:,} rows: {key}; {printable(survey.text)} is what Claude reads."
    yield "Made a project:" if made.folder == Path() else f"Made a project in {made.folder}:"
    meanings = {
        "batchforge.yml": "where jobs run, and what they share",
        f"jobs/{job}.yml": "the job: input, prompt, form of the answer",
        f"prompts/{job}.md.j2": "what is asked",
        "schemas/": "for your editor: it completes and explains the settings",
        made.file: "a copy of your file" if made.copy_of else "the rows",
    }
    yield from _in_columns({f"  {printable(name)}": text for name, text in meanings.items()})
    if ".gitignore" not in made.new_files:
        yield "Your .gitignore stays as it is. It should name target/ and .batchforge/."
    yield "\nNext:"
    if made.folder != Path():
        yield f"  cd {made.folder}"
    yield from _in_columns(
        {
            f"  batchforge render {job}": "# the first request, as Claude would get it",
            f"  batchforge try {job}": "# a few answers at once, beside their rows; `run` does not pay for them again",
            "  batchforge run": "# answers from a stand-in on this machine: no key, no cost",
        }
    )


def _in_columns(lines: dict[str, str]) -> Iterator[str]:
    width = max(len(left) for left in lines)
    return (f"{left:<{width}}  {right}" for left, right in lines.items())
