"""GitHub: what a runner's event says, comments of a pull request, and the plan that was reviewed with it."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchforge.ci.forge_http import ForgeApi, ForgeRefused
from batchforge.ci.sticky import Comment

_BOT = "github-actions[bot]"
_MOST_PLAN_BYTES = 200_000_000
_VERSION = "2022-11-28"


@dataclass(frozen=True, slots=True)
class GitHubEvent:
    """What the runner was started for."""

    name: str
    repository: str
    head_sha: str
    run: tuple[int, int]
    """Run and attempt; of the run that made the review, where a second workflow posts it."""
    pull_request: int | None = None
    before: str = ""
    """Of a push: the commit that the branch stood on."""
    is_fork: bool = False
    """Whether the change comes from another repository: then there are no secrets, and the token may only read."""


def read_event(environment: Mapping[str, str] = os.environ) -> GitHubEvent:
    path = environment.get("GITHUB_EVENT_PATH", "")
    payload = json.loads(Path(path).read_text("utf-8")) if path else {}
    repository = environment.get("GITHUB_REPOSITORY", "")
    run = (_number(environment.get("GITHUB_RUN_ID")), _number(environment.get("GITHUB_RUN_ATTEMPT")) or 1)
    head, source = environment.get("GITHUB_SHA", ""), ""
    pull = payload.get("pull_request")
    if pull is not None:
        head, source = pull["head"]["sha"], (pull["head"].get("repo") or {}).get("full_name", "")
    finished = payload.get("workflow_run")
    if finished is not None:
        run = (int(finished["id"]), int(finished.get("run_attempt", 1)))
        head = finished["head_sha"]
        source = (finished.get("head_repository") or {}).get("full_name", "")
    is_change = pull is not None or finished is not None
    return GitHubEvent(
        name=environment.get("GITHUB_EVENT_NAME", ""),
        repository=repository,
        head_sha=head,
        run=run,
        pull_request=int(pull["number"]) if pull is not None else None,
        before=str(payload.get("before") or ""),
        is_fork=is_change and source.casefold() != repository.casefold(),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def github_api(environment: Mapping[str, str] = os.environ) -> ForgeApi | None:
    """None without a token."""
    token = environment.get("GITHUB_TOKEN", "")
    url = environment.get("GITHUB_API_URL", "https://api.github.com")
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": _VERSION,
    }
    return ForgeApi(url.rstrip("/"), headers) if token else None


@dataclass(slots=True)
class PullRequest:
    """Comments of a pull request."""

    api: ForgeApi
    repository: str
    number: int
    _author: str = ""

    def author(self) -> str:
        """A user's own name; a workflow's token has no user, and is asked in another way."""
        if not self._author:
            try:
                self._author = str(self.api.get("/user")["login"])
            except ForgeRefused:
                self._author = self._viewer()
        return self._author

    def _viewer(self) -> str:
        try:
            value = self.api.send("POST", "/graphql", {"query": "query { viewer { login } }"})
            return str(value["data"]["viewer"]["login"])
        except (ForgeRefused, KeyError, TypeError):
            return _BOT

    def comments(self) -> Iterator[Comment]:
        for value in self.api.pages(f"/repos/{self.repository}/issues/{self.number}/comments"):
            yield _comment(value)

    def create(self, body: str) -> Comment:
        path = f"/repos/{self.repository}/issues/{self.number}/comments"
        return _comment(self.api.send("POST", path, {"body": body}))

    def update(self, comment: Comment, body: str) -> None:
        self.api.send("PATCH", f"/repos/{self.repository}/issues/comments/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        self.api.delete(f"/repos/{self.repository}/issues/comments/{comment.id}")

    def head_sha(self) -> str:
        return str(self.api.get(f"/repos/{self.repository}/pulls/{self.number}")["head"]["sha"])


def _comment(value: Mapping[str, Any]) -> Comment:
    return Comment(int(value["id"]), str((value.get("user") or {}).get("login", "")), str(value.get("body") or ""))


def merged_pull_requests(api: ForgeApi, repository: str, sha: str) -> list[int]:
    """Those that a commit of the main branch came from: merged, squashed or rebased. The newest first."""
    pulls = api.get(f"/repos/{repository}/commits/{sha}/pulls")
    merged = [pull for pull in pulls if pull.get("merged_at")]
    return [int(pull["number"]) for pull in sorted(merged, key=lambda pull: str(pull["merged_at"]), reverse=True)]


def download_plan(api: ForgeApi, repository: str, artifact: str, file: str) -> bytes | None:
    """A plan that a review left behind; None where it is there no more.

    Only those of the repository's own runs are looked at, not those of forks.
    """
    listed = api.get(f"/repos/{repository}/actions/artifacts?per_page=100&name={artifact}")["artifacts"]
    for found in listed:
        run = found.get("workflow_run") or {}
        is_own = run.get("head_repository_id") == run.get("repository_id")
        if found["name"] == artifact and not found.get("expired") and is_own:
            data = api.download(f"/repos/{repository}/actions/artifacts/{int(found['id'])}/zip")
            return _unpacked(data, file)
    return None


def _unpacked(data: bytes, file: str) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            info = archive.getinfo(file)
            return archive.read(info) if info.file_size <= _MOST_PLAN_BYTES else None
    except (zipfile.BadZipFile, KeyError):
        return None
