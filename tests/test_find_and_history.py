"""`batchforge find` and `batchforge history`: from any id to its rows, and from a row to every answer it ever had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchforge.commands import find, history
from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault
from batchforge.requests.fingerprint import parse_custom_id
from tests.builders import JOB_NAME, ProjectFiles
from tests.conftest import StartEmulator
from tests.test_show import printed, refused, shown_json


def found(project: ProjectFiles, *words: str) -> Any:
    return json.loads(printed(find.command, project, *words, "--output", "json"))


def past(project: ProjectFiles, key: str) -> Any:
    return json.loads(printed(history.command, project, JOB_NAME, "--key", key, "--output", "json"))


# ---- find


def test_a_custom_id_leads_to_its_row_run_and_result(project: ProjectFiles) -> None:
    run_id = project.run().run_id
    custom_id = project.rows_of()[1]["_request_id"]
    value = found(project, custom_id)
    assert (value["kind"], value["status"]) == ("request", "answered")
    assert [(row["job"], row["key"], row["place"]) for row in value["rows"]] == [(JOB_NAME, "1", "data/rows.jsonl:2")]
    assert value["answers"][0]["run"]["run_id"] == run_id
    assert value["attempts"][0]["batch_id"] == value["answers"][0]["batch_id"]


def test_every_spelling_of_an_id_leads_to_the_same_request(project: ProjectFiles) -> None:
    project.run()
    custom_id = project.rows_of()[1]["_request_id"]
    name = parse_custom_id(custom_id)
    assert name is not None
    message_id = found(project, custom_id)["answers"][0]["message_id"]
    for spelling in (custom_id.removeprefix("bf1_"), name[0].hex(), name[0].hex().upper(), message_id):
        assert found(project, spelling)["found_id"] == custom_id


def test_a_request_as_the_api_calls_it_leads_to_its_row(project: ProjectFiles, emulator: EmulatorServer) -> None:
    project.run(mode="sync")
    answer = past(project, "1")[0]["answer"]
    assert answer["api_request_id"].startswith("req_")
    value = found(project, answer["api_request_id"])
    assert [row["key"] for row in value["rows"]] == ["1"]
    assert answer["api_request_id"] in printed(find.command, project, answer["api_request_id"])


def test_a_request_that_the_api_refused_is_found_too(tmp_path: Path, start_emulator: StartEmulator) -> None:
    fault = Fault(kind="status", on="messages", status=400, message="prompt is too long", times=None)
    project = ProjectFiles(tmp_path / "p", start_emulator(faults=(fault,)), mode="sync")
    project.run()
    refused_id = past(project, "0")[0]["answer"]["api_request_id"]
    assert found(project, refused_id)["status"] == "errored"


def test_a_batch_leads_to_its_rows_and_its_run(project: ProjectFiles) -> None:
    run_id = project.run().run_id
    batch_id = past(project, "0")[0]["answer"]["batch_id"]
    value = found(project, batch_id)
    assert (value["kind"], value["run"]["run"]["run_id"]) == ("batch", run_id)
    assert value["batches"][0]["succeeded"] == value["attempts"][0]["request_count"]
    assert "0" in [row["key"] for row in value["rows"]]


def test_of_many_rows_the_first_are_named(project: ProjectFiles) -> None:
    project.write_rows(["The same."] * 30)
    project.run()
    custom_id = project.rows_of()[0]["_request_id"]
    value = found(project, custom_id, "--limit", "4")
    assert (len(value["rows"]), value["has_more_rows"]) == (4, True)
    assert "and more rows" in printed(find.command, project, custom_id, "--limit", "4")
    assert not found(project, custom_id, "--limit", "30")["has_more_rows"]


def test_a_run_leads_to_its_batches(project: ProjectFiles) -> None:
    run_id = project.run().run_id
    value = found(project, run_id)
    assert (value["kind"], value["status"]) == ("run", "ok")
    assert sum(attempt["request_count"] for attempt in value["attempts"]) == 3


def test_a_request_in_flight_is_found_as_such(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600.0))
    project.run(wait=False)
    custom_id = past(project, "1")[0]["custom_id"]
    value = found(project, custom_id)
    assert (value["status"], value["answers"]) == ("in flight", [])
    assert value["attempts"][0]["state"] == "known"


def test_a_request_of_an_earlier_prompt_is_found_with_the_row_that_had_it(project: ProjectFiles) -> None:
    project.run()
    custom_id = project.rows_of()[1]["_request_id"]
    project.write_prompt("Something else.\n")
    project.run()
    (row,) = found(project, custom_id)["rows"]
    assert (row["key"], row["place"]) == ("1", None)
    assert "another request by now" in printed(find.command, project, custom_id)


def test_all_targets_are_looked_into(project: ProjectFiles) -> None:
    project.run(target="local")
    custom_id = project.rows_of(project.emulated())[1]["_request_id"]
    assert found(project, custom_id)["rows"][0]["target"] == "local"
    assert refused(find.command, project, custom_id, "--target", "api").problems[0].code == "BF940"


def test_an_unknown_id_says_where_it_was_looked_for(project: ProjectFiles) -> None:
    project.run()
    error = refused(find.command, project, "msgbatch_01abc")
    assert error.problems[0].code == "BF940"
    assert "api, local" in error.problems[0].message


# ---- history


def test_the_history_of_a_row_holds_every_answer_it_had(project: ProjectFiles) -> None:
    first = project.run().run_id
    project.write_prompt("Say it in two sentences.\n")
    second = project.run().run_id
    entries = past(project, "1")
    assert [entry["first_run"]["run_id"] for entry in entries] == [first, second]
    assert len({entry["custom_id"] for entry in entries}) == 2
    assert len({entry["answer"]["prompt_hash"] for entry in entries}) == 2
    for entry in entries:
        answer = entry["answer"]
        assert answer["model"] == "claude-haiku-5-5"
        assert answer["cost_usd"] > 0
        assert answer["batch_id"].startswith("msgbatch_")
        assert answer["run"]["started_by"]
        assert answer["stored_at"] > answer["run"]["started_at"]


def test_an_answer_that_was_asked_again_has_the_next_ordinal(project: ProjectFiles) -> None:
    project.write_job(max_tokens=3)
    project.run()
    project.write_job(max_tokens=100)
    project.run()
    assert [(entry["ordinal"], entry["status"]) for entry in past(project, "1")] == [(0, "truncated"), (1, "answered")]


def test_a_reverted_prompt_adds_nothing_to_the_history(project: ProjectFiles) -> None:
    project.run()
    project.write_prompt("Another one.\n")
    project.run()
    project.write_prompt("Say in one sentence what the text is about.\n")
    project.run()
    assert len(past(project, "1")) == 2


def test_an_answer_that_another_job_paid_says_which_run_paid_it(project: ProjectFiles) -> None:
    payer = project.run().run_id
    project.write_job("copy", output={"file": "outputs/copy.jsonl"})
    user = project.run("copy").run_id
    text = printed(history.command, project, "copy", "--key", "1")
    assert f"run {payer}" in text
    assert f"used since run {user}" in text


def test_rows_that_are_gone_from_the_input_keep_their_history(project: ProjectFiles) -> None:
    project.run()
    project.write_rows(["A red bicycle."])
    project.run()
    assert len(past(project, "2")) == 1


@pytest.mark.parametrize("key", ["77", ""])
def test_a_row_that_never_was_has_no_history(project: ProjectFiles, key: str) -> None:
    project.run()
    assert refused(history.command, project, JOB_NAME, "--key", key).problems[0].code == "BF907"


# ---- rows that were only tried


def test_a_row_that_was_only_tried_is_shown_found_and_remembered(project: ProjectFiles) -> None:
    assert project.cli("try", JOB_NAME, "--limit", "1").exit_code == 0
    assert [(row["key"], row["status"], row["scope"]) for row in shown_json(project)] == [("0", "answered", "try")]
    (entry,) = past(project, "0")
    assert (entry["answer"]["mode"], entry["answer"]["run"]["command"]) == ("sync", "try")
    (row,) = found(project, entry["custom_id"])["rows"]
    assert (row["key"], row["place"]) == ("0", "data/rows.jsonl:1")


def test_no_output_is_made_of_rows_that_were_only_tried(project: ProjectFiles) -> None:
    assert project.cli("try", JOB_NAME, "--limit", "1").exit_code == 0
    assert project.collect().jobs == []
    assert not project.path("outputs").exists()
