"""Errors, warnings and changed jobs where machines look for them: with file and line, and nothing forged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from batchforge.errors import Location, Problem, Severity
from batchforge.review.findings import findings_of, to_annotations, to_junit, to_sarif
from tests.diff_examples import EXAMPLES, HOSTILE
from tests.reviewing import ReviewedProject

PROBLEMS = [
    Problem("BF101", "`modle` is not a job setting.", Location("jobs/a.yml", 7, 3), "Did you mean `model`?"),
    Problem("BF440", "100 % old: a, b\nnext", None, severity=Severity.WARNING),
]


def test_annotations_name_file_and_line_and_escape_the_rest() -> None:
    lines = to_annotations(findings_of(PROBLEMS, EXAMPLES["modified"], "llm")).split("\n")
    assert lines == [
        "::error file=llm/jobs/a.yml,line=7,col=3,title=BF101::`modle` is not a job setting. Did you mean `model`?",
        "::warning title=BF440::100 %25 old: a, b%0Anext",
        "::notice file=llm/jobs/triage.yml,line=4,title=change::triage (modified): 4,610 rows to send, 100 answered "
        "before; $2.91 expected, $11.02 at most. system: prompts/triage.md.j2",
    ]


def test_no_text_begins_a_command_of_its_own() -> None:
    problem = Problem("BF101", HOSTILE, Location(HOSTILE, 1))
    text = to_annotations(findings_of([problem], EXAMPLES["hostile"], ""))
    assert [line[:9] for line in text.split("\n")] == ["::error f", "::notice "]
    assert "\r" not in text
    assert "\x1b" not in text


def test_sarif_holds_rules_and_places() -> None:
    value = json.loads(to_sarif(findings_of(PROBLEMS, EXAMPLES["modified"], "")))
    (run,) = value["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["BF101", "BF440", "change"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "jobs/a.yml"}, "region": {"startLine": 7, "startColumn": 3}}
    assert "locations" not in run["results"][1]


@pytest.mark.parametrize("name", ["modified", "several", "hostile", "nothing"])
def test_junit_has_a_case_for_each_job_and_failures_for_errors(name: str) -> None:
    suite = ElementTree.fromstring(to_junit(findings_of(PROBLEMS, EXAMPLES[name], ""), EXAMPLES[name]))
    assert suite.get("failures") == "1"
    assert len(suite) == int(suite.get("tests", "")) == len(EXAMPLES[name].jobs) + 1


def test_what_is_wrong_with_the_project_is_found_too(tmp_path: Path) -> None:
    project = ReviewedProject(tmp_path / "project")
    project.write_job(modle="x")
    finished = project.cli("diff", "--output", "github")
    assert finished.exit_code == 2
    assert finished.stdout.startswith("::error file=jobs/about.yml,line=")
    project.write_job()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    finished = project.cli("diff", "--output", "sarif")
    assert finished.exit_code == 0
    assert finished.json()["runs"][0]["results"][0]["ruleId"] == "change"
