"""A project -> annotations of everything that is wrong with its files."""

from __future__ import annotations

from pathlib import Path

from batchforge.ci.change_review import repository_prefix
from batchforge.ci.gitlab import to_code_quality
from batchforge.ci.step_files import CODE_QUALITY_FILE, Step
from batchforge.config.job_files import load_jobs
from batchforge.errors import ProblemList
from batchforge.project import load_project
from batchforge.review.findings import findings_of
from batchforge.review.neutral import code, prose


def parse(step: Step, root: Path) -> int:
    problems = ProblemList()
    jobs = load_jobs(load_project(root, problems=problems), problems)
    found = findings_of(problems.items, None, repository_prefix(root))
    step.annotate(found)
    if step.forge == "gitlab":
        step.keep(CODE_QUALITY_FILE, to_code_quality(found))
    lines = [f"- {code(f'{each.path}:{each.line or 1}')} {each.code} {prose(each.message)}" for each in found]
    verdict = f"{len(jobs):,} jobs, {len(problems.errors):,} errors"
    step.summarize(lambda most: "\n".join([f"### BatchForge: {verdict}", "", *lines])[:most])
    step.say(verdict)
    step.output({"pending": "false"})
    return 2 if problems.errors else 0
