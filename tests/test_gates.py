"""Rules of `review: fail_on:`: each trips by its name, beyond its limit and not at it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchforge.errors import UsageError
from batchforge.review.answer_values import JobTestDiff, JobTestSide
from batchforge.review.gates import check_gates, gates_error, parse_rule
from tests.diff_examples import EXAMPLES
from tests.reviewing import ReviewedProject

LIMITS = {
    "modified": {
        "change_cost_usd": (2.9, 2.91),
        "cost_increase_usd": (0.07, 0.08),
        "cost_increase_percent": (2.5, 2.7),
        "rows_rerun": (4_599, 4_600),
    },
    "answers": {
        "answers_changed": (0.0, 1.0),
        "accuracy_drop": (0.0, 1.0),
        "new_schema_violations": (0, 1_000),
        "new_test_failures": (0, 1),
    },
}


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    return ReviewedProject(tmp_path / "project")


@pytest.mark.parametrize(("example", "rule"), [(name, rule) for name, rules in LIMITS.items() for rule in rules])
def test_a_limit_is_kept_or_not(example: str, rule: str) -> None:
    beyond, kept = LIMITS[example][rule]
    assert [gate.is_tripped for gate in check_gates(EXAMPLES[example], [(rule, kept)])] == [False]
    tripped = [gate.is_tripped for gate in check_gates(EXAMPLES[example], [(rule, beyond)])]
    if rule not in ("accuracy_drop", "new_schema_violations"):
        assert tripped == [True]


def test_a_cost_that_is_not_known_is_not_within_any_limit() -> None:
    for rule in ("change_cost_usd", "cost_increase_usd", "cost_increase_percent", "rows_rerun"):
        (gate,) = check_gates(EXAMPLES["unknown"], [(rule, 1e9)])
        assert gate.is_tripped
        assert "not known here" in gate.words


def test_a_model_without_a_price_and_an_edited_host_trip() -> None:
    assert [gate.is_tripped for gate in check_gates(EXAMPLES["unpriced"], [("unpriced_model", True)])] == [True]
    edited = replace(EXAMPLES["modified"], target_changes=["prod: base_url"])
    other = replace(EXAMPLES["modified"], target_changes=["prod: timeout_s"])
    rules = [("changed_target", True), ("changed_host", True)]
    assert [gate.is_tripped for gate in check_gates(edited, rules)] == [True, True]
    assert [gate.is_tripped for gate in check_gates(other, rules)] == [True, False]
    assert check_gates(edited, [("changed_target", False)]) == []


def test_without_answers_of_both_sides_the_rules_about_answers_pass_and_say_so() -> None:
    rules = [(rule, 0.0) for rule in LIMITS["answers"]]
    gates = check_gates(EXAMPLES["modified"], rules)
    assert [gate.is_tripped for gate in gates] == [False] * len(rules)
    assert all("no row has answers of both sides" in gate.words for gate in gates)
    assert gates_error(gates) is None


@pytest.mark.parametrize(
    ("before", "after", "is_new"),
    [
        ("pass", "fail", True),
        ("warn", "fail", True),
        ("pass", "error", True),
        ("fail", "fail", False),
        ("error", "error", False),
        ("error", "fail", False),
        ("pass", "warn", False),
        ("fail", "pass", False),
    ],
)
def test_only_a_test_that_did_not_fail_before_is_a_new_failure(before: str, after: str, is_new: bool) -> None:
    (job,) = EXAMPLES["answers"].jobs
    assert job.answers is not None
    test = JobTestDiff("short_note", "length", "error", JobTestSide(before), JobTestSide(after))
    diff = replace(EXAMPLES["answers"], jobs=[replace(job, answers=replace(job.answers, tests=(test,)))])
    (gate,) = check_gates(diff, [parse_rule("new_test_failures=0")])
    assert gate.is_tripped is is_new
    assert gate.words == ("1 test fails that did not: triage/short_note" if is_new else "0 tests fail that did not")


@given(st.text(max_size=30))
def test_what_is_no_rule_is_an_error_with_its_cure(text: str) -> None:
    with pytest.raises(UsageError, match="BF925") as raised:
        parse_rule(f"{text}?")
    assert raised.value.problems[0].hint


def test_a_tripped_rule_is_named_and_ends_with_5(project: ReviewedProject) -> None:
    project.replace("prompts/about.md.j2", "Say", "Tell")
    ended = project.cli("diff", "--fail-on", "rows_rerun=2", "--fail-on", "unpriced_model")
    assert ended.exit_code == 5
    assert "BF830 rows_rerun (limit 2): at most 3 rows are asked again" in ended.stderr
    assert "passes unpriced_model" in ended.stdout
    assert project.cli("diff", "--fail-on", "rows_rerun=3").exit_code == 0


def test_a_rule_that_the_change_itself_removes_still_holds_for_it(project: ReviewedProject) -> None:
    project.edit_project(review={"fail_on": {"rows_rerun": 2}})
    project.repo.commit("a limit")
    project.edit_project(review={"fail_on": {"rows_rerun": 1_000}})
    project.replace("prompts/about.md.j2", "Say", "Tell")
    ended = project.cli("diff", "--base", "HEAD", "--output", "json")
    assert ended.exit_code == 5
    assert {(gate["limit"], gate["is_tripped"]) for gate in ended.json()["gates"]} == {(2, True), (1_000, False)}
