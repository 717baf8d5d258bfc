"""Submit, collect, resume and plan as steps of a pipeline: what is still in flight is an output, and a success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchforge.ci import approved
from batchforge.ci.change_review import PLAN_FILE, repository_prefix, review_key
from batchforge.ci.children import Ended, call
from batchforge.ci.job_choice import JobChoice, with_state
from batchforge.ci.lasting_state import check_state_stays
from batchforge.ci.posting import NOT_TOLD, STATE_NOT_READ, is_about_state, is_fork
from batchforge.ci.step_files import Step
from batchforge.outputs import PENDING
from batchforge.review.neutral import code, prose
from batchforge.usd import paid_words, pico

EXIT_PENDING, EXIT_CHANGES = 3, 10
_NO_ANSWERS = "BF226"
"""A job reads another that has no answers."""


@dataclass(frozen=True, slots=True)
class SendOptions:
    choice: JobChoice
    base: str | None = None
    plan: str = "reviewed"
    """reviewed, none, or the path of a plan."""
    max_cost_usd: float | None = None

    @property
    def limit_words(self) -> list[str]:
        return [] if self.max_cost_usd is None else ["--max-cost", f"{self.max_cost_usd:g}"]


def submit(step: Step, root: Path, options: SendOptions) -> int:
    """Send what was approved, and end.

    Raises:
        UsageError: BF961 something would be sent, and no reviewed plan is found for it; BF962 what is sent would be
            forgotten.
    """
    check_state_stays(step, root, options.choice.target)
    words = ["run", "--no-wait", "--output", "json", *options.limit_words]
    if options.plan == "none":
        choice = with_state(step, root, options.choice, options.base)
        return _end(step, call(step, root, *words, *choice.reading_words), "run")
    path = Path(options.plan) if options.plan != "reviewed" else _approved(step, root, options)
    if path is None:
        if _has_changes(step, root, options):
            raise approved.none_approved()
        return _nothing_to_send(step, "everything was answered before, or is in flight")
    return _end(step, call(step, root, *words, *_narrowing(options.choice), "--plan", str(path), "--yes"), "run")


def _narrowing(choice: JobChoice) -> Sequence[str]:
    """After a merge a comparison chooses other jobs than before it: then the plan says which, and whose answers."""
    return choice.target_words if choice.needs_state or choice.state else choice.words


def _nothing_to_send(step: Step, why: str) -> int:
    step.note(f"Nothing to send: {why}.")
    step.output({"pending": "false", "run_id": "", "rows": "0", "cost": "0", "changed": "false"})
    return 0


def _approved(step: Step, root: Path, options: SendOptions) -> Path | None:
    prefix = repository_prefix(root)
    kept = step.folder.relative_to(root) / PLAN_FILE if step.folder.is_relative_to(root) else Path(PLAN_FILE)
    return approved.find_approved(step, review_key(root, options.choice.target), (Path(prefix) / kept).as_posix())


def _has_changes(step: Step, root: Path, options: SendOptions) -> bool:
    choice = with_state(step, root, options.choice, options.base)
    return call(step, root, "plan", "--no-wait", "--detailed-exitcode", *choice.reading_words).exit_code != 0


def collect(step: Step, root: Path, options: SendOptions) -> int:
    """Fetch what has ended and write outputs; sends nothing that costs."""
    return _end(step, call(step, root, "collect", "--output", "json", *options.choice.words), "collect")


def resume(step: Step, root: Path, options: SendOptions) -> int:
    """Go on with runs that broke off, within what was approved for them.

    Raises:
        UsageError: BF962 what is sent would be forgotten.
    """
    check_state_stays(step, root, options.choice.target)
    words = ["resume", "--all", "--no-wait", "--yes", "--output", "json"]
    return _end(step, call(step, root, *words, *options.choice.words, *options.limit_words), "resume")


def plan(step: Step, root: Path, options: SendOptions) -> int:
    """What a run would send, as outputs and a file."""
    path = step.folder / PLAN_FILE
    step.folder.mkdir(parents=True, exist_ok=True)
    choice = with_state(step, root, options.choice, options.base)
    ended, words, unread = _planned(step, root, choice, path)
    if ended.is_about_nothing:
        step.summarize(lambda most: "### BatchForge: nothing is selected\n")
        return _nothing_to_send(step, "nothing is selected")
    if unread and {problem.code for problem in ended.problems} == {_NO_ANSWERS}:
        return _cannot_be_planned(step, ended)
    if ended.exit_code:
        return _failed(step, ended, "plan")
    jobs = ended.value["jobs"].values()
    rows = sum(job["requests_to_send"] for job in jobs)
    step.output(
        {
            "changed": str(bool(rows)).lower(),
            "rows": str(rows),
            "cost": _sum(job["expected_usd"] for job in jobs),
            "cost_at_most": _sum(job["ceiling_usd"] for job in jobs),
            "plan_hash": ended.value["plan_hash"],
            "plan_file": str(path),
            "pending": "false",
        }
    )
    text = call(step, root, "plan", "--no-wait", "--output", "markdown", *words).stdout
    if unread:
        step.note(unread)
        text = f"{text}\n- {prose(unread)}\n"
    step.summarize(lambda most: text if len(text) <= most else f"{rows:,} requests to send; the log tells more.")
    return 0


def _planned(step: Step, root: Path, choice: JobChoice, path: Path) -> tuple[Ended, Sequence[str], str]:
    """(what came of it, with which words, what the state has to do with it): without the state, where a run of a fork
    cannot reach it."""
    planning = ["plan", "--no-wait", "--output", "json", "--out", str(path)]
    words: Sequence[str] = choice.reading_words
    ended = call(step, root, *planning, *words)
    codes = {problem.code for problem in ended.problems}
    if not is_fork(step) or not any(map(is_about_state, codes)):
        return ended, words, ""
    if ended.exit_code:
        words = [*choice.words, "--no-state"]
        return call(step, root, *planning, *words), words, STATE_NOT_READ
    return ended, words, STATE_NOT_READ if NOT_TOLD in codes else ""


def _cannot_be_planned(step: Step, ended: Ended) -> int:
    """Who made a change in a fork can do nothing about it, so that it is no failure."""
    why = "The state could not be read: a change from a fork has no credentials for it. So nothing can be planned here"
    step.note(f"{why}: {ended.problems[0].message}")
    step.summarize(lambda most: f"### BatchForge: no plan\n\n{prose(why)}.\n")
    step.output({"pending": "false", "changed": "", "rows": "", "cost": "", "cost_at_most": "", "plan_hash": ""})
    return 0


def _sum(values: Iterable[float | None]) -> str:
    """Empty where one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return f"{sum(known):g}" if len(known) == len(found) else ""


