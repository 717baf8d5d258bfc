"""Jobs that read each other's answers, run against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchforge.emulator import EmulatorServer, Fault
from batchforge.errors import BatchForgeError, BudgetExceeded, ProjectError
from batchforge.running.schedule import Schedule, needs_among
from batchforge.summaries import RunSummary
from tests.builders import ProjectFiles

StartEmulator = Callable[..., EmulatorServer]
FIRST = {"input": {"file": "data/rows.jsonl", "key": "id"}, "output": None, "system": None}


@pytest.fixture
def project(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """first -> second, and other beside them."""
    return chain(ProjectFiles(tmp_path / "p", start_emulator()))


def chain(project: ProjectFiles) -> ProjectFiles:
    project.path("jobs/about.yml").unlink()
    project.write_job("first", **FIRST)
    read_job(project, "second", "first")
    project.write_job("other", **FIRST, user="Other: {{ row.text }}")
    return project


def read_job(project: ProjectFiles, name: str, ref: str, user: str = "{{ row.answer }}", **settings: Any) -> None:
    values: dict[str, Any] = {"input": {"ref": ref}, "output": {"text_column": f"answer_of_{name}"}, "system": None}
    project.write_job(name, **{**values, "user": user, **settings})


def sent(summary: RunSummary) -> dict[str, int]:
    return {job.job: job.requests_sent for job in summary.jobs}


def test_a_job_reads_the_answers_of_another_once_they_are_there(project: ProjectFiles) -> None:
    assert sent(project.run()) == {"first": 3, "other": 3, "second": 3}
    answers = [row["answer"] for row in project.rows_of("outputs/first.jsonl")]
    assert [row["answer"] for row in project.rows_of("outputs/second.jsonl")] == answers
    assert [row["id"] for row in project.rows_of("outputs/second.jsonl")] == ["0", "1", "2"]


def test_a_second_run_sends_nothing_and_one_changed_row_reruns_only_its_path(project: ProjectFiles) -> None:
    project.run()
    assert sent(project.run()) == {"first": 0, "other": 0, "second": 0}
    project.write_rows(["A red bicycle.", "A blue boat.", "A grey train."])
    assert sent(project.run()) == {"first": 1, "other": 1, "second": 1}


def test_an_edit_of_a_prompt_downstream_does_not_rerun_what_is_upstream(project: ProjectFiles) -> None:
    project.run()
    read_job(project, "second", "first", "Again: {{ row.answer }}")
    assert sent(project.run()) == {"first": 0, "other": 0, "second": 3}


def test_a_failed_job_stops_only_what_needs_it(project: ProjectFiles) -> None:
    project.write_job("first", **FIRST, max_tokens=1)
    summary = project.run()
    by_name = {job.job: job for job in summary.jobs}
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert by_name["first"].is_failed
    assert by_name["second"].skipped_because == "first failed"
    assert by_name["other"].output is not None
    assert by_name["other"].output.is_published


def test_fail_fast_begins_nothing_more(project: ProjectFiles) -> None:
    project.write_job("first", **FIRST, max_tokens=1)
    summary = project.run(fail_fast=True, threads=1)
    skipped = {job.job: job.skipped_because for job in summary.jobs if job.skipped_because}
    assert skipped == {"second": "first failed", "other": "first failed, and --fail-fast was given"}


def test_a_row_that_cannot_be_rendered_downstream_fails_that_job_alone(project: ProjectFiles) -> None:
    read_job(project, "second", "first", "{% set text = row.answer %}{{ text.nothing.at_all }}")
    summary = project.run()
    by_name = {job.job: job for job in summary.jobs}
    assert by_name["second"].is_failed
    assert "BF301" in by_name["second"].problem
    assert summary.exit_code == 2
    assert by_name["other"].output is not None


def test_a_misspelt_column_of_answers_to_come_is_an_error_before_anything_is_sent(project: ProjectFiles) -> None:
    read_job(project, "second", "first", "{{ row.answr }}")
    with pytest.raises(ProjectError, match=r"jobs/second.yml.*'row.answr'") as raised:
        project.run()
    assert raised.value.problems[0].hint == "Did you mean `answer`?"
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 0


def test_a_column_that_may_be_missing_is_no_error(project: ProjectFiles) -> None:
    read_job(project, "second", "first", "{{ row.answer }}{{ row.note | default('') }}")
    assert project.run().status == "ok"


def test_without_waiting_the_first_jobs_are_sent_and_resume_goes_on(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    project = chain(ProjectFiles(tmp_path / "p", start_emulator(processing_time_s=0.4)))
    summary = project.run(wait=False)
    waiting = {job.job: job.waiting_for for job in summary.jobs if job.waiting_for}
    assert (summary.status, waiting) == ("pending", {"second": "first"})
    resumed = project.resume()
    assert (resumed.status, sent(resumed)["second"]) == ("ok", 3)
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 3


def test_a_job_that_is_not_selected_gives_the_answers_that_it_has(project: ProjectFiles) -> None:
    with pytest.raises(ProjectError, match="BF226"):
        project.run("second")
    project.run("first")
    assert sent(project.run("second")) == {"second": 3}


def test_a_narrowed_run_reads_the_rows_of_that_run(project: ProjectFiles) -> None:
    summary = project.run("first", "second", limit=2)
    assert sent(summary) == {"first": 2, "second": 2}
    assert not project.path("outputs/second.jsonl").exists()
    assert len(project.rows_of("outputs/second.sample.jsonl")) == 2


def test_depends_on_is_order_alone(project: ProjectFiles) -> None:
    project.write_job("other", **FIRST, user="Other: {{ row.text }}", depends_on=["second"])
    project.run()
    planned = [event.job for event in project.events if event.name == "job_planned"]
    assert planned == ["first", "second", "other"]


def test_a_run_that_costs_too_much_downstream_keeps_what_came_before(project: ProjectFiles) -> None:
    read_job(project, "second", "first", max_cost_usd=0.0000001)
    summary = project.run("first", "second")
    by_name = {job.job: job for job in summary.jobs}
    assert by_name["first"].output is not None
    assert "BF802" in by_name["second"].problem
    assert summary.exit_code == BudgetExceeded.exit_code


def test_the_plan_shows_a_job_that_waits_and_invents_no_figure(project: ProjectFiles) -> None:
    planned = project.cli("plan")
    assert "second  claude-haiku-5-5\n  waits for first: its rows are yet to be made" in planned.stdout
    project.run()
    assert "No changes" in project.cli("plan").stdout
    project.write_rows(["A new row."])
    assert "its rows are yet to be made; the last run had 3" in project.cli("plan").stdout


def test_a_saved_plan_covers_no_job_whose_rows_were_not_made(project: ProjectFiles) -> None:
    project.cli("plan", "--out", "plan.json")
    finished = project.cli("run", "--plan", "plan.json", "first", "second", "--output", "json")
    by_name = {job["job"]: job for job in finished.json()["jobs"]}
    assert finished.exit_code == 5
    assert by_name["first"]["output"]["is_published"]
    assert "BF807" in by_name["second"]["problem"]


def test_extract_resolve_summarise_is_three_short_files(project: ProjectFiles) -> None:
    people = {"fields": {"people": {"list_of": {"fields": {"name": "text", "said": "text"}}}}}
    project.write_job("first", **{**FIRST, "output": people})
    resolve = {"ref": "first", "each": {"field": "people", "key": "name"}, "group_by": "name"}
    quotes = "{{ row.name }}{% for each in rows %} {{ each.said }}{% endfor %}"
    read_job(project, "second", "first", quotes, input=resolve)
    read_job(
        project,
        "other",
        "second",
        "{% for each in rows %}{{ each.name }} {% endfor %}",
        input={"ref": "second", "chunk": 9},
    )
    assert [job.job for job in project.run().jobs] == ["first", "second", "other"]
    assert len(project.rows_of("outputs/second.jsonl")) == 3
    assert [len(row["_keys"]) for row in project.rows_of("outputs/other.jsonl")] == [3]


def test_several_answers_to_one_request_are_asked_once_each_and_kept(project: ProjectFiles) -> None:
    project.write_job("first", **FIRST, answers=3)
    assert sent(project.run("first")) == {"first": 9}
    rows = project.rows_of("outputs/first.jsonl")
    assert [(row["_parent"], row["_answer"]) for row in rows[:4]] == [("0", 1), ("0", 2), ("0", 3), ("1", 1)]
    assert len({row["_request_id"] for row in rows}) == 9
    assert sent(project.run("first")) == {"first": 0}
    project.write_job("first", **FIRST, answers=4)
    assert sent(project.run("first")) == {"first": 3}


def test_generated_rows_are_the_same_every_time(project: ProjectFiles) -> None:
    made = {"generate": 4, "seed": 7}
    project.write_job("first", **{**FIRST, "input": made}, user="Number {{ row.index }}, seed {{ row.seed }}")
    assert sent(project.run("first")) == {"first": 4}
    assert sent(project.run("first")) == {"first": 0}


def test_a_joined_column_reaches_the_prompt(project: ProjectFiles) -> None:
    project.write("data/names.csv", "id,name\n0,Ann\n1,Bo\n2,Cy\n")
    joined = {**FIRST["input"], "join": {"file": "data/names.csv", "on": "id"}}  # type: ignore[dict-item]
    project.write_job("first", **{**FIRST, "input": joined}, user="{{ row.name }} says {{ row.text }}")
    project.run("first")
    assert [row["name"] for row in project.rows_of("outputs/first.jsonl")] == ["Ann", "Bo", "Cy"]


def test_a_lost_batch_of_one_job_is_sent_again_and_the_others_go_on(
    tmp_path: Path, start_emulator: StartEmulator
) -> None:
    faults = [Fault(kind="status", status=529, on="batches.create", times=1)]
    project = chain(ProjectFiles(tmp_path / "p", start_emulator(faults=faults)))
    assert sent(project.run()) == {"first": 3, "other": 3, "second": 3}


PARENTS = {"a": (), "b": ("a",), "c": ("b",), "d": ()}


def test_jobs_begin_when_what_they_need_is_done_and_no_more_than_may_at_once() -> None:
    schedule = Schedule(needs_among(PARENTS, PARENTS), at_once=1)
    assert schedule.take_ready() == ["a"]
    assert schedule.take_ready() == []
    schedule.finish("a")
    assert schedule.take_ready() == ["b"]
    assert schedule.block("b") == ["c"]
    assert schedule.take_ready() == ["d"]


def test_what_a_job_needs_through_others_counts_too() -> None:
    assert needs_among(["c", "a"], PARENTS) == {"a": (), "c": ("a",)}


def test_an_error_before_anything_was_sent_ends_the_run(project: ProjectFiles) -> None:
    project.write_job("first", **FIRST, user="{{ row.txet }}")
    with pytest.raises(BatchForgeError, match="BF301"):
        project.run()
    assert project.emulator is not None
    assert project.emulator.counters().batches_created == 0


def test_retry_takes_what_failed_and_what_was_skipped_and_leaves_the_rest(project: ProjectFiles) -> None:
    project.write_job("first", **FIRST, max_tokens=1)
    assert project.cli("run").exit_code == 1
    project.write_job("first", **FIRST, max_tokens=200)
    retried = project.cli("retry", "--output", "json").json()
    assert {job["job"]: job["requests_sent"] for job in retried["jobs"]} == {"first": 3, "second": 3}
    assert project.cli("retry").stdout == "Nothing to do.\n"


def test_an_empty_run_checks_everything_and_sends_nothing(project: ProjectFiles) -> None:
    finished = project.cli("run", "--empty", "--output", "json").json()
    assert [job["requests_sent"] for job in finished["jobs"]] == [0, 0, 0]
    assert not project.path("outputs/first.jsonl").exists()


def test_a_row_keeps_its_answer_when_another_job_asks_for_more_of_the_same(project: ProjectFiles) -> None:
    project.run("first")
    before = [row["_request_id"] for row in project.rows_of("outputs/first.jsonl")]
    project.write_job("other", **FIRST, answers=2)
    project.run("other")
    project.write_rows(["A red bicycle.", "A blue boat.", "A green train.", "A new row."])
    project.run("first")
    assert [row["_request_id"] for row in project.rows_of("outputs/first.jsonl")][:3] == before


def test_a_source_whose_test_fails_keeps_a_build_from_asking_about_it(project: ProjectFiles) -> None:
    settings = json.loads(project.path("batchforge.yml").read_text())
    settings["sources"] = {"rows": {"file": "data/rows.jsonl", "key": "id", "tests": [{"unique": "text"}]}}
    project.write("batchforge.yml", json.dumps(settings))
    project.write_job("first", **{**FIRST, "input": {"source": "rows"}})
    project.write_rows(["A red bicycle.", "A red bicycle."])
    finished = project.cli("build")
    assert finished.exit_code == 1
    assert "FAIL source:rows" in finished.stdout
    assert "SKIP first: source:rows failed" in finished.stdout
    assert "SKIP second: source:rows failed" in finished.stdout
    assert "OK other" in finished.stdout
    retried = project.cli("retry", "--output", "json").json()
    assert [job["skipped_because"] for job in retried["jobs"]] == ["", *["source:rows failed"] * 2]
    assert "source:rows" not in project.cli("build", "other", "--output", "json").stdout
