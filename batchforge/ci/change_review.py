"""A change -> its review: annotations, the comment with the plan's hash, the summary, outputs; 5 where a gate trips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from batchforge.ci import posting
from batchforge.ci.children import call
from batchforge.ci.gitlab import to_code_quality
from batchforge.ci.job_choice import JobChoice, with_state
from batchforge.ci.step_files import CODE_QUALITY_FILE, Step
from batchforge.ci.sticky import Marker
from batchforge.errors import BatchForgeError, Problem
from batchforge.review.diff_markdown import render_diff_markdown
from batchforge.review.diff_values import ProjectDiff
from batchforge.review.findings import Finding, findings_of
from batchforge.review.gates import gate_words, parse_rule
from batchforge.review.git_objects import Repository
from batchforge.review.neutral import code, prose
from batchforge.review.reviewing import ReviewOptions, review
from batchforge.usd import usd_exact

PLAN_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    choice: JobChoice
    base: str | None = None
    fail_on: Sequence[str] = ()
    sample: int | None = None
    max_cost_usd: float | None = None
    comments: bool = True


def review_key(root: Path, target: str | None) -> str:
    """Names a project of the repository, so that each has a comment of its own."""
    return f"{repository_prefix(root) or '.'}:{target or ''}"


def repository_prefix(root: Path) -> str:
    """From the repository's root to the project."""
    try:
        with Repository(root) as repository:
            return repository.prefix
    except BatchForgeError:
        return ""


def review_change(step: Step, root: Path, options: ChangeOptions) -> int:
    """The exit code of the step."""
    key, prefix = review_key(root, options.choice.target), repository_prefix(root)
    try:
        options = replace(options, choice=with_state(step, root, options.choice, options.base))
        diff, notes = _reviewed(step, root, options)
    except BatchForgeError as exc:
        _tell_findings(step, findings_of(exc.problems, None, prefix))
        _tell_failure(step, exc, key, options)
        return exc.exit_code
    plan_hash, plan_words = _planned(step, root, options, diff)
    more = [plan_words, *(f"- {prose(note)}" for note in notes)]

    def render(most: int) -> str:
        return render_diff_markdown(diff, max_characters=most, more=more)

    _tell_findings(step, [*findings_of(diff.problems, diff, prefix), *_gates(diff)])
    _deliver(step, posting.marker_of(step, key, plan_hash), render, options)
    step.output(_outputs(step, diff, plan_hash))
    return 5 if any(gate.is_tripped for gate in diff.gates) else 0


def _reviewed(step: Step, root: Path, options: ChangeOptions) -> tuple[ProjectDiff, list[str]]:
    """Without the state, where a run of a fork cannot reach it."""
    asked = ReviewOptions(
        base=options.base,
        wanted=options.choice.wanted,
        defer=options.choice.defer,
        target=options.choice.target,
        fail_on=tuple(map(parse_rule, options.fail_on)),
        sample=options.sample,
        max_cost_usd=options.max_cost_usd,
    )
    if not posting.is_fork(step):
        return review(root, asked, step.environment), []
    notes = []
    if asked.sample is not None:
        notes.append("no rows were asked: a change from a fork has no key")
    asked = replace(asked, sample=None)
    try:
        diff = review(root, asked, step.environment)
        is_unread = any(problem.code == posting.NOT_TOLD for problem in diff.problems)
    except BatchForgeError as exc:
        if not posting.is_about_state(exc.problems[0].code):
            raise
        diff = review(root, replace(asked, uses_state=False, defer=False), step.environment)
        is_unread = True
    return diff, [*notes, posting.STATE_NOT_READ] if is_unread else notes


def _planned(step: Step, root: Path, options: ChangeOptions, diff: ProjectDiff) -> tuple[str, str]:
    """(the plan's hash, what the comment says of it)"""
    if posting.is_fork(step):
        return "", "A change from a fork carries no plan: after the merge, a plan is made and approved anew."
    path = step.folder / PLAN_FILE
    step.folder.mkdir(parents=True, exist_ok=True)
    words = ["plan", "--no-wait", "--output", "json", "--out", str(path)]
    ended = call(step, root, *words, *options.choice.reading_words)
    if ended.is_about_nothing:
        return "", "Nothing is selected, so there is no plan: after the merge, nothing is sent."
    found = ended.value.get("plan_hash", "")
    if ended.exit_code or not found:
        why = ended.problems[0].message if ended.problems else f"exit code {ended.exit_code}"
        return "", f"No plan could be made here: {prose(why)}"
    return str(found), f"Plan {code(str(found)[:12])}: `run --plan` sends what it holds, and nothing else."


def _gates(diff: ProjectDiff) -> list[Finding]:
    return [Finding("error", "BF830", gate_words(gate)) for gate in diff.gates if gate.is_tripped]


def _tell_findings(step: Step, findings: Sequence[Finding]) -> None:
    step.annotate(findings)
    if step.forge == "gitlab":
        step.keep(CODE_QUALITY_FILE, to_code_quality(findings))


def _deliver(step: Step, marker: Marker, render: posting.Render, options: ChangeOptions) -> None:
    done = posting.post_comment(step, marker, render) if options.comments else "no comment was wanted"
    step.note(done)
    step.summarize(lambda most: f"{render(most - 500)}\n{prose(done)}\n")


def _tell_failure(step: Step, exc: BatchForgeError, key: str, options: ChangeOptions) -> None:
    """What is wrong with the project is what the comment says then."""
    lines = [f"- {code(problem.code)} {_place(problem)}{prose(problem.message)}" for problem in exc.problems[:100]]
    text = "\n".join(["### BatchForge: this change cannot be reviewed", "", *lines]) + "\n"
    _deliver(step, posting.marker_of(step, key, ""), lambda most: text[:most], options)
    step.output({"changed": "", "rows": "", "cost": "", "cost_at_most": "", "plan_hash": "", "pending": "false"})


def _place(problem: Problem) -> str:
    return f"{code(str(problem.location))}: " if problem.location else ""


def _outputs(step: Step, diff: ProjectDiff, plan_hash: str) -> dict[str, str]:
    cost = diff.change
    asking = diff.asking_jobs
    is_known = all(job.rows is not None for job in asking)
    return {
        "changed": str(bool(asking)).lower(),
        "rows": str(sum(job.rows.to_send for job in asking if job.rows)) if is_known else "",
        "cost": _usd(cost.expected_pico_usd if cost else None),
        "cost_at_most": _usd(cost.ceiling_pico_usd if cost else None),
        "plan_hash": plan_hash,
        "plan_file": str(step.folder / PLAN_FILE) if plan_hash else "",
        "pending": "false",
    }


def _usd(pico: int | None) -> str:
    """Empty where it is not known: never 0 for want of knowledge."""
    return "" if pico is None else usd_exact(pico)
