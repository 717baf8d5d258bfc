"""`notify:`: who is told of the end of a run, what they get, and what is not allowed."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Finished, ProjectFiles

SECRET_TEXT = "A red bicycle."


class Hook:
    """A server that keeps what it is sent."""

    def __init__(self, status: int = 200, delay_s: float = 0.0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.may_answer = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                hook.may_answer.wait(delay_s)
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    started = Hook()
    yield started
    started.close()


@pytest.fixture
def small(tmp_path: Path) -> ProjectFiles:
    """A project on its embedded emulator."""
    return ProjectFiles(tmp_path / "small")


def run(project: ProjectFiles, *notices: dict[str, Any], words: tuple[str, ...] = (), **env: Any) -> Finished:
    settings = json.loads(project.path("batchforge.yml").read_text())
    project.write("batchforge.yml", json.dumps({**settings, "notify": notices}, indent=1))
    return project.cli("run", "-q", *words, **env)


def test_a_url_gets_the_summary_and_no_prompts_answers_or_keys(small: ProjectFiles, hook: Hook) -> None:
    assert run(small, {"url": hook.url}, ANTHROPIC_API_KEY="sk-ant-test").exit_code == 0
    (body,) = hook.bodies
    assert (body["event"], body["project"], body["status"]) == ("end", "small", "ok")
    assert body["jobs"][0]["output"]["statuses"] == {"answered": 3}
    assert not any(text in json.dumps(body) for text in (SECRET_TEXT, "in one sentence", "sk-ant-test"))


def test_a_url_may_come_from_the_environment(small: ProjectFiles, hook: Hook) -> None:
    assert run(small, {"url": "{{ env_var('HOOK_URL') }}"}, HOOK_URL=hook.url).exit_code == 0
    assert len(hook.bodies) == 1


def test_on_failure_tells_only_of_failures(small: ProjectFiles, hook: Hook) -> None:
    run(small, {"url": hook.url, "on": "failure"})
    assert hook.bodies == []
    small.write_rows([{"id": "0", "text": "x", "answer": "taken"}])
    assert run(small, {"url": hook.url, "on": "failure"}).exit_code == 2
    (body,) = hook.bodies
    assert (body["event"], body["status"]) == ("failure", "error")
    assert [problem["code"] for problem in body["problems"]] == ["BF702"]


def test_batches_in_flight_are_no_end(small: ProjectFiles, hook: Hook) -> None:
    small.write_project(processing_s=60)
    assert run(small, {"url": hook.url}, words=("--no-wait",)).exit_code == 3
    assert hook.bodies == []


@pytest.mark.parametrize(("status", "told"), [(500, "HTTP 500"), (302, "HTTP 302")])
def test_a_url_that_fails_is_a_warning(small: ProjectFiles, status: int, told: str) -> None:
    failing = Hook(status)
    done = run(small, {"url": failing.url})
    failing.close()
    assert done.exit_code == 0
    assert "BF950" in done.stderr
    assert told in done.stderr


def test_a_url_that_does_not_answer_is_given_up(small: ProjectFiles) -> None:
    slow = Hook(delay_s=20)
    done = run(small, {"url": slow.url, "timeout_s": 0.3})
    slow.close()
    assert done.exit_code == 0
    assert "no answer within 0.3 s" in done.stderr


def test_a_host_that_is_not_allowed_is_told_nothing(small: ProjectFiles) -> None:
    done = run(small, {"url": "https://hooks.example/x"})
    assert done.exit_code == 0
    assert "BF135" in done.stderr


def test_a_command_runs_only_where_that_is_allowed(small: ProjectFiles) -> None:
    code = "import sys; open('told.json', 'w').write(sys.stdin.read())"
    notice = {"command": [sys.executable, "-c", code]}
    done = run(small, notice)
    assert done.exit_code == 0
    assert "BF144" in done.stderr
    assert not small.path("told.json").exists()
    assert run(small, notice, BATCHFORGE_ALLOW_COMMANDS="1").exit_code == 0
    assert json.loads(small.path("told.json").read_text())["status"] == "ok"


def test_a_command_sees_no_keys(small: ProjectFiles) -> None:
    code = "import os; open('seen', 'w').write(' '.join(os.environ.values()))"
    notice = {"command": [sys.executable, "-c", code]}
    run(small, notice, BATCHFORGE_ALLOW_COMMANDS="1", ANTHROPIC_API_KEY="sk-ant-test", MY_KEY="other-secret")
    assert not any(secret in small.path("seen").read_text() for secret in ("sk-ant-test", "other-secret"))


def test_a_command_that_fails_is_a_warning(small: ProjectFiles) -> None:
    failing = {"command": [sys.executable, "-c", "raise SystemExit(7)"]}
    done = run(small, failing, {"command": "no-such-program"}, BATCHFORGE_ALLOW_COMMANDS="1")
    assert done.exit_code == 0
    assert "exit code 7" in done.stderr
    assert "No such file" in done.stderr
