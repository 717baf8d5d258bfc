"""The job's own tests, asked of both sides' answers: what passed and fails now, what was always so, what is chance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, Scenario
from batchforge.emulator.rule_answers import RuleAnswers
from batchforge.emulator.scripted_answers import ScriptAnswers
from batchforge.review.answer_values import AnswersDiff, JobTestDiff
from batchforge.review.answer_words import answer_lines
from batchforge.review.answers_diff import Labels
from tests.reviewing import ReviewedProject
from tests.test_artifact_schemas import problems

ROWS = 40
FIELDS = {"topic": {"one_of": ["bike", "boat"]}, "note": "text"}


class Model:
    """Notes of the newer prompt are long in every fourth row; boats are found by it alone; row 0 breaks the schema."""

    def __init__(self) -> None:
        self.is_noisy, self.seen = False, dict[str, int]()

    def __call__(self, params: Any, _custom_id: str | None) -> Any:
        text, is_new = params["messages"][-1]["content"][-1]["text"], "Tell" in str(params["system"])
        number = int(text.split()[-1])
        self.seen[str(params)] = times = self.seen.get(str(params), 0) + 1
        if number == 0 and is_new:
            return json.dumps({"topic": "train"})
        is_long = number % 4 == 1 and (is_new or (self.is_noisy and times > 1))
        return {"topic": "boat" if is_new else "bike", "note": "word " * (30 if is_long else 3)}


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def project(tmp_path: Path, model: Model) -> Iterator[ReviewedProject]:
    scenario = Scenario(processing_time_s=0, retry_after_s=None)
    with EmulatorServer(tmp_path / "e.db", scenario=scenario, answers=ScriptAnswers(model, RuleAnswers())) as emulator:
        project = ReviewedProject(tmp_path / "project", emulator)
        project.write_rows(
            [{"id": str(n), "text": f"Row {n}", "expected": "boat", "document": n // 10} for n in range(ROWS)]
        )
        yield project


def reviewed(project: ReviewedProject, *tests: Any, **options: Any) -> AnswersDiff:
    project.write_job(max_tokens=None, output={"fields": FIELDS}, tests=list(tests), min_success=0)
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    answers = project.reviewed(base="HEAD", sample=ROWS, yes=True, **options).answers
    assert answers is not None
    assert answers.compared == ROWS
    return answers


def asked(project: ReviewedProject, test: Any, **options: Any) -> JobTestDiff:
    (found,) = reviewed(project, test, **options).tests
    return found


LENGTH = {"length": {"column": "note", "max": 50}, "name": "short_note"}


def test_a_test_that_passed_and_fails_now_is_told_with_its_rows(project: ReviewedProject) -> None:
    test = asked(project, LENGTH)
    assert (test.before.status, test.after.status) == ("pass", "fail")
    assert (test.before.failures, test.after.failures, test.after.rows) == (0, 10, ROWS - 1)
    assert test.passing is not None
    assert (test.passing.before, test.passing.after, test.passing.broken) == (ROWS, ROWS - 11, 11)
    assert test.passing.verdict == "worse"
    assert test.noise is None


def test_a_change_that_makes_a_test_fail_is_held_back_and_one_that_lets_it_fail_is_not(
    project: ReviewedProject,
) -> None:
    always = {"accepted_values": {"column": "topic", "values": ["plane"]}, "name": "by_air"}
    reviewed(project, LENGTH, always)
    project.edit_project(review={"fail_on": {"new_test_failures": 0}})
    ended = project.cli("diff", "--base", "HEAD", "--output", "json")
    assert ended.exit_code == 5
    assert "BF830 new_test_failures (limit 0): 1 test fails that did not: about/short_note" in ended.stderr
    words = "1 test fails that did not: about/short_note"
    assert ended.json()["gates"] == [{"rule": "new_test_failures", "limit": 0, "is_tripped": True, "words": words}]
    markdown = project.cli("diff", "--base", "HEAD", "--output", "markdown")
    assert markdown.exit_code == 5
    assert "1 test fails that did not: about/short" in markdown.stdout
    project.edit_project(review={})
    assert project.cli("diff", "--base", "HEAD", "--fail-on", "new_test_failures=1").exit_code == 0


def test_rows_without_a_label_to_hit_are_broken_and_fixed_by_the_tests(project: ReviewedProject) -> None:
    answers = reviewed(project, LENGTH)
    kinds = {row.kind: row.words for row in answers.telling}
    assert set(kinds) == {"invalid", "broken", "changed"}
    assert kinds["broken"].endswith("fails short_note")
    assert kinds["invalid"] == "answered → invalid; fails short_note"


def test_measures_are_told_before_and_after(project: ReviewedProject) -> None:
    test = asked(project, {"accuracy": {"column": "topic", "label": "expected", "min": 0.9}})
    assert (test.before.value, test.before.status, test.after.status) == (0.0, "fail", "pass")
    assert test.after.value == 1.0
    assert test.passing is not None
    assert (test.passing.before, test.passing.after, test.passing.fixed) == (0, ROWS - 1, ROWS - 1)


def test_only_rows_that_a_test_is_about_are_counted(project: ReviewedProject) -> None:
    test = asked(project, {**LENGTH, "where": "document = 1"})
    assert test.passing is not None
    assert (test.passing.rows, test.passing.broken) == (10, 2)


def test_failing_by_chance_is_told_from_failing_by_the_edit(project: ReviewedProject, model: Model) -> None:
    above = asked(project, LENGTH, asks_twice=True).noise
    assert above is not None
    assert (above.rows, above.changed_by_edit, above.changed_by_chance, above.is_above) == (ROWS, 11, 0, True)


def test_a_test_that_fails_as_often_when_asked_twice_is_chance(project: ReviewedProject, model: Model) -> None:
    model.is_noisy = True
    noise = asked(project, LENGTH, asks_twice=True).noise
    assert noise is not None
    assert (noise.changed_by_chance, noise.is_above) == (10, False)


def test_rows_of_one_document_are_one_chance_for_a_test_too(project: ReviewedProject) -> None:
    test = asked(project, LENGTH, cluster="document")
    assert test.passing is not None
    assert (test.passing.clusters, test.passing.verdict) == (4, "not sure")


def test_what_cannot_be_asked_of_some_rows_or_at_all_is_said(project: ReviewedProject) -> None:
    missing = {"not_null": "nowhere", "name": "lost"}
    answers = reviewed(project, LENGTH, {"row_count": {"min": 1}}, missing)
    assert [test.name for test in answers.tests] == ["short_note", "lost"]
    assert any(note == "said of a whole output only, so not asked here: row_count" for note in answers.notes)
    lost = answers.tests[1]
    assert (lost.before.status, lost.after.status, lost.passing) == ("error", "error", None)
    assert any("test lost: error; the output has no column 'nowhere'" in line for line in answer_lines(answers))


def test_every_form_shows_the_tests(project: ReviewedProject, tmp_path: Path) -> None:
    answers = reviewed(project, LENGTH, labels=Labels("topic", "expected"))
    words = "test short_note: pass → fail; 100.0% → 72.5% of 40 rows, 0 fixed, 11 broken; -27.5 points"
    assert any(line.startswith(words) for line in answer_lines(answers))
    page = tmp_path / "review.html"
    options = ("diff", "--base", "HEAD", "--html", str(page))
    text, markdown, value = (
        project.cli(*options, *more) for more in ((), ("--output", "markdown"), ("--output", "json"))
    )
    assert f"  answers: {words}" in text.stdout
    assert "topic, before ↓ and now →:" in text.stdout
    assert "test short\\_note: pass → fail" in markdown.stdout
    assert "| `topic`: before ↓ now → | `bike` | `boat` |\n|---|--:|--:|\n| `bike` | · | **39** |" in markdown.stdout
    assert "short_note" in page.read_text()
    assert problems("diff", value.json()) == []