# ---- the end of a run


def _end(step: Step, ended: Ended, command: str) -> int:
    if ended.is_about_nothing:
        return _nothing_to_send(step, "nothing is selected")
    value = ended.value
    if not value or ended.exit_code not in (0, 1, EXIT_PENDING):
        return _failed(step, ended, command)
    runs = value.get("runs", [value])
    jobs = [job for run in runs for job in run["jobs"]]
    unsent = [job["job"] for job in jobs if _is_unsent(job)]
    is_pending = bool(unsent) or any(job["batches_in_flight"] or job["waiting_for"] for job in jobs)
    step.output(
        {
            "changed": str(any(job["requests_sent"] or job["results"] for job in jobs)).lower(),
            "rows": str(sum(job["requests_sent"] for job in jobs)),
            "cost": f"{sum(run.get('cost_usd', 0) for run in runs):g}",
            "run_id": " ".join(run.get("run_id", "") for run in runs),
            "pending": str(is_pending).lower(),
        }
    )
    step.summarize(lambda most: "\n".join(_table(command, jobs, is_pending))[:most])
    if unsent:
        step.note(f"Some rows of {', '.join(unsent)} wait to be sent: a step with the command resume sends them.")
    failed = [job["job"] for job in jobs if job["is_failed"] and job["job"] not in unsent]
    if ended.exit_code in (0, EXIT_PENDING) or not failed:
        return 0
    step.note(f"{command} failed for {', '.join(failed)}: too few rows were answered, or a test failed.", "error")
    return ended.exit_code


def _is_unsent(job: Mapping[str, Any]) -> bool:
    """Whether rows have no result and none on the way, as those that a canary goes before."""
    statuses = (job["output"] or {}).get("statuses", {})
    return bool(statuses.get(PENDING)) and not job["batches_in_flight"]


def _failed(step: Step, ended: Ended, command: str) -> int:
    step.annotate(ended.problems)
    step.note(f"batchforge {command} ended with exit code {ended.exit_code}; the log says why.", "error")
    step.output({"pending": "false"})
    lines = [f"- {code(f'{problem.code} {problem.message}')}" for problem in ended.problems]
    step.summarize(lambda most: "\n".join([f"### BatchForge: {command} failed", "", *lines])[:most])
    return ended.exit_code or 1


def _table(command: str, jobs: Sequence[Mapping[str, Any]], is_pending: bool) -> Iterable[str]:
    yield f"### BatchForge: {command}, {'still in flight' if is_pending else 'done'}\n"
    yield "| job | rows | sent | results | batches in flight | cost |"
    yield "|---|--:|--:|--:|--:|--:|"
    for job in jobs:
        figures = [job["rows"], job["requests_sent"], job["results"], len(job["batches_in_flight"])]
        cells = [
            code(job["job"], in_table=True),
            *(f"{figure:,}" for figure in figures),
            paid_words(pico(job["cost_usd"])),
        ]
        yield f"| {' | '.join(cells)} |"
