"""Whether a target's state outlives the runner: what is in flight there, and paid, must not be forgotten with it."""

from __future__ import annotations

from pathlib import Path

from batchforge.ci.step_files import Step
from batchforge.errors import ProblemList, UsageError
from batchforge.project import Project, load_project
from batchforge.state.stores import sqlite_path
from batchforge.target import Target
from batchforge.targets import state_url


def check_state_stays(step: Step, root: Path, target_name: str | None) -> None:
    """
    Raises:
        UsageError: BF962 the state is a file in the checkout of a runner that ends with its job.
    """
    problems = ProblemList()
    project = load_project(root, problems=problems)
    problems.raise_if_any()
    target = project.target(target_name)
    if not is_disposable(step) or target.type == "emulator" or not lies_in_checkout(project, target):
        return
    hint = f"Give `{target.name}` a state that runners share, e.g. `state: s3://BUCKET/NAME`: docs/shared-state.md."
    message = f"Nothing was sent: the state of `{target.name}` is a file of this runner, and would be gone with it."
    raise UsageError("BF962", message, hint=hint, location=target.location)


def is_disposable(step: Step) -> bool:
    """Whether the forge says that the machine is made for this job alone."""
    environment = step.environment
    is_hosted = environment.get("RUNNER_ENVIRONMENT") == "github-hosted"
    return is_hosted or environment.get("CI_DISPOSABLE_ENVIRONMENT") == "true"


def lies_in_checkout(project: Project, target: Target) -> bool:
    """A path elsewhere may be a volume that stays."""
    url = state_url(project, target)
    path = sqlite_path(url) or (Path(url.removeprefix("file://")) if url.startswith("file://") else None)
    return path is not None and path.is_relative_to(project.root.absolute())
