"""A commit of the main branch -> the plan that was reviewed with it: the file whose hash the comment holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from batchforge.ci import github, gitlab, sticky
from batchforge.ci.forge_http import ForgeRefused
from batchforge.ci.step_files import Step
from batchforge.ci.sticky import Marker
from batchforge.errors import UsageError
from batchforge.planning.plan_file import read_plan

_HINT = (
    "Run this from a merge of a reviewed pull request, or name a plan file with --plan, or approve the run itself with "
    "--plan none and --max-cost."
)


def artifact_name(plan_hash: str) -> str:
    return f"batchforge-plan-{plan_hash}"


def find_approved(step: Step, key: str, path_in_repository: str) -> Path | None:
    """The plan, whose hash is that of the comment; None where the commit comes from no review with a plan.

    Raises:
        UsageError: BF961 the forge gives no answer, or the plan is there no more or is another one.
    """
    try:
        for marker, plan in _candidates(step, key, path_in_repository):
            if plan is None:
                message = f"the plan {marker.plan_hash[:12]} of the review is not kept any more"
                raise UsageError("BF961", f"Nothing was sent: {message}.", hint=_HINT)
            path = step.folder / "approved-plan.json"
            step.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(plan)
            if read_plan(path).plan_hash != marker.plan_hash:
                raise UsageError("BF961", "Nothing was sent: the plan that was kept is not the one of the review.")
            return path
    except ForgeRefused as exc:
        raise UsageError("BF961", f"Nothing was sent: the review cannot be looked up ({exc}).", hint=_HINT) from exc
    return None


def none_approved() -> UsageError:
    return UsageError("BF961", "Nothing was sent: this commit comes from no review with a plan.", hint=_HINT)


def _candidates(step: Step, key: str, path: str) -> Iterator[tuple[Marker, bytes | None]]:
    environment = step.environment
    if step.forge == "gitlab" and (gitlab_api := gitlab.gitlab_api(environment)):
        project = environment["CI_PROJECT_ID"]
        for number in gitlab.merged_requests(gitlab_api, project, environment["CI_COMMIT_SHA"]):
            marker = sticky.find(gitlab.MergeRequest(gitlab_api, project, number), key)
            if marker is not None and marker.plan_hash:
                yield marker, gitlab.download_artifact(gitlab_api, project, marker.job, path)
    if step.forge == "github" and (api := github.github_api(environment)):
        event = github.read_event(environment)
        for pull_request in github.merged_pull_requests(api, event.repository, event.head_sha):
            marker = sticky.find(github.PullRequest(api, event.repository, pull_request), key)
            if marker is not None and marker.plan_hash:
                name = artifact_name(marker.plan_hash)
                yield marker, github.download_plan(api, event.repository, name, path.rpartition("/")[2])
