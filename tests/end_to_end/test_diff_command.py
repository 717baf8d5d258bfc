"""`batchforge diff` as it is typed: offline, without a key, from git, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reviewing import ReviewedProject
from tests.test_artifact_schemas import problems


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    return ReviewedProject(tmp_path / "project")


def test_text_json_and_markdown_of_a_changed_prompt(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    text = project.cli("diff")
    assert text.exit_code == 0, text.stderr
    assert "about  modified" in text.stdout
    assert "- [-Say-] what" in text.stdout
    value = project.cli("diff", "--output", "json").json()
    assert problems("diff", value) == []
    assert value["summary"]["rows_to_send"] == 3
    assert value["jobs"][0]["parts"][0]["part"] == "system"
    assert "```diff" in project.cli("diff", "--output", "markdown").stdout
    assert project.repo.git("status", "--porcelain") == "M prompts/about.md.j2"


def test_values_of_every_form_are_as_the_schema_says(project: ReviewedProject) -> None:
    project.write_job("other", max_tokens=None, output={"file": "outputs/other.jsonl"})
    project.path("jobs/about.yml").unlink()
    project.path("data/rows.jsonl").unlink()
    value = project.cli("diff", "--output", "json").json()
    assert problems("diff", json.loads(json.dumps(value))) == []


def test_nothing_to_compare_with_is_an_error_with_its_cure(project: ReviewedProject) -> None:
    finished = project.cli("diff", "--base", "nowhere")
    assert finished.exit_code == 2
    assert "BF172" in finished.stderr
