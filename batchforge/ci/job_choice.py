"""Which jobs a step is about, and what they are compared with and read from: as words for the commands that do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from batchforge.ci import github
from batchforge.ci.step_files import Step
from batchforge.review.git_base import find_base, find_head
from batchforge.review.git_objects import Repository
from batchforge.selection.choosing import Wanted

_COMPARING = ("state:", "selector:")


@dataclass(frozen=True, slots=True)
class JobChoice:
    target: str | None = None
    select: str = ""
    exclude: str = ""
    state: str | None = None
    """What `state:` compares with, and whose answers `defer` means."""
    defer: bool = False

    @property
    def needs_state(self) -> bool:
        return self.defer or any(word in f"{self.select} {self.exclude}" for word in _COMPARING)

    @property
    def target_words(self) -> list[str]:
        return ["--target", self.target] if self.target else []

    @property
    def words(self) -> list[str]:
        """For commands that read of other jobs what their run has read."""
        given = (("--select", self.select), ("--exclude", self.exclude), ("--state", self.state or ""))
        return [word for option, value in given if value.strip() for word in (option, value)] + self.target_words

    @property
    def reading_words(self) -> list[str]:
        return [*self.words, *(["--defer"] if self.defer else [])]

    @property
    def wanted(self) -> Wanted:
        select, exclude = (((text,) if text.strip() else ()) for text in (self.select, self.exclude))
        return Wanted((), select, exclude, state=self.state)


def with_state(step: Step, root: Path, choice: JobChoice, base: str | None) -> JobChoice:
    """Where it is needed and not named, what a change is compared with; on a branch, what it was before the push.

    Raises:
        ProjectError, UsageError: BF170-BF173 that commit is not in this clone.
    """
    if choice.state is not None or not choice.needs_state:
        return choice
    with Repository(root) as repository:
        if base or _is_change(step):
            found = find_base(repository, find_head(repository, None), base, step.environment).commit
        else:
            found = repository.commit(_before_push(step)) or ""
    return replace(choice, state=found or None)


def _is_change(step: Step) -> bool:
    return any(step.environment.get(name) for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"))


def _before_push(step: Step) -> str:
    if step.forge == "gitlab":
        return step.environment.get("CI_COMMIT_BEFORE_SHA", "")
    return github.read_event(step.environment).before if step.forge == "github" else ""
