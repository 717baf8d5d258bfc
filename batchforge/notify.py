"""The end of a run -> whoever is to be told: a JSON value to a URL or to a command. Never prompts, answers or keys.

A notice that fails is a warning; it never fails a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batchforge.error_codes import ERROR_CODES
from batchforge.errors import BatchForgeError, Problem, ProjectError
from batchforge.project import Notice, Project
from batchforge.target import checked_base_url, resolve_env

ALLOW_COMMANDS = "BATCHFORGE_ALLOW_COMMANDS"
_NOT_GIVEN_ON = ("ANTHROPIC_", "BATCHFORGE_")
"""Beginnings of variables that a command does not get to see."""


def failure_value(project: Project, problems: Sequence[Problem]) -> dict[str, Any]:
    """For a command that ended without doing its work. Messages are left out: they can quote a row."""
    found = [
        {"code": p.code, "title": ERROR_CODES[p.code].title, "location": str(p.location) if p.location else None}
        for p in problems
    ]
    return {"project": project.name, "status": "error", "problems": found}


def send_notices(project: Project, value: Mapping[str, Any], *, has_failed: bool) -> list[Problem]:
    """Tell everyone who wants to know; returns what went wrong with that."""
    event = "failure" if has_failed else "end"
    body = json.dumps({"event": event, **value}, ensure_ascii=False, default=str).encode()
    problems: list[Problem] = []
    for notice in project.notices:
        if notice.on == "failure" and not has_failed:
            continue
        try:
            _send_to_url(notice, body) if notice.url else _run_command(notice, body, project)
        except BatchForgeError as exc:
            problems += exc.problems
        except (OSError, ValueError, subprocess.SubprocessError) as exc:
            problems.append(_failed(notice, exc))
    return problems


def _failed(notice: Notice, exc: Exception) -> Problem:
    """Says neither the address nor the words of the command: both can hold a secret."""
    what = "the URL" if notice.url else "the command"
    reason = f"no answer within {notice.timeout_s:g} s" if _is_timeout(exc) else _reason(exc)
    return Problem(
        "BF950", f"{what} of `notify:` was not reached: {reason}", notice.location, "The run is not affected."
    )


def _is_timeout(exc: Exception) -> bool:
    return isinstance(exc, TimeoutError | subprocess.TimeoutExpired) or isinstance(
        getattr(exc, "reason", None), TimeoutError
    )


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        return f"HTTP {exc.code}"
    if isinstance(exc, subprocess.CalledProcessError):
        return f"it ended with exit code {exc.returncode}"
    reason = getattr(exc, "reason", exc)
    return getattr(reason, "strerror", None) or type(reason).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The host was allowed, and only this one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _send_to_url(notice: Notice, body: bytes) -> None:
    url = checked_base_url(resolve_env(notice.url, "notify", notice.location), notice.location)
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=notice.timeout_s) as response:
        response.read(1)


def _run_command(notice: Notice, body: bytes, project: Project) -> None:
    if os.environ.get(ALLOW_COMMANDS) != "1":
        raise ProjectError(
            "BF144",
            "The command of `notify:` was not run: project files may not start programs here.",
            hint=f"If you trust this project's files, set {ALLOW_COMMANDS}=1 in your own environment.",
            location=notice.location,
        )
    subprocess.run(
        notice.command,
        input=body,
        cwd=project.root,
        env=_environment(os.environ.items()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=notice.timeout_s,
        check=True,
    )


def _environment(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in variables if not name.startswith(_NOT_GIVEN_ON) and "KEY" not in name}
