"""Tests of a job's output: they keep a bad candidate back, are told and recorded, and can be asked again at no cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from batchforge import pipeline
from batchforge.errors import BatchForgeError
from batchforge.selection.choosing import Wanted, choose
from batchforge.summaries import JobSummary, RunSummary
from tests.builders import OUTPUT, ProjectFiles

PASSES, FAILS = {"not_null": "answer"}, {"length": {"column": "answer", "max": 1}}
CANDIDATE = "outputs/answers.candidate.jsonl"
FAILURES = "target/api/test_failures/about.length_answer.jsonl"


def sent(project: ProjectFiles) -> int:
    assert project.emulator is not None
    return project.emulator.counters().batches_created


def retested(project: ProjectFiles, *names: str) -> RunSummary:
    files, jobs, target = project.load()
    chosen = choose(files, {job.name: job for job in jobs}, Wanted(names))
    return pipeline.test(files, chosen.tests, target)


def statuses(job: JobSummary) -> dict[str, str]:
    return {result.name: result.status for result in job.tests}


# ---- the rule of publishing


def test_a_failed_test_keeps_the_old_output_and_the_candidates_lie_beside_it(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES])
    assert project.run().exit_code == 0
    before = project.path(OUTPUT).read_text()
    project.write_rows(["A red bicycle.", "Another one."])
    project.write_job(tests=[PASSES, FAILS])
    summary = project.run()
    (job,) = summary.jobs
    assert job.output is not None
    assert (summary.exit_code, job.output.is_published, job.output.path) == (1, False, CANDIDATE)
    assert job.output.held_back_because == "a test failed: length_answer"
    assert statuses(job) == {"not_null_answer": "pass", "length_answer": "fail"}
    assert project.path(OUTPUT).read_text() == before
    assert len(project.rows_of(CANDIDATE)) == 2


def test_a_failed_test_of_severity_warn_keeps_nothing_back(project: ProjectFiles) -> None:
    project.write_job(tests=[{**FAILS, "severity": "warn"}])
    summary = project.run()
    assert (summary.exit_code, statuses(summary.jobs[0])) == (0, {"length_answer": "warn"})
    assert project.path(OUTPUT).exists()


def test_a_test_that_cannot_be_worked_out_keeps_back_too(project: ProjectFiles) -> None:
    project.write_job(tests=[{"expression": "CAST(answer AS INTEGER) > 1"}])
    summary = project.run()
    assert (summary.exit_code, statuses(summary.jobs[0])) == (1, {"expression": "error"})
    assert not project.path(OUTPUT).exists()


def test_relaxing_the_test_publishes_at_no_cost(project: ProjectFiles) -> None:
    project.write_job(tests=[FAILS])
    assert project.run().exit_code == 1
    assert len(project.rows_of(FAILURES)) == 3
    project.write_job(tests=[{"length": {"column": "answer", "max": 10_000}}])
    assert project.run().exit_code == 0
    assert project.path(OUTPUT).exists()
    assert not project.path(CANDIDATE).exists()
    assert not project.path(FAILURES).exists()
    assert sent(project) == 1


def test_a_held_back_output_fails_again_until_something_changes(project: ProjectFiles) -> None:
    project.write_job(tests=[FAILS])
    assert [project.run().exit_code for _ in range(2)] == [1, 1]
    assert sent(project) == 1


# ---- what is settled


def test_new_tests_of_a_settled_job_are_asked_at_no_cost_and_take_nothing_away(project: ProjectFiles) -> None:
    project.run()
    assert project.run().jobs[0].output is None
    project.write_job(tests=[FAILS])
    summary = project.run()
    assert (summary.exit_code, statuses(summary.jobs[0])) == (1, {"length_answer": "fail"})
    assert project.path(OUTPUT).exists()
    assert sent(project) == 1


def test_changed_tests_leave_a_job_settled(project: ProjectFiles) -> None:
    project.run()
    project.write_job(tests=[PASSES])
    project.events.clear()
    project.run()
    assert any("the job and its files are unchanged" in event.message for event in project.events)


def test_results_of_the_same_tests_on_the_same_output_are_told_again(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES, {**FAILS, "severity": "warn"}])
    first, second = project.run(), project.run()
    assert second.jobs[0].tests == first.jobs[0].tests
    assert second.jobs[0].output is None


def test_results_are_in_the_record_of_the_run_and_in_run_results(project: ProjectFiles) -> None:
    project.write_job(tests=[FAILS])
    run_id = project.run().run_id
    written = json.loads(project.path("target/run_results.json").read_text())
    with project.state() as state:
        record = state.run(run_id)
    assert record is not None
    assert record.summary["jobs"][0]["tests"] == written["jobs"][0]["tests"]
    assert written["jobs"][0]["tests"][0]["failures_path"] == FAILURES


def test_a_sample_is_tested_but_not_counted(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES, {"row_count": {"min": 3}}])
    summary = project.run(sample=1)
    assert (summary.exit_code, statuses(summary.jobs[0])) == (0, {"not_null_answer": "pass", "row_count": "skipped"})


def test_collected_outputs_are_tested(project: ProjectFiles) -> None:
    project.write_job(tests=[FAILS])
    project.run(wait=False)
    summary = project.collect()
    assert (summary.exit_code, statuses(summary.jobs[0])) == (1, {"length_answer": "fail"})


# ---- before anything is sent


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"not_null": "anser"}, "BF710 jobs/about.yml:.*'anser'.*\n?"),
        ({"contained_in": {"column": "answer.quote", "source": "txt"}}, "BF710 .*'txt'"),
        ({"accuracy": {"column": "answer", "label": "gold", "min": 1}}, "BF710 .*'gold'"),
        ({"expression": "answer >"}, "BF711 jobs/about.yml:.*syntax error"),
        ({"not_null": "answer", "where": "langauge = 'en'"}, 'BF711 .*"langauge" not found'),
        ({"expression": "nosuch(answer)"}, "BF711 .*nosuch does not exist"),
    ],
)
def test_a_test_that_could_never_be_worked_out_is_told_before_anything_is_sent(
    project: ProjectFiles, test: dict[str, Any], message: str
) -> None:
    project.write_job(tests=[test])
    with pytest.raises(BatchForgeError, match=message):
        project.run()
    assert sent(project) == 0


# ---- files of tests/


def test_a_query_of_tests_belongs_to_the_job_that_it_reads(project: ProjectFiles) -> None:
    project.write("tests/no_bikes.sql", "SELECT id FROM {{ output('about') }} WHERE text LIKE '%bicycle%'")
    summary = project.run()
    assert (summary.exit_code, statuses(summary.jobs[0])) == (1, {"no_bikes": "fail"})
    assert project.rows_of("target/api/test_failures/about.no_bikes.jsonl") == [{"id": "0"}]
    assert not project.path(OUTPUT).exists()


def test_a_query_over_two_outputs_is_asked_when_both_are_there(project: ProjectFiles) -> None:
    project.write_job("more", output={"file": "outputs/more.jsonl"})
    sql = "SELECT id FROM {{ output('about') }} JOIN {{ output('more') }} USING (id) WHERE id = '1'"
    project.write("tests/both.sql", "{{ config(severity='warn', error_if='> 3') }}\n" + sql + ";\n")
    summary = project.run()
    assert summary.exit_code == 0
    assert [statuses(job) for job in summary.jobs] == [{}, {"both": "warn"}]
    assert project.path("outputs/more.jsonl").exists()


def test_changing_a_query_asks_it_again(project: ProjectFiles) -> None:
    project.write("tests/none.sql", "SELECT id FROM {{ output('about') }} WHERE false")
    assert project.run().exit_code == 0
    project.write("tests/none.sql", "SELECT id FROM {{ output('about') }}")
    assert project.run().exit_code == 1


# ---- another job's answers


def test_a_judge_that_runs_later_is_waited_for(project: ProjectFiles) -> None:
    judge = {"judge": {"job": "judges", "on": "id", "column": "answer", "accept": ["good"]}}
    project.write_job(tests=[judge])
    project.write_job("judges", depends_on=["about"], output={"file": "outputs/judges.jsonl"})
    summary = project.run("about")
    assert statuses(summary.jobs[0]) == {"judge_judges": "skipped"}
    assert project.path(OUTPUT).exists()
    summary = project.run()
    assert summary.exit_code == 1
    assert statuses(summary.jobs[0]) == {"judge_judges": "fail"}
    assert project.path("outputs/judges.jsonl").exists()


# ---- drift and cost


def test_drift_is_measured_against_the_last_published_output(project: ProjectFiles) -> None:
    tests = [{"drift": {"column": "text", "max": 0.3}}]
    project.write_job(tests=tests)
    project.write_rows(["1", "2", "3"])
    assert project.run().exit_code == 0
    project.write_rows(["1", "2", "4"])
    for _ in range(2):  # what was held back is no measure for what comes next
        result = project.run().jobs[0].tests[0]
        assert result.status == "fail"
        assert result.value == pytest.approx(1 / 3)
    project.write_job(tests=[{"drift": {"column": "text", "max": 0.4}}])
    assert project.run().exit_code == 0
    assert retested(project).jobs[0].tests[0].value == pytest.approx(1 / 3)


def test_the_cost_of_a_row_counts_a_shared_request_once(project: ProjectFiles) -> None:
    project.write_rows(["same", "same", "same", "other"])
    project.write_job(tests=[{"cost_per_row": {"max_usd": 0}}], input={"file": "data/rows.jsonl", "key": "id"})
    job = project.run().jobs[0]
    assert job.tests[0].value == pytest.approx(job.brought.cost_usd / 4)
    assert job.tests[0].status == "fail"


# ---- batchforge test


def test_the_command_tests_outputs_again_and_sends_nothing(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES])
    project.run()
    project.write_job(tests=[PASSES, FAILS, {**FAILS, "severity": "warn", "name": "short"}])
    finished = project.cli("test", "--junit", "reports/junit.xml")
    assert finished.exit_code == 1
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("1 of 3 PASS about.not_null_answer ...")
    assert lines[1].startswith("2 of 3 FAIL 3 about.length_answer ...")
    assert "[FAIL 3 in " in lines[1]
    assert lines[2].startswith("3 of 3 WARN 3 about.short ...")
    assert "Failure in test about.length_answer (jobs/about.yml)" in lines
    assert f"  failing rows: {FAILURES}" in lines
    assert lines[-1] == "Done. PASS=1 WARN=1 FAIL=1 ERROR=0 SKIP=0 TOTAL=3"
    suite = ElementTree.fromstring(project.path("reports/junit.xml").read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert [case.get("name") for case in suite.iter("testcase")] == ["not_null_answer", "length_answer", "short"]
    assert sent(project) == 1


def test_the_command_prints_what_it_writes_into_run_results(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES])
    project.run()
    finished = project.cli("test", "about", "--output", "json")
    assert (finished.exit_code, finished.json()["command"]) == (0, "test")
    assert finished.json() == json.loads(project.path("target/run_results.json").read_text())


def test_without_an_output_tests_are_errors(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES])
    summary = retested(project)
    assert (summary.exit_code, summary.jobs[0].tests[0].message) == (1, "there is no output yet; run the job first")


def test_candidates_are_tested_where_nothing_was_ever_published(project: ProjectFiles) -> None:
    project.write_job(tests=[FAILS])
    project.run()
    assert statuses(retested(project).jobs[0]) == {"length_answer": "fail"}


def test_without_tests_there_is_nothing_to_do(project: ProjectFiles) -> None:
    finished = project.cli("test")
    assert (finished.exit_code, finished.stderr.startswith("Nothing to do")) == (0, True)


def test_sources_are_tested_where_they_are_selected(project: ProjectFiles) -> None:
    settings = json.loads(project.path("batchforge.yml").read_text())
    tests = [{"unique": "id"}, {"accepted_values": {"column": "text", "values": ["A red bicycle."]}}]
    settings["sources"] = {"texts": {"file": "data/rows.jsonl", "key": "id", "tests": tests}}
    project.write("batchforge.yml", json.dumps(settings))
    project.write_job(input={"source": "texts"})
    assert retested(project, "about").jobs == []
    (source,) = retested(project, "+about").jobs
    assert source.job == "source:texts"
    assert statuses(source) == {"unique_id": "pass", "accepted_values_text": "fail"}
    assert len(project.rows_of("target/api/test_failures/sources/texts.accepted_values_text.jsonl")) == 2
    project.path("data/rows.jsonl").unlink()
    assert set(statuses(retested(project).jobs[0]).values()) == {"error"}


ODD = 'a, "b"\n{{ c }} \t no'


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_outputs_of_every_format_are_tested(project: ProjectFiles, ending: str) -> None:
    fields = {
        "label": {"one_of": ["no", "1.0", "true"]},
        "n": "integer",
        "sure": "boolean",
        "words": {"list_of": "text"},
    }
    project.write_rows([{"id": "0", "text": ODD}, {"id": "1", "text": ""}, {"id": "2", "text": None}])
    project.write_job(
        output={"file": f"outputs/answers.{ending}", "fields": fields},
        user="{{ row.text }} {{ row.id }}",
        tests=[
            {"accepted_values": {"column": "label", "values": ["no", 1.0, True]}},
            {"expression": "n >= 0 AND (sure OR NOT sure) AND len(words) >= 0"},
            {"accepted_values": {"column": "text", "values": [ODD, ""]}},
            {"unique": "id"},
        ],
    )
    job = project.run().jobs[0]
    assert [(result.status, result.rows) for result in job.tests] == [("pass", 3)] * 4, job.tests


def test_an_empty_output_is_tested(project: ProjectFiles) -> None:
    project.write_rows([])
    project.write_job(tests=[PASSES, {"unique": "answer", "where": "_status = 'answered'"}, {"row_count": {"min": 0}}])
    assert project.run().exit_code == 0
    assert retested(project).exit_code == 0


def test_erased_rows_are_gone_from_what_tests_stored(project: ProjectFiles) -> None:
    project.write_job(tests=[{**FAILS, "severity": "warn"}])
    project.run()
    assert project.path(FAILURES).exists()
    finished = project.cli("state", "erase", "about", "--key", "1", "--yes")
    assert finished.exit_code == 0, finished.stderr
    assert FAILURES in finished.stdout
    assert not project.path(FAILURES).exists()


def test_the_report_of_a_run_names_tests_that_did_not_pass(project: ProjectFiles) -> None:
    project.write_job(tests=[PASSES, FAILS])
    finished = project.cli("run")
    assert finished.exit_code == 1
    assert "  2 tests: 1 pass, 1 fail" in finished.stdout
    assert "    FAIL 3 length_answer: 3 of 3 rows failed, configured to fail if != 0" in finished.stdout
    assert "  no output was written, a test failed: length_answer" in finished.stdout


def test_what_is_held_back_is_said_to_leave_an_old_output_only_where_there_is_one(project: ProjectFiles) -> None:
    project.run()
    project.write_job(tests=[FAILS], user="Again: {{ row.text }}")
    kept = project.cli("run")
    project.path(OUTPUT).unlink()
    missing = project.cli("run")
    assert "  the old output stays, a test failed: length_answer" in kept.stdout
    assert "  no output was written, a test failed: length_answer" in missing.stdout
    written = json.loads(project.path("target/run_results.json").read_text())
    assert written["jobs"][0]["output"]["keeps_old"] is False


def test_junit_leaves_out_what_xml_cannot_hold(tmp_path: Path) -> None:
    from batchforge.terminal.junit import junit_xml
    from batchforge.testing.outcome import AssertionResult

    result = AssertionResult("a", "b", "matches", "error", "fail", message='<"\x00\x1b]]>&\ud800')
    text = junit_xml([JobSummary("a", tests=[result])], name="p & q", timestamp="2026-01-01T00:00:00Z")
    (failure,) = ElementTree.fromstring(text.encode()).iter("failure")
    assert failure.get("message") == '<"\ufffd\ufffd]]>&\ufffd'
