"""Commands for pipelines that submit here and collect there: each can be run twice, and tells what is awaited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.execution.expectation import expectation
from tests.builders import ProjectFiles
from tests.conftest import StartEmulator


@pytest.fixture
def slow(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """Its batches take longer than any of these tests."""
    return ProjectFiles(tmp_path / "project", start_emulator(processing_time_s=600.0))


def results(project: ProjectFiles) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(project.path("target/run_results.json").read_text())
    return value


def test_collect_waits_no_longer_than_it_is_told(slow: ProjectFiles) -> None:
    slow.run(wait=False)
    for _ in range(2):
        summary = slow.collect(within_s=0.3)
        assert (summary.status, summary.exit_code) == ("pending", 3)
        assert summary.latest_at is not None


def test_the_command_takes_a_time_to_wait_and_says_when_it_is_over_at_the_latest(slow: ProjectFiles) -> None:
    slow.run(wait=False)
    finished = slow.cli("collect", "--wait", "1s")
    assert finished.exit_code == 3, finished.stderr
    assert "They end at the latest at 20" in finished.stdout
    wrong = slow.cli("collect", "--wait", "soon")
    assert wrong.exit_code == 2
    assert "`soon` is no span of time. Write e.g. 90s, 30m, 12h or 90d." in wrong.stderr


def test_what_is_in_flight_is_expected_as_earlier_batches_took(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A white horse."])
    with project.state() as state:
        ((begin, end),) = state.batch_spans("about", 20)
        assert begin <= end
        assert expectation(state, ["about"], state._clock.now()).latest_at is None


def test_collect_all_takes_disabled_jobs_too(project: ProjectFiles) -> None:
    project.run(wait=False)
    project.write_job(enabled=False)
    assert project.cli("collect", "--wait").exit_code == 0
    assert not project.path("outputs/answers.jsonl").exists()
    assert project.cli("collect", "--all", "--wait", "30s").exit_code == 0
    assert len(project.rows_of()) == 3


def test_resume_all_goes_on_with_what_did_not_end_and_is_content_where_all_did(project: ProjectFiles) -> None:
    assert project.cli("resume", "--all").exit_code == 0
    project.run(wait=False)
    first = project.cli("resume", "--all", "--output", "json")
    assert (first.exit_code, [run["status"] for run in first.json()["runs"]]) == (0, ["ok"])
    again = project.cli("resume", "--all")
    assert (again.exit_code, again.stdout) == (0, "Nothing to resume.\n")


def test_cancel_takes_one_batch_one_run_or_one_job(slow: ProjectFiles) -> None:
    slow.write_job("other", user="Other: {{ row.text }}", output={"file": "outputs/other.jsonl"})
    run = slow.run("about", wait=False)
    slow.run("other", wait=False)
    with slow.state() as state:
        batches = {attempt.job: attempt.batch_id for attempt in state.open_attempts()}
    for words, job in ((("--batch", str(batches["about"])), "about"), (("--run", run.run_id), "about"),
                       (("--job", "other"), "other")):  # fmt: skip
        finished = slow.cli("cancel", *words, "--output", "json")
        assert finished.json() == {"canceled": [batches[job]]}, finished.stderr
    assert results(slow)["command"] == "cancel"
    unknown = slow.cli("cancel", "--batch", "msgbatch_x")
    assert unknown.exit_code == 2
    assert "BF915" in unknown.stderr


def test_results_are_written_also_where_a_run_breaks_off(project: ProjectFiles) -> None:
    project.write_project(api_key="{{ env_var('NO_SUCH_KEY') }}")
    assert project.cli("run", "--quiet").exit_code == 2
    project.write_project(api_key="any-key", max_in_flight_requests=1)
    project.run()
    assert results(project)["problems"] == []


def test_status_is_a_value_for_machines(slow: ProjectFiles) -> None:
    slow.run(wait=False)
    value = slow.cli("status", "--output", "json").json()
    assert value["in_flight"][0]["batch"]["status"] == "in_progress"
    assert value["latest_at"].startswith("20")
    assert value["expected_at"] is None
