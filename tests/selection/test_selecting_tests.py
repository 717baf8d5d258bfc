"""Tests are selected by name, by type and with what they test; `test` and `build` ask those that are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge import Project
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator
from tests.test_job_graph_runs import FIRST, chain


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """first -> second, with tests of the first, of its source, and one in a file of its own."""
    made = chain(ProjectFiles(tmp_path / "p", start_emulator()))
    settings = json.loads(made.path("batchforge.yml").read_text())
    settings["sources"] = {"rows": {"file": "data/rows.jsonl", "key": "id", "tests": [{"unique": "text"}]}}
    made.write("batchforge.yml", json.dumps(settings))
    write_first(made)
    made.write("tests/few.sql", "SELECT * FROM {{ output('first') }} WHERE id = 'none'")
    return made


def write_first(project: ProjectFiles, most: int = 10_000) -> None:
    tests = [{"not_null": "answer"}, {"length": {"column": "answer", "max": most}}]
    project.write_job("first", **{**FIRST, "input": {"source": "rows"}, "tests": tests})


def asked(value: Any) -> dict[str, list[str]]:
    return {job["job"]: [test["name"] for test in job["tests"]] for job in value["jobs"] if job["tests"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"source:rows": ["unique_text"], "first": ["not_null_answer", "length_answer", "few"]}),
        (["first"], {"first": ["not_null_answer", "length_answer", "few"]}),
        (["--select", "few"], {"first": ["few"]}),
        (["--select", "test_type:singular"], {"first": ["few"]}),
        (["--select", "first,test_type:generic"], {"first": ["not_null_answer", "length_answer"]}),
        (["--select", "source:rows"], {"source:rows": ["unique_text"]}),
        (["--exclude", "source:*", "not_null*"], {"first": ["length_answer", "few"]}),
        (["--select", "tests/few.sql"], {"first": ["few"]}),
    ],
)
def test_test_asks_the_tests_that_are_selected(
    project: ProjectFiles, words: list[str], expected: dict[str, list[str]]
) -> None:
    project.run("first")
    assert asked(project.cli("test", *words, "--output", "json").json()) == expected


def test_where_nothing_that_is_selected_has_tests_it_says_so(project: ProjectFiles) -> None:
    finished = project.cli("test", "other")
    assert (finished.exit_code, finished.stderr) == (0, "Nothing to do: nothing that is selected has tests.\n")
    assert project.cli("test", "other", "--on-empty", "fail").exit_code == 2


def test_results_of_some_tests_leave_the_failures_of_others_alone(project: ProjectFiles) -> None:
    write_first(project, most=1)
    project.run("first")
    failures = project.path("target/api/test_failures/first.length_answer.jsonl")
    assert failures.exists()
    assert project.cli("test", "--select", "few").exit_code == 0
    assert failures.exists()


def test_failed_tests_are_selected_by_their_results(project: ProjectFiles) -> None:
    project.run("first")
    write_first(project, most=1)
    assert project.cli("test").exit_code == 1
    listed = project.cli("ls", "--resource-type", "test", "--select", "result:fail,length*", "--output", "json").json()
    assert [each["name"] for each in listed] == ["length_answer"]
    assert "first.few" in project.cli("ls", "--select", "result:pass").stdout


def test_a_build_of_a_test_alone_runs_no_job(project: ProjectFiles) -> None:
    project.run("first")
    built = project.cli("build", "--select", "few", "--output", "json").json()
    assert (asked(built), [job["requests_sent"] for job in built["jobs"]]) == ({"first": ["few"]}, [0])


def test_a_failed_test_of_a_job_that_is_not_run_stops_what_needs_it(project: ProjectFiles) -> None:
    project.run("first")
    write_first(project, most=1)
    built = project.cli("build", "--select", "second", "length_answer", "--output", "json").json()
    assert asked(built) == {"first": ["length_answer"]}
    assert {job["job"]: job["skipped_because"] for job in built["jobs"]} == {"first": "", "second": "first failed"}


def test_a_build_of_a_job_leaves_its_source_untested_and_one_of_its_parents_does_not(project: ProjectFiles) -> None:
    project.write_rows(["twice", "twice"])
    assert "source:rows" not in asked(project.cli("build", "first", "--output", "json").json())
    built = project.cli("build", "+first", "--output", "json").json()
    assert asked(built) == {"source:rows": ["unique_text"]}
    assert built["jobs"][1]["skipped_because"] == "source:rows failed"


def test_python_builds_tests_and_plans_by_the_same_words(project: ProjectFiles) -> None:
    opened = Project(project.root)
    assert [job.job for job in opened.build(exclude=["second", "other"]).jobs] == ["source:rows", "first"]
    assert asked(opened.test(select=["test_type:singular"]).to_json()) == {"first": ["few"]}
    assert list(opened.plan(select=["+second"], exclude=["first"])["jobs"]) == ["second"]
    assert [job.job for job in opened.build(select=["few"]).jobs] == ["first"]
    assert opened.retry(select=["other"]).jobs[0].requests_sent == 3


def test_every_way_of_running_keeps_a_manifest(project: ProjectFiles) -> None:
    manifest = project.path("target/manifest.json")
    opened = Project(project.root)
    for run in (
        lambda: opened.run("first", wait=False),
        lambda: opened.resume("first"),
        lambda: opened.retry("first"),
        lambda: project.cli("run", "first", "--full-refresh", "--no-wait"),
        lambda: project.cli("resume"),
        lambda: project.cli("retry", "first"),
    ):
        manifest.unlink(missing_ok=True)
        run()
        assert json.loads(manifest.read_text())["target"] == "api"
        assert project.path("target/run_results.json").exists()
