"""Errors, warnings and changes with their places -> SARIF, JUnit, and annotations of GitHub's log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from batchforge.error_codes import ERROR_CODES
from batchforge.errors import Problem, Severity
from batchforge.review.diff_values import JobDiff, ProjectDiff
from batchforge.review.diff_words import effect_words, part_words, status_words
from batchforge.terminal.terminal_text import printable

Level = Literal["error", "warning", "note"]
CHANGE = "change"
"""The rule of what is no problem: a job that asks something else."""
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    code: str
    message: str
    path: str = ""
    """From the repository's root."""
    line: int | None = None
    column: int | None = None


def findings_of(problems: Iterable[Problem], diff: ProjectDiff | None, prefix: str) -> list[Finding]:
    """`prefix` leads from the repository's root to the project."""
    found = [_of_problem(problem, prefix) for problem in problems]
    for job in diff.asking_jobs if diff else ():
        found.append(_of_job(job, prefix))
    return found


def _of_problem(problem: Problem, prefix: str) -> Finding:
    level: Level = "error" if problem.severity is Severity.ERROR else "warning"
    place = problem.location
    message = f"{problem.message} {problem.hint}".strip()
    if place is None:
        return Finding(level, problem.code, message)
    return Finding(level, problem.code, message, _joined(prefix, place.path), place.line, place.column)


def _of_job(job: JobDiff, prefix: str) -> Finding:
    places = [part.location for part in job.parts if part.changes_requests and part.location]
    path = places[0].path if places else job.path
    return Finding("note", CHANGE, _job_message(job), _joined(prefix, path), places[0].line if places else None)


def _job_message(job: JobDiff) -> str:
    parts = "; ".join(part_words(part) for part in job.parts if part.changes_requests)
    return f"{job.job} ({status_words(job)}): {effect_words(job)}{f'. {parts}' if parts else ''}"


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path


# ---- GitHub


def to_annotations(findings: Sequence[Finding]) -> str:
    """Workflow commands. What stands in them cannot begin another one: line ends and separators are escaped."""
    return "\n".join(_annotation(finding) for finding in findings)


def _annotation(finding: Finding) -> str:
    kind = "notice" if finding.level == "note" else finding.level
    properties = {"file": finding.path, "line": finding.line, "col": finding.column, "title": finding.code}
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value)
    return f"::{kind} {given}::{_data(finding.message)}"


def _data(text: str) -> str:
    lines = [printable(line) for line in text.replace("%", "%25").splitlines()]
    return "%0A".join(lines)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ---- SARIF


def to_sarif(findings: Sequence[Finding]) -> str:
    codes = sorted({finding.code for finding in findings})
    driver = {
        "name": "BatchForge",
        "version": version("batchforge"),
        "rules": [_rule(code) for code in codes],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [_result(f) for f in findings]}
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _rule(code: str) -> dict[str, Any]:
    if code not in ERROR_CODES:
        return {"id": code, "shortDescription": {"text": "A job asks something else"}}
    known = ERROR_CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": known.title},
        "help": {"text": f"{known.cause}\n\n{known.cure}"},
    }


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": finding.level,
        "message": {"text": finding.message},
    }
    if finding.path:
        place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.path)}}
        if finding.line:
            region = {"startLine": finding.line, "startColumn": finding.column}
            place["region"] = {name: value for name, value in region.items() if value}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(path: str) -> str:
    return quote(path)


# ---- JUnit


def to_junit(findings: Sequence[Finding], diff: ProjectDiff | None) -> str:
    """A test case for each job, failed ones for errors."""
    errors = [finding for finding in findings if finding.level == "error"]
    jobs = list(diff.jobs) if diff else []
    cases = [*(_failed_case(finding) for finding in errors), *(_job_case(job) for job in jobs)]
    head = f'<testsuite name="batchforge diff" tests="{len(cases)}" failures="{len(errors)}" errors="0" skipped="0">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"])


def _failed_case(finding: Finding) -> str:
    name = quoteattr(printable(f"{finding.code} {finding.path}".strip()))
    place = f" file={quoteattr(printable(finding.path))}" if finding.path else ""
    message = quoteattr(printable(finding.message))
    line = f' line="{finding.line}"' if finding.line else ""
    failure = f"<failure type={quoteattr(finding.code)} message={message}/>"
    return f'  <testcase classname="batchforge.project" name={name}{place}{line}>{failure}</testcase>'


def _job_case(job: JobDiff) -> str:
    words = escape(printable(_job_message(job)))
    return (
        f'  <testcase classname="batchforge.diff" name={quoteattr(job.job)}><system-out>{words}</system-out></testcase>'
    )
