"""A review's words -> the comment of a pull or merge request; or what could not be done, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchforge.ci import github, gitlab, sticky
from batchforge.ci.forge_http import ForgeRefused
from batchforge.ci.step_files import Step
from batchforge.ci.sticky import Marker, Thread
from batchforge.errors import UsageError

Render = Callable[[int], str]
"""Markdown of at most so many characters."""
COMMENT_FILE, COMMENT_VALUE = "comment.md", "comment.json"
NOT_TOLD = "BF132"
"""A variable of an address is not set."""
STATE_NOT_READ = (
    "Every row is counted as new, since the state could not be read: a change from a fork has no credentials for it. "
    "So this is the most that can be sent."
)
_FROM_A_FORK = "_Made by a run of a fork, with its own files: read it as such. It carries no plan._"


def marker_of(step: Step, key: str, plan_hash: str) -> Marker:
    """A change from a fork carries no plan: what it says of itself approves nothing."""
    environment = step.environment
    if step.forge == "gitlab":
        run = (_number(environment.get("CI_PIPELINE_ID", "")), _number(environment.get("CI_JOB_ID", "")))
        return Marker(key, run, plan_hash, environment.get("CI_JOB_ID", ""))
    event = github.read_event(environment)
    return Marker(key, event.run, "" if event.is_fork else plan_hash)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def is_fork(step: Step) -> bool:
    if step.forge == "gitlab":
        source = step.environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "")
        return bool(source) and source != step.environment.get("CI_MERGE_REQUEST_PROJECT_ID", source)
    return step.forge == "github" and github.read_event(step.environment).is_fork


def is_about_state(code: str) -> bool:
    """Whether a problem of this code is that the state is not to be had: a variable of its address is not set, or it
    does not answer."""
    return code == NOT_TOLD or code.startswith("BF5")


def post_comment(step: Step, marker: Marker, render: Render) -> str:
    """What was done, or why it was not; never a failure of the step."""
    _keep_comment(step, marker, render)
    try:
        thread, why_not = _thread(step)
        return sticky.post(thread, marker, render) if thread else why_not
    except ForgeRefused as exc:
        if exc.is_read_only:
            return f"the comment was not posted, since this token may not write it ({exc}); the job's summary holds it"
        return f"the comment was not posted ({exc}); the job's summary holds it"


def _keep_comment(step: Step, marker: Marker, render: Render) -> None:
    """For a second workflow that may write, and for people."""
    text = render(60_000)
    step.keep(COMMENT_FILE, text)
    event = github.read_event(step.environment) if step.forge == "github" else None
    number = event.pull_request if event else None
    step.keep(COMMENT_VALUE, json.dumps({"key": marker.key, "number": number, "markdown": text}, ensure_ascii=False))


def _thread(step: Step) -> tuple[Thread | None, str]:
    environment = step.environment
    if step.forge == "gitlab":
        number, api = environment.get("CI_MERGE_REQUEST_IID", ""), gitlab.gitlab_api(environment)
        if not number:
            return None, "no comment: this pipeline is not about a merge request"
        if api is None:
            return None, "no note: BATCHFORGE_GITLAB_TOKEN is not set, as in a pipeline of a fork"
        return gitlab.MergeRequest(api, environment["CI_PROJECT_ID"], number), ""
    if step.forge == "none":
        return None, "no comment: this is no runner of GitHub or GitLab"
    event, token_api = github.read_event(environment), github.github_api(environment)
    if event.pull_request is None:
        return None, "no comment: this event is not about a pull request"
    if token_api is None:
        return None, "no comment: there is no token"
    return github.PullRequest(token_api, event.repository, event.pull_request), ""


def post_for_another(step: Step, path: Path) -> str:
    """Post what an untrusted run left behind, from a workflow that may write. It is taken as text, and for the pull
    request that the run was about, whatever the file says.

    Raises:
        UsageError: BF960 the file is no comment, or belongs to another pull request.
    """
    value = _read_comment(path)
    event, api = github.read_event(step.environment), github.github_api(step.environment)
    if event.name != "workflow_run" or api is None:
        raise UsageError("BF960", "`ci comment` belongs into a workflow_run workflow, with a token.", hint=_HINT)
    thread = github.PullRequest(api, event.repository, int(value["number"]))
    try:
        if thread.head_sha() != event.head_sha:
            message = f"pull request {value['number']} has another head than the run that made {path.name}"
            raise UsageError("BF960", f"The comment was not posted: {message}.", hint=_HINT)
        marker = Marker(str(value["key"]), event.run)
        text = f"{_FROM_A_FORK}\n\n{value['markdown']}"
        return sticky.post(thread, marker, lambda most: text if len(text) <= most else f"{text[: most - 2]}…\n")
    except ForgeRefused as exc:
        return f"the comment was not posted ({exc})"


_HINT = "A newer push has a run of its own. Look at `projects/ci/github/comment.yml` for the whole workflow."


def _read_comment(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not isinstance(value["number"], int) or not isinstance(value["markdown"], str):
            raise TypeError("number and markdown")
        return {**value, "key": str(value["key"])[:200]}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError("BF960", f"{path} is not what a review left behind.", hint=_HINT) from exc
