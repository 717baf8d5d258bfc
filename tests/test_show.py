"""`batchforge show`: a row with its request, answer and cost; rows by status; in 80 columns and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from batchforge.commands import history, show
from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import RowRule
from batchforge.errors import BatchForgeError
from batchforge.terminal.terminal_text import display_width
from tests.builders import JOB_NAME, ProjectFiles
from tests.conftest import StartEmulator

FUNNY = "🚲 自転車が届きません。いつ発送されますか?\n二行目 👨‍👩‍👧 \x1b[31mred " + "長い文" * 40
LOSSY = (RowRule(outcome="errored", custom_id="^bf1_", error_type="invalid_request_error", message="no such thing"),)


def run(command: click.Command, project: ProjectFiles, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(command, [*words, "--project-dir", str(project.root)])


def printed(command: click.Command, project: ProjectFiles, *words: str) -> str:
    result = run(command, project, *words)
    assert result.exit_code == 0, result.exception
    return result.stdout


def shown_json(project: ProjectFiles, *words: str) -> Any:
    return json.loads(printed(show.command, project, JOB_NAME, *words, "--output", "json"))


def refused(command: click.Command, project: ProjectFiles, *words: str) -> BatchForgeError:
    error = run(command, project, *words).exception
    assert isinstance(error, BatchForgeError)
    return error


@pytest.fixture
def failing(tmp_path: Path, start_emulator: StartEmulator) -> ProjectFiles:
    """A project of which every row is refused as invalid."""
    return ProjectFiles(tmp_path / "failing", start_emulator(rows=LOSSY))


def test_a_row_is_shown_with_its_request_answer_and_cost(project: ProjectFiles) -> None:
    summary = project.run()
    value = shown_json(project, "--key", "1")
    output = project.rows_of()[1]
    assert (value["key"], value["place"], value["row"]["text"]) == ("1", "data/rows.jsonl:2", "A blue boat.")
    assert value["request"]["messages"][0]["content"][0]["text"] == "A blue boat."
    assert value["request"]["system"][0]["text"].startswith("Say in one sentence")
    assert value["fields"] == {"answer": output["answer"]}
    assert (value["status"], value["custom_id"]) == ("answered", output["_request_id"])
    answer = value["answer"]
    assert answer["usage"]["output_tokens"] == output["_output_tokens"]
    assert 0 < answer["cost_usd"] < summary.jobs[0].brought.cost_usd
    assert answer["batch_id"].startswith("msgbatch_")
    assert answer["run"]["run_id"] == summary.run_id
    assert "@" in answer["run"]["started_by"]


def test_the_request_is_the_one_that_was_asked_not_the_one_of_today(project: ProjectFiles) -> None:
    project.run()
    project.write_prompt("Something else altogether.\n")
    assert shown_json(project, "--key", "1")["request"]["system"][0]["text"].startswith("Say in one sentence")


def test_the_request_has_the_max_tokens_of_its_answer(project: ProjectFiles) -> None:
    project.write_job(max_tokens=3)
    project.run()
    project.write_job(max_tokens=100)
    project.run()
    assert shown_json(project, "--key", "1")["request"]["max_tokens"] == 100


def test_every_line_fits_into_80_columns_and_steers_nothing(project: ProjectFiles) -> None:
    project.write_rows([{"id": "自転車-🚲-" + "とても長い鍵" * 12, "text": FUNNY}])
    project.run()
    key = shown_json(project)[0]["key"]
    whole = printed(show.command, project, JOB_NAME, "--key", key)
    for text in (
        whole,
        printed(show.command, project, JOB_NAME),
        printed(history.command, project, JOB_NAME, "--key", key),
    ):
        assert "\x1b" not in text
        assert max(display_width(line) for line in text.splitlines()) <= 80
    assert "自転車が届きません" in whole
    assert "\n  二行目" in whole


def test_rows_of_a_status_are_listed(failing: ProjectFiles) -> None:
    failing.run()
    assert [row["key"] for row in shown_json(failing, "--status", "errored", "--limit", "2")] == ["0", "1"]
    assert [row["key"] for row in shown_json(failing, "--status", "rejected")] == ["0", "1", "2"]
    assert shown_json(failing, "--status", "answered") == []
    text = printed(show.command, failing, JOB_NAME, "--status", "errored", "--limit", "1")
    assert "invalid_request_error: no such thing" in text
    assert "A red bicycle." in text


def test_a_status_that_no_row_has_is_said_in_words(project: ProjectFiles) -> None:
    project.run()
    assert printed(show.command, project, JOB_NAME, "--status", "refused") == (
        "No row of the last run of about is refused.\n"
    )


def test_cut_rows_are_truncated(project: ProjectFiles) -> None:
    project.write_job(max_tokens=3)
    project.run()
    rows = shown_json(project, "--status", "truncated")
    assert len(rows) == 3
    assert rows[0]["answer"]["stop_reason"] == "max_tokens"
    assert "max_tokens" in rows[0]["error"]


def test_a_row_in_flight_is_pending_and_shows_what_was_asked(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600.0))
    project.run(wait=False)
    value = shown_json(project, "--key", "1")
    assert (value["status"], value["answer"]) == ("pending", None)
    assert value["request"]["messages"][0]["content"][0]["text"] == "A blue boat."


def test_a_blocked_row_says_why_it_cannot_be_asked(project: ProjectFiles) -> None:
    project.write_rows(["A red bicycle.", ""])
    project.run()
    value = shown_json(project, "--key", "1")
    assert (value["status"], value["custom_id"]) == ("blocked", None)
    assert value["error"].startswith("BF410")
    assert "cannot be asked" in printed(show.command, project, JOB_NAME, "--key", "1")


def test_rows_are_those_of_the_last_run_also_where_it_was_a_partial_one(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A red bus.", "A blue bus.", "A green bus."])
    project.run(limit=1)
    rows = shown_json(project)
    assert [(row["row"]["text"], row["scope"]) for row in rows] == [("A red bus.", "limit=1")]
    assert shown_json(project, "--key", "2")["row"]["text"] == "A green train."


def test_a_key_that_no_row_has_is_refused_with_a_way_to_find_one(project: ProjectFiles) -> None:
    project.run()
    error = refused(show.command, project, JOB_NAME, "--key", "77")
    assert error.problems[0].code == "BF907"
    assert "batchforge show about" in error.problems[0].hint


def test_without_a_run_there_is_nothing_to_show(project: ProjectFiles) -> None:
    assert refused(show.command, project, JOB_NAME).problems[0].code == "BF908"


def test_showing_asks_nobody(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run()
    before = emulator.counters()
    shown_json(project, "--key", "1")
    assert emulator.counters() == before


def test_from_the_command_line(project: ProjectFiles) -> None:
    assert project.cli("run", "--yes").exit_code == 0
    shown = project.cli("show", JOB_NAME, "--key", "1")
    assert shown.exit_code == 0
    assert "A blue boat." in shown.stdout
    assert project.cli("history", JOB_NAME, "--key", "1", "--output", "json").json()[0]["status"] == "answered"


def test_a_full_run_after_a_partial_one_is_the_last_also_where_it_sent_nothing(project: ProjectFiles) -> None:
    project.run()
    project.run(limit=1)
    last = project.run()
    rows = shown_json(project)
    assert [row["key"] for row in rows] == ["0", "1", "2"]
    assert {row["run"]["run_id"] for row in rows} == {last.run_id}


def test_a_job_that_is_disabled_can_still_be_looked_up(project: ProjectFiles) -> None:
    project.run()
    project.write_job(enabled=False)
    assert shown_json(project, "--key", "1")["status"] == "answered"
    assert "answered" in printed(history.command, project, JOB_NAME, "--key", "1")


def test_a_job_that_is_not_there_is_refused_with_the_nearest_name(project: ProjectFiles) -> None:
    project.run()
    error = refused(show.command, project, "abuot")
    assert error.problems[0].code == "BF903"
    assert "about" in error.problems[0].hint


def test_rows_that_were_tried_after_a_run_do_not_stand_for_it(project: ProjectFiles) -> None:
    project.cli("try", JOB_NAME, "--limit", "1")
    assert [row["key"] for row in shown_json(project)] == ["0"]
    project.run()
    project.cli("try", JOB_NAME, "--limit", "1")
    assert [row["key"] for row in shown_json(project)] == ["0", "1", "2"]


def test_a_row_that_was_tried_after_a_run_had_asked_it_is_shown_as_of_the_run(project: ProjectFiles) -> None:
    project.run()
    assert project.cli("try", JOB_NAME, "--limit", "1").exit_code == 0
    assert shown_json(project, "--key", "0")["scope"] == ""


def test_what_was_tried_with_another_prompt_after_a_run_is_shown(project: ProjectFiles) -> None:
    project.run()
    project.write_job(user="Again: {{ row.text }}")
    assert project.cli("try", JOB_NAME, "--limit", "1").exit_code == 0
    assert shown_json(project, "--key", "0")["scope"] == "try"
