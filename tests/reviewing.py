"""A project in a git repository, whose work tree is edited and then reviewed against its first commit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from batchforge.emulator import EmulatorServer
from batchforge.review.diff_values import JobDiff, Part, ProjectDiff
from batchforge.review.reviewing import ReviewOptions, review
from batchforge.selection.choosing import Wanted
from tests.builders import ProjectFiles
from tests.git_repository import GitRepository


class ReviewedProject(ProjectFiles):
    """The small project, with a macro that reaches the prompt through another one, and folder settings."""

    def __init__(self, root: Path, emulator: EmulatorServer | None = None) -> None:
        super().__init__(root, emulator)
        self.write_prompt("{% import 'outer.j2' as outer %}{{ outer.rules(vars.tone) }}\nSay what the text is about.\n")
        self.write_prompt(
            "{% import 'inner.j2' as inner %}{% macro rules(t) %}{{ inner.tone(t) }}{% endmacro %}", "outer.j2"
        )
        self.write_prompt("{% macro tone(t) %}Be {{ t }}.{% endmacro %}", "inner.j2")
        self.edit_project(vars={"tone": "brief"})
        self.write("jobs/_defaults.yml", "max_tokens: 200\n")
        self.write_job(max_tokens=None)
        self.write(".gitignore", ".batchforge/\ntarget/\noutputs/\n")
        self.repo = GitRepository(root)

    def edit_project(self, **settings: Any) -> None:
        project = yaml.safe_load(self.path("batchforge.yml").read_text())
        self.write("batchforge.yml", yaml.safe_dump({**project, **settings}, sort_keys=False))

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def review(self, *jobs: str, select: tuple[str, ...] = (), **options: Any) -> ProjectDiff:
        environment: Mapping[str, str] = {}
        return review(self.root, ReviewOptions(wanted=Wanted(jobs, select), **options), environment)

    def reviewed(self, name: str = "about", **options: Any) -> JobDiff:
        (job,) = [job for job in self.review(**options).jobs if job.job == name]
        return job


def parts_of(job: JobDiff) -> dict[Part, bool]:
    """Part -> whether it changes requests."""
    return {part.part: part.changes_requests for part in job.parts}
