"""A local server that speaks what steps of a pipeline use of GitHub's and GitLab's API, with their refusals."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BOT = "github-actions[bot]"
TOKEN, GITLAB_TOKEN = "forge-token", "gitlab-token"
Answer = tuple[int, Any, dict[str, str]]


@dataclass
class ForgeServer:
    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    merged: dict[str, int] = field(default_factory=dict)
    """Commit -> the pull request that was merged with it."""
    heads: dict[int, str] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    artifact_source: int = 1
    """The repository of the run that left them; 1 is the own one."""
    job_files: dict[str, bytes] = field(default_factory=dict)
    is_read_only: bool = False
    limits_left: int = 0
    """So many writes are answered by a secondary rate limit."""
    longest: int = 65_536
    asked: list[str] = field(default_factory=list)

    def add(self, body: str, author: str = BOT) -> dict[str, Any]:
        user = {"login": author, "username": author}
        number = len(self.comments) + 1
        self.comments.append({"id": number, "body": body, "user": user, "author": user})
        return self.comments[-1]

    def own(self, author: str = BOT) -> list[str]:
        return [comment["body"] for comment in self.comments if comment["user"]["login"] == author]

    # ---- what is asked

    def answer(self, method: str, target: str, body: Any, headers: Any) -> Answer:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        self.asked.append(f"{method} {path}")
        if path.startswith("/blob/"):
            assert "Authorization" not in headers
            return 200, self.artifacts[path.removeprefix("/blob/")], {}
        if headers.get("Authorization") != f"Bearer {TOKEN}" and headers.get("PRIVATE-TOKEN") != GITLAB_TOKEN:
            return 401, {"message": "Bad credentials"}, {}
        if path in ("/graphql",):
            return 200, {"data": {"viewer": {"login": BOT}}}, {}
        refusal = self._refusal(method, body)
        return refusal or self._routed(method, path, query, body, headers)

    def _refusal(self, method: str, body: Any) -> Answer | None:
        if method == "GET":
            return None
        if self.is_read_only:
            return 403, {"message": "Resource not accessible by integration"}, {}
        if self.limits_left:
            self.limits_left -= 1
            return 403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "0"}
        if body and len(body["body"]) > self.longest:
            return 422, {"message": "Validation Failed: body is too long"}, {}
        return None

    def _routed(self, method: str, path: str, query: dict[str, str], body: Any, headers: Any) -> Answer:
        notes = r"/projects/7/merge_requests/\d+/notes"
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"/user", lambda: self._user(headers)),
            (rf"/repos/o/r/issues/\d+/comments|{notes}", lambda: self._list(method, query, body)),
            (rf"/repos/o/r/issues/comments/(\d+)|{notes}/(\d+)", lambda *ids: self._one(method, ids, body)),
            (r"/repos/o/r/pulls/(\d+)", lambda number: (200, {"head": {"sha": self.heads[int(number)]}}, {})),
            (r"/repos/o/r/commits/(\w+)/pulls|/projects/7/repository/commits/(\w+)/merge_requests", self._merged),
            (r"/repos/o/r/actions/artifacts", lambda: self._artifacts(query)),
            (r"/repos/o/r/actions/artifacts/(\d+)/zip", self._zip),
            (r"/projects/7/jobs/(\d+)/artifacts/(.*)", self._job_file),
        ]  # fmt: skip
        for pattern, answer in routes:
            if found := re.fullmatch(pattern, path):
                return answer(*(group for group in found.groups() if group))
        return 404, {"message": "Not Found"}, {}

    def _user(self, headers: Any) -> Answer:
        if "PRIVATE-TOKEN" in headers:
            return 200, {"username": BOT}, {}
        return 403, {"message": "Resource not accessible by integration"}, {}

    def _list(self, method: str, query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            return 201, self.add(body["body"]), {}
        size, page = int(query["per_page"]), int(query["page"])
        return 200, self.comments[(page - 1) * size : page * size], {}

    def _one(self, method: str, ids: tuple[str, ...], body: Any) -> Answer:
        (comment,) = [each for each in self.comments if each["id"] == int(ids[0])]
        if method == "DELETE":
            self.comments.remove(comment)
            return 204, None, {}
        comment["body"] = body["body"]
        return 200, comment, {}

    def _merged(self, sha: str) -> Answer:
        number = self.merged.get(sha)
        value = {"number": number, "iid": number, "merged_at": "2026-01-01T00:00:00Z", "state": "merged"}
        return 200, [value] if number else [], {}

    def _artifacts(self, query: dict[str, str]) -> Answer:
        run = {"head_repository_id": self.artifact_source, "repository_id": 1}
        names = [name for name in self.artifacts if name == query["name"]]
        found = [{"id": n + 1, "name": name, "expired": False, "workflow_run": run} for n, name in enumerate(names)]
        self._shown = names
        return 200, {"artifacts": found}, {}

    def _zip(self, number: str) -> Answer:
        return 302, None, {"Location": f"{self.url}/blob/{self._shown[int(number) - 1]}"}

    def _job_file(self, job: str, path: str) -> Answer:
        data = self.job_files.get(f"{job}/{path}")
        return (200, data, {}) if data is not None else (404, {"message": "404 Not Found"}, {})

    def keep_plan(self, name: str, plan: bytes) -> None:
        """As actions/upload-artifact does."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("plan.json", plan)
        self.artifacts[name] = data.getvalue()


@contextmanager
def forge_server() -> Iterator[ForgeServer]:
    forge = ForgeServer()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, value, headers = forge.answer(self.command, self.path, body, self.headers)
            data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _do

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join()
