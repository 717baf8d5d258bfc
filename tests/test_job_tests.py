"""`tests:` of jobs and sources, and tests/*.sql, as they are read: what is wrong is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project_files import JOB, PROJECT, load, write_project

PATH = "jobs/triage/classify_tickets.yml"


def problems(root: Path, test: str, files: dict[str, str | bytes] | None = None) -> list[str]:
    _, _, found = load(write_project(root, {PATH: f"{JOB}tests:\n  - {test}\n", **(files or {})}))
    return [f"{each.code} {each.location}: {each.message} {each.hint}" for each in found]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("{not_null: a, sevrity: warn}", "BF101 AT:13:19: `sevrity` is not a test setting."),
        (
            "{not_null: a, unique: b}",
            "BF105 AT:13:19: Item 1 of `tests` takes exactly one",
        ),
        ("severity: warn", "BF105 AT:13:5: Item 1 of `tests` needs one of"),
        ("not_null: []", "BF117 "),
        ("unique: [a, a]", "BF106 "),
        (
            "accepted_values: {column: a, values: nope}",
            "BF156 AT:13:42: There is no list",
        ),
        ("accepted_values: {column: a}", "BF103 "),
        ("accepted_range: {column: a}", "BF190 AT:13:5: `accepted_range` needs `min`"),
        (
            "accepted_range: {column: a, min: 2, max: 1}",
            "BF190 AT:13:38: `min` is 2, above",
        ),
        ("accepted_range: {column: a, min: 2, max: b}", "BF190 "),
        ("matches: {column: a, pattern: '('}", "BF190 AT:13:35: The pattern cannot be"),
        ("matches: {column: a, pattern: '(?=a)'}", "BF190 "),
        ("length: {column: a}", "BF190 "),
        (
            "json_schema: {column: a, schema: {type: objekt}}",
            "BF190 AT:13:30: This is no",
        ),
        ("json_schema: {column: a, schema: {file: no.json}}", "BF121 AT:13:45:"),
        ("row_count: {}", "BF117 "),
        ("row_count: -1", "BF117 "),
        ("expression: ''", "BF117 "),
        ("contained_in: {column: a}", "BF103 "),
        ("accuracy: {column: a, label: b}", "BF190 "),
        ("accuracy: {column: a, label: b, min: 90}", "BF117 "),
        ("{accuracy: {column: a, label: b, min: 0.9}, warn_if: '<0.95'}", "BF190 "),
        ("f1: {column: a, label: b, min: 0.9, average: mean}", "BF104 "),
        ("confusion: {column: a, label: b}", "BF190 "),
        ("drift: {column: a}", "BF190 "),
        ("cost_per_row: {}", "BF190 "),
        (
            "judge: {job: nobody, on: id, column: v, accept: [good]}",
            "BF180 AT:13:5: There",
        ),
        (
            "{not_null: a, error_if: many}",
            "BF117 AT:13:29: `error_if` must be a comparison",
        ),
        ("{not_null: a, severity: fatal}", "BF104 "),
        ("{not_null: a, name: 'a/b'}", "BF117 "),
        ("{not_null: a, name: a}\n  - {unique: b, name: A}", "BF191 AT:14:23: Two tests"),
    ],
)
def test_a_test_that_cannot_be_is_told_at_its_place(tmp_path: Path, test: str, said: str) -> None:
    (problem,) = problems(tmp_path, test)
    assert problem.startswith(said.replace("AT:", f"{PATH}:"))


def test_labels_are_what_was_typed(tmp_path: Path) -> None:
    test = "accepted_values: {column: a, values: [no, yes, 1.10, 007, true, 2026-01-01]}"
    _, jobs, found = load(write_project(tmp_path, {PATH: f"{JOB}tests:\n  - {test}\n"}))
    assert not found
    assert jobs["classify_tickets"].tests[0].args["texts"] == ["no", "yes", "1.10", "007", "true", "2026-01-01"]


def test_names_are_made_up_and_numbered(tmp_path: Path) -> None:
    tests = "tests:\n  - not_null: [a, b c]\n  - not_null: [a, b-c]\n  - {row_count: 3, name: three}\n"
    _, jobs, found = load(write_project(tmp_path, {PATH: JOB + tests}))
    assert not found
    assert [test.name for test in jobs["classify_tickets"].tests] == ["not_null_a_b_c", "not_null_a_b_c_2", "three"]


def test_tests_of_defaults_and_of_the_job_add_up(tmp_path: Path) -> None:
    files = {
        "jobs/_defaults.yml": "tests:\n  - {row_count: {min: 1}}\n",
        "jobs/triage/_defaults.yml": "tests:\n  - not_null: reason\n",
        PATH: f"{JOB}tests:\n  - unique: id\n",
    }
    _, jobs, found = load(write_project(tmp_path, files))
    assert not found
    assert [test.kind for test in jobs["classify_tickets"].tests] == ["row_count", "not_null", "unique"]


def test_sources_have_tests_with_lists(tmp_path: Path) -> None:
    tests = "[{unique: id}, {accepted_values: {column: kind, values: categories}}]"
    source = f"sources:\n  tickets: {{file: data/tickets.tsv, tests: {tests}}}\n"
    project, _, found = load(write_project(tmp_path, {"batchforge.yml": PROJECT + source}))
    assert not found
    unique, accepted = project.sources["tickets"].tests
    assert (unique.name, accepted.args["values"]) == ("unique_id", ["billing", "claim", "no"])


SQL = "SELECT * FROM {{ output('classify_tickets') }}"


@pytest.mark.parametrize(
    ("name", "sql", "said"),
    [
        ("a", "SELECT 1", "BF192 tests/a.sql: The test reads no job's output."),
        (
            "a",
            "\nSELECT * FROM {{ output('clasify') }}",
            "BF180 tests/a.sql:2: There is no job `clasify`.",
        ),
        ("a", f"{{{{ config(severty='warn') }}}}{SQL}", "BF192 tests/a.sql:1: `severty` is not a setting of a test."),
        ("a", f"{{{{ config(severity='fatal') }}}}{SQL}", "BF192 tests/a.sql:1: `severity` must be error or warn"),
        ("a", f"{{{{ config(error_if='many') }}}}{SQL}", "BF192 tests/a.sql:1: `error_if`: 'many' is no comparison"),
        ("a", f"{{{{ config(limit=-1) }}}}{SQL}", "BF192 "),
        ("a", "SELECT {{ rows }}", "BF192 tests/a.sql: The test cannot be read: 'rows' is undefined"),
        ("a", "SELECT\n{% if %}", "BF192 tests/a.sql:2: The test cannot be read"),
        ("a b", SQL, "BF192 tests/a b.sql: `a b` cannot be a test's name."),
    ],
)
def test_a_query_that_cannot_be_is_told_at_its_place(tmp_path: Path, name: str, sql: str, said: str) -> None:
    _, _, found = load(write_project(tmp_path, {f"tests/{name}.sql": sql}))
    (problem,) = (f"{each.code} {each.location}: {each.message} {each.hint}" for each in found)
    assert problem.startswith(said)


def test_a_query_says_how_it_is_judged(tmp_path: Path) -> None:
    sql = "{{ config(severity='warn', warn_if='>2', limit=5, description='none') }}\n" + SQL
    _, jobs, found = load(write_project(tmp_path, {"tests/none.sql": sql}))
    assert not found
    (test,) = jobs["classify_tickets"].tests
    assert (test.name, test.severity, test.warn_if, test.limit) == ("none", "warn", ">2", 5)
    assert test.args["sql"].strip() == 'SELECT * FROM "classify_tickets"'
