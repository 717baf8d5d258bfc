"""GitLab: notes of a merge request, and the report of code quality that a merge request shows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from batchforge.ci.forge_http import ForgeApi, ForgeRefused
from batchforge.ci.sticky import Comment
from batchforge.review.findings import Finding

_SEVERITIES = {"error": "major", "warning": "minor", "note": "info"}


@dataclass(slots=True)
class MergeRequest:
    """Notes of a merge request."""

    api: ForgeApi
    project: str
    number: str
    _author: str = ""

    @property
    def _path(self) -> str:
        return f"/projects/{quote(self.project, safe='')}/merge_requests/{quote(self.number, safe='')}/notes"

    def author(self) -> str:
        if not self._author:
            self._author = str(self.api.get("/user")["username"])
        return self._author

    def comments(self) -> Iterator[Comment]:
        for value in self.api.pages(f"{self._path}?sort=asc"):
            if not value.get("system"):
                yield _comment(value)

    def create(self, body: str) -> Comment:
        return _comment(self.api.send("POST", self._path, {"body": body}))

    def update(self, comment: Comment, body: str) -> None:
        self.api.send("PUT", f"{self._path}/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        self.api.delete(f"{self._path}/{comment.id}")


def _comment(value: Mapping[str, Any]) -> Comment:
    return Comment(int(value["id"]), str((value.get("author") or {}).get("username", "")), str(value.get("body") or ""))


def gitlab_api(environment: Mapping[str, str] = os.environ) -> ForgeApi | None:
    """None without a token that may write notes."""
    token = environment.get("BATCHFORGE_GITLAB_TOKEN", "")
    return ForgeApi(environment["CI_API_V4_URL"].rstrip("/"), {"PRIVATE-TOKEN": token}) if token else None


def merged_requests(api: ForgeApi, project: str, sha: str) -> list[str]:
    """Those that a commit of the main branch came from, the newest first."""
    found = api.get(f"/projects/{quote(project, safe='')}/repository/commits/{quote(sha, safe='')}/merge_requests")
    merged = [value for value in found if value.get("state") == "merged"]
    return [str(value["iid"]) for value in sorted(merged, key=lambda value: str(value["merged_at"]), reverse=True)]


def download_artifact(api: ForgeApi, project: str, job: str, path: str) -> bytes | None:
    """A file that a job kept; None where it is there no more."""
    place = f"/projects/{quote(project, safe='')}/jobs/{quote(job, safe='')}/artifacts/{quote(path)}"
    try:
        return api.download(place)
    except ForgeRefused as exc:
        if exc.status == 404:
            return None
        raise


def to_code_quality(findings: Sequence[Finding]) -> str:
    """The JSON of a `codequality` report."""
    return json.dumps([_issue(finding) for finding in findings], indent=2, ensure_ascii=False)


def _issue(finding: Finding) -> dict[str, Any]:
    words = f"{finding.code} {finding.path} {finding.message}"
    return {
        "description": f"{finding.code} {finding.message}",
        "check_name": finding.code,
        "fingerprint": hashlib.sha256(words.encode()).hexdigest(),
        "severity": _SEVERITIES[finding.level],
        "location": {"path": finding.path or "batchforge.yml", "lines": {"begin": finding.line or 1}},
    }
