"""Options that several commands share, as decorators, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from batchforge.commands.durations import Duration
from batchforge.errors import ProblemList, UsageError

if TYPE_CHECKING:
    from batchforge.project import Project
    from batchforge.running.run_options import RunOptions
    from batchforge.spec import JobSpec
    from batchforge.target import Mode

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


class _Words(click.Option):
    """An option that takes all words up to the next option: `--select a b` is `--select "a b"`."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        for name in self.opts:
            found = parser._long_opt.get(name) or parser._short_opt.get(name)
            found.process = partial(self._take_all, found.process)

    def _take_all(self, take_one: Callable[[str, Any], None], value: str, state: Any) -> None:
        take_one(value, state)
        while state.rargs and not state.rargs[0].startswith("-"):
            take_one(state.rargs.pop(0), state)


def selection_options(function: Function) -> Function:
    """JOB..., --select, --exclude, --selector, --state and --on-empty, as one value: `wanted: Wanted`."""

    @wraps(function)
    def with_wanted(*args: Any, **given: Any) -> Any:
        from batchforge.selection.choosing import Wanted

        names, select, exclude = given.pop("job_names"), given.pop("select"), given.pop("exclude")
        wanted = Wanted(names, select, exclude, given.pop("selector"), given.pop("state"), given.pop("on_empty"))
        return function(*args, wanted=wanted, **given)

    word = "A job's name, a folder, a glob, tag:NAME, path:FILE, state:modified, ...; +WORD+ adds parents and children."
    decorated: Any = with_wanted
    for option in (
        click.option(
            "--on-empty",
            type=click.Choice(["ok", "fail"]),
            default="ok",
            show_default=True,
            help="Whether it is an error (2) that nothing is selected.",
        ),
        click.option(
            "--state", metavar="DIR|REF", help="What `state:` compares with: a folder with a manifest, or a commit."
        ),
        click.option("--selector", metavar="NAME", help="A selector of selectors.yml, in place of --select."),
        click.option("--exclude", multiple=True, cls=_Words, metavar="WORD...", help="Not these jobs."),
        click.option("--select", "-s", multiple=True, cls=_Words, metavar="WORD...", help=f"Only these jobs. {word}"),
        click.argument("job_names", nargs=-1, metavar="[JOB]..."),
    ):
        decorated = option(decorated)
    return cast("Function", decorated)


def running_options(function: Function) -> Function:
    """JOB..., --select and its like, --target, --project-dir, --vars, --output, and those of `telling_options`."""
    return selection_options(target_option(project_options(output_option(telling_options(function)))))


def telling_options(function: Function) -> Function:
    """`quiet: bool`; --verbose and --log-format are kept for `running.telling`."""
    quiet = click.option("--quiet", "-q", is_flag=True, help="Only the result and warnings, no progress.")
    verbose = click.option(
        "--verbose", "-v", is_flag=True, expose_value=False, callback=_keep, help="Also each step of each attempt."
    )
    log_format = click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        expose_value=False,
        callback=_keep,
        help="What is told on stderr: text, or one JSON event a line.",
    )
    return quiet(verbose(log_format(function)))


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    ctx.meta[f"batchforge.{option.name}"] = value


def money_options(function: Function) -> Function:
    """`max_cost_usd: float | None` and `yes: bool`."""
    limit = click.option(
        "--max-cost",
        "max_cost_usd",
        type=click.FloatRange(min=0),
        metavar="USD",
        help="What it may cost at most. `resume` keeps to the limit of the run that it goes on with, if none is given.",
    )
    yes = click.option("--yes", is_flag=True, help="Do not ask, whatever it costs.")
    return limit(yes(function))


def narrowing_options(function: Function) -> Function:
    """`limit: int | None` and `sample: int | None`."""
    few = "the full output stays as it is"
    limit = click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"Only the first N rows; {few}.")
    sample = click.option(
        "--sample", type=click.IntRange(min=1), metavar="N", help=f"Only N rows, always the same ones; {few}."
    )
    return limit(sample(function))


def mode_option(function: Function) -> Function:
    """`mode: Literal["batch", "sync"] | None`."""
    return click.option(
        "--mode",
        type=click.Choice(["batch", "sync"]),
        help="batch: at half price, within a day. sync: one by one, at once. Default: as the job or target says.",
    )(function)


def graph_options(function: Function) -> Function:
    """`threads: int | None`, `fail_fast: bool` and `defer: bool`."""
    threads = click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most N jobs at work at once. Default: all.",
    )
    fail_fast = click.option("--fail-fast", is_flag=True, help="Begin no further job once one has failed.")
    return threads(fail_fast(defer_option(function)))


