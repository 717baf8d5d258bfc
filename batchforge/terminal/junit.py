"""Results of tests -> JUnit's XML, which CI systems read: a suite for each job, a case for each test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from batchforge.summaries import JobSummary, RunSummary
from batchforge.testing.outcome import ERROR, FAIL, PASS, SKIPPED, WARN, AssertionResult

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(jobs: Sequence[JobSummary], *, name: str, timestamp: str) -> str:
    """A warning is a case that passes, with what it warns of as its output."""
    suites = [_suite(job, timestamp) for job in jobs if job.tests]
    results = [result for job in jobs for result in job.tests]
    lines = [f"<testsuites name={_attribute(name)} {_counts(results)}>", *suites, "</testsuites>"]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(lines) + "\n"


def _suite(job: JobSummary, timestamp: str) -> str:
    cases = [line for result in job.tests for line in _case(result)]
    start = f"  <testsuite name={_attribute(job.job)} timestamp={_attribute(timestamp)} {_counts(job.tests)}>"
    return "\n".join([start, *cases, "  </testsuite>"])


def _counts(results: Sequence[AssertionResult]) -> str:
    counts = Counter(result.status for result in results)
    time_s = sum(result.duration_s for result in results)
    return (
        f'tests="{len(results)}" failures="{counts[FAIL]}" errors="{counts[ERROR]}" '
        f'skipped="{counts[SKIPPED]}" time="{time_s:.3f}"'
    )


def _case(result: AssertionResult) -> list[str]:
    file = f" file={_attribute(result.path)}" if result.path else ""
    start = f"    <testcase classname={_attribute(result.job)} name={_attribute(result.name)}{file}"
    start += f' time="{result.duration_s:.3f}"'
    inside = _inside(result)
    return [f"{start}/>"] if not inside else [f"{start}>", f"      {inside}", "    </testcase>"]


def _inside(result: AssertionResult) -> str:
    message, text = _attribute(result.message), _text(_told(result))
    match result.status:
        case "fail":
            return f"<failure type={_attribute(result.kind)} message={message}>{text}</failure>"
        case "error":
            return f"<error type={_attribute(result.kind)} message={message}>{text}</error>"
        case "skipped":
            return f"<skipped message={message}/>"
    return f"<system-out>{text}</system-out>" if result.status in (PASS, WARN) and result.message else ""


def _told(result: AssertionResult) -> str:
    warning = "WARNING: " if result.status == WARN else ""
    rows = f"\nfailing rows: {result.failures_path}" if result.failures_path else ""
    return f"{warning}{result.message}{rows}"


def _text(text: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("\ufffd", text))


def write_junit(path: Path, summary: RunSummary, name: str) -> None:
    """
    Raises:
        BatchForgeError: BF701 it cannot be written.
    """
    from batchforge.tables.writing import not_written

    text = junit_xml(summary.jobs, name=name, timestamp=summary.started_at)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise not_written(str(path), exc) from exc
