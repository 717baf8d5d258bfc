"""`batchforge ci`: a step of a pipeline. What it is to do comes from options, or from the runner's environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchforge.commands.options import project_dir_option, project_root

if TYPE_CHECKING:
    from batchforge.ci.sending import SendOptions
    from batchforge.ci.step_files import Step

_COMMANDS = ("parse", "plan", "diff", "comment", "submit", "collect", "resume")


@click.command(name="ci")
@click.argument("step_name", metavar="STEP", type=click.Choice(_COMMANDS), envvar="BATCHFORGE_CI_COMMAND")
@project_dir_option
@click.option("--target", "-t", envvar="BATCHFORGE_CI_TARGET", help="A target of batchforge.yml.")
@click.option("--select", envvar="BATCHFORGE_CI_SELECT", default="", help="Which jobs, as for other commands.")
@click.option("--exclude", envvar="BATCHFORGE_CI_EXCLUDE", default="", help="Which jobs not, as for other commands.")
@click.option(
    "--state",
    envvar="BATCHFORGE_CI_STATE",
    metavar="DIR|REF",
    help="As for other commands. Default where it is needed: the base of the change; of a push, the commit before.",
)
@click.option(
    "--defer/--no-defer",
    envvar="BATCHFORGE_CI_DEFER",
    default=False,
    help="plan, diff, submit: jobs that are not chosen, and have no answers on this target, give those of --state.",
)
@click.option("--base", envvar="BATCHFORGE_CI_BASE", metavar="REF", help="diff: what to compare with.")
@click.option(
    "--fail-on", "rules", envvar="BATCHFORGE_CI_FAIL_ON", default="", metavar="RULES", help="diff: rules, by spaces."
)
@click.option(
    "--sample", envvar="BATCHFORGE_CI_SAMPLE", type=click.IntRange(min=1), metavar="N", help="diff: as for `diff`."
)
@click.option(
    "--max-cost",
    "max_cost_usd",
    envvar="BATCHFORGE_CI_MAX_COST",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="What the step may cost.",
)
@click.option(
    "--comment/--no-comment",
    "comments",
    envvar="BATCHFORGE_CI_COMMENT",
    default=True,
    help="diff: whether to write the comment.",
)
@click.option(
    "--comment-file",
    envvar="BATCHFORGE_CI_COMMENT_FILE",
    type=click.Path(path_type=Path),
    default="comment.json",
    show_default=True,
    help="comment: what `diff` left behind in another workflow.",
)
@click.option(
    "--plan",
    envvar="BATCHFORGE_CI_PLAN",
    default="reviewed",
    show_default=True,
    metavar="PLAN",
    help="submit: `reviewed` is the plan of the merged review; or a file; or `none`, within --max-cost.",
)
def command(
    step_name: str,
    project_dir: Path | None,
    target: str | None,
    select: str,
    exclude: str,
    state: str | None,
    defer: bool,
    base: str | None,
    rules: str,
    sample: int | None,
    max_cost_usd: float | None,
    comments: bool,
    comment_file: Path,
    plan: str,
) -> None:
    """Do a step of a pipeline on a runner of GitHub or GitLab: parse, plan, diff, comment, submit, collect, resume.

    Writes annotations, a summary, outputs and the review's comment where the runner has a place for them. What is still
    in flight is an output, `pending`, and a success.
    """
    from batchforge.ci.change_review import ChangeOptions, review_change
    from batchforge.ci.job_choice import JobChoice
    from batchforge.ci.sending import SendOptions
    from batchforge.ci.step_files import Step

    if step_name == "comment":
        _comment(Step(os.environ, Path("target/ci").absolute()), comment_file)
        return
    root = project_root(project_dir)
    step = Step(os.environ, root / "target/ci")
    choice = JobChoice(target, select, exclude, state or None, defer)
    if step_name == "diff":
        rule_words = tuple(rules.split())
        exit_code = review_change(step, root, ChangeOptions(choice, base, rule_words, sample, max_cost_usd, comments))
    else:
        exit_code = _send(step_name, step, root, SendOptions(choice, base, plan, max_cost_usd))
    click.get_current_context().exit(exit_code)


def _send(name: str, step: Step, root: Path, options: SendOptions) -> int:
    from batchforge.ci import sending
    from batchforge.ci.parsing import parse
    from batchforge.errors import BatchForgeError
    from batchforge.review.findings import findings_of

    if name == "parse":
        return parse(step, root)
    steps = {"plan": sending.plan, "submit": sending.submit, "collect": sending.collect, "resume": sending.resume}
    try:
        return steps[name](step, root, options)
    except BatchForgeError as exc:
        step.annotate(findings_of(exc.problems, None, ""))
        raise


def _comment(step: Step, path: Path) -> None:
    from batchforge.ci.posting import post_for_another

    step.note(post_for_another(step, path))