def defer_option(function: Function) -> Function:
    """`defer: bool`; goes with --state."""
    return click.option(
        "--defer",
        is_flag=True,
        help="Jobs that are not selected, and have no answers on this target, give those of --state: of the target "
        "that a manifest was written for; or, where it is a commit, of `defer_to` in batchforge.yml.",
    )(function)


def defer_options(function: Function) -> Function:
    """`defer: bool` and `state: str | None`, for commands without a selection."""
    state = click.option("--state", metavar="DIR|REF", help="For --defer: a folder with a manifest, or a commit.")
    return defer_option(state(function))


def no_fetch_option(function: Function) -> Function:
    """`no_fetch: bool`."""
    return click.option(
        "--no-fetch", is_flag=True, help="Read the snapshots as they are; ask no database and no object store."
    )(function)


def lock_timeout_option(function: Function) -> Function:
    """`lock_timeout_s: float`."""
    return click.option(
        "--lock-timeout",
        "lock_timeout_s",
        type=Duration(),
        default="5m",
        show_default=True,
        metavar="TIME",
        help="How long to wait for another process that submits to the same state; then it ends with 4.",
    )(function)


def no_wait_option(function: Function) -> Function:
    """`no_wait: bool`."""
    return click.option(
        "--no-wait", is_flag=True, help="Submit and end; `batchforge collect` fetches the results later."
    )(function)


def submitted_rows_option(function: Function) -> Function:
    """`submitted_rows: bool`."""
    return click.option(
        "--submitted-rows", is_flag=True, help="Write outputs of the rows as submitted, though inputs have moved since."
    )(function)


def unknown_model_option(function: Function) -> Function:
    """`allow_unknown_model: bool`."""
    return click.option("--allow-unknown-model", is_flag=True, help="Take models that this version does not know.")(
        function
    )


@dataclass(frozen=True, slots=True)
class Sending:
    """What `run` and `build` are told of how to send."""

    limit: int | None
    sample: int | None
    empty: bool
    threads: int | None
    fail_fast: bool
    defer: bool
    mode: Mode | None
    lock_timeout_s: float
    no_wait: bool
    full_refresh: bool
    submitted_rows: bool
    max_cost_usd: float | None
    yes: bool
    no_fetch: bool
    allow_unknown_model: bool

    def run_options(self, **others: Any) -> RunOptions:
        from batchforge.planning.decisions import Resend
        from batchforge.running.run_options import RunOptions

        return RunOptions(
            resend=Resend.ALL if self.full_refresh else Resend.NOTHING_PAID,
            limit=0 if self.empty else self.limit,
            sample=self.sample,
            threads=self.threads,
            fail_fast=self.fail_fast,
            mode=self.mode,
            lock_timeout_s=self.lock_timeout_s,
            wait=not self.no_wait,
            submitted_rows=self.submitted_rows,
            max_cost_usd=self.max_cost_usd,
            yes=self.yes,
            fetch=not self.no_fetch,
            allow_unknown_model=self.allow_unknown_model,
            **others,
        )


def sending_options(function: Function) -> Function:
    """How and what to send, as one value: `sending: Sending`."""

    @wraps(function)
    def with_sending(*args: Any, **given: Any) -> Any:
        sending = Sending(**{field.name: given.pop(field.name) for field in fields(Sending)})
        return function(*args, sending=sending, **given)

    empty = click.option("--empty", is_flag=True, help="Without any rows: everything is checked, and the output stays.")
    full_refresh = click.option(
        "--full-refresh", is_flag=True, help="Ask every row again and pay again. Old answers are kept."
    )
    decorated: Any = with_sending
    for option in (
        unknown_model_option,
        no_fetch_option,
        money_options,
        submitted_rows_option,
        full_refresh,
        no_wait_option,
        lock_timeout_option,
        mode_option,
        graph_options,
        empty,
        narrowing_options,
    ):
        decorated = option(decorated)
    return cast("Function", decorated)


def junit_option(function: Function) -> Function:
    """`junit_path: Path | None`."""
    return click.option(
        "--junit",
        "junit_path",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Also write the results of tests as JUnit's XML.",
    )(function)


def keys_option(function: Function) -> Function:
    """`keys: tuple[str, ...]`."""
    return click.option(
        "--key", "keys", multiple=True, metavar="KEY", help="The row with this key. Can be given several times."
    )(function)


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
    from batchforge.selection.selectors_file import load_selectors

    problems = ProblemList()
    project = load_project(project_root(project_dir), problems=problems, cli_vars=cli_vars)
    jobs = load_jobs(project, problems)
    load_selectors(project.tree, problems)
    return project, jobs, problems


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
