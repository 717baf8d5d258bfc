"""`batchforge try`: a few answers at once, shown and kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from batchforge.emulator import EmulatorServer
from batchforge.emulator.scenario import Fault
from batchforge.terminal.terminal_text import display_width
from tests.builders import JOB_NAME, OUTPUT, ProjectFiles, end_of, interrupt
from tests.conftest import StartEmulator


@pytest.fixture
def many(tmp_path: Path, emulator: EmulatorServer) -> ProjectFiles:
    project = ProjectFiles(tmp_path / "project", emulator)
    project.write_rows([f"Text number {n}." for n in range(20)])
    return project


def asked_bodies(emulator: EmulatorServer) -> Counter[str]:
    """How often each request was answered, by either way."""
    asked = Counter(got.body or "" for got in emulator.received("messages") if got.status == 200)
    for got in emulator.received("batches.create"):
        asked.update(str(request["params"]["messages"]) for request in got.json()["requests"])
    return asked


def test_the_first_rows_are_answered_and_shown_with_their_price(many: ProjectFiles, emulator: EmulatorServer) -> None:
    done = many.cli("try", JOB_NAME, "--limit", "3", "-q")
    assert done.exit_code == 0
    for n in range(3):
        assert f"Text number {n}." in done.stdout
    assert "Text number 3." not in done.stdout
    assert f"3 rows asked: ${emulator.counters().billed_usd:.6f} in all" in done.stdout
    assert done.stderr == ""
    assert not many.path("outputs").exists()
    assert not many.path("target/run_results.json").exists()


def test_five_rows_are_tried_where_no_number_is_given(many: ProjectFiles, emulator: EmulatorServer) -> None:
    assert len(many.cli("try", JOB_NAME, "--output", "json").json()["rows"]) == 5
    assert (emulator.counters().messages_answered, emulator.counters().batches_created) == (5, 0)


def test_a_run_after_it_asks_only_for_the_other_rows(many: ProjectFiles, emulator: EmulatorServer) -> None:
    tried = many.cli("try", JOB_NAME, "--output", "json").json()["rows"]
    assert many.cli("run", "-q").exit_code == 0
    assert emulator.counters().requests_accepted == 15
    assert [row["answer"] for row in many.rows_of(OUTPUT)][:5] == [row["fields"]["answer"] for row in tried]
    assert len(many.rows_of(OUTPUT)) == 20
    assert set(asked_bodies(emulator).values()) == {1}


def test_a_second_try_pays_nothing(many: ProjectFiles, emulator: EmulatorServer) -> None:
    many.cli("try", JOB_NAME, "--limit", "2")
    again = many.cli("try", JOB_NAME, "--limit", "2", "-q")
    assert "paid before" in again.stdout
    assert "Nothing was asked and nothing was paid." in again.stdout
    assert emulator.counters().messages_answered == 2


def test_rows_are_tried_by_their_keys(many: ProjectFiles) -> None:
    done = many.cli("try", JOB_NAME, "--key", "17", "--key", "4", "--output", "json")
    assert [row["key"] for row in done.json()["rows"]] == ["4", "17"]


def test_a_key_that_is_not_there_is_said(many: ProjectFiles, emulator: EmulatorServer) -> None:
    done = many.cli("try", JOB_NAME, "--key", "99")
    assert done.exit_code == 2
    assert "BF907" in done.stderr
    assert emulator.counters().messages_answered == 0


def test_a_broken_row_further_down_does_not_matter_yet(many: ProjectFiles) -> None:
    with many.path("data/rows.jsonl").open("a") as file:
        file.write("{broken\n")
    assert many.cli("try", JOB_NAME, "--limit", "2").exit_code == 0


def test_a_row_in_flight_is_not_asked_again(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(processing_time_s=60.0)
    project = ProjectFiles(tmp_path / "project", emulator)
    project.run(wait=False)
    done = project.cli("try", JOB_NAME, "-q")
    assert done.exit_code == 3
    assert "in flight" in done.stdout
    assert emulator.counters().messages_answered == 0


def test_a_row_that_is_refused_is_shown_with_the_reason(tmp_path: Path, start_emulator: StartEmulator) -> None:
    fault = Fault(kind="status", on="messages", status=400, message="prompt is too long", times=1)
    project = ProjectFiles(tmp_path / "project", start_emulator(faults=(fault,)), concurrency=1)
    done = project.cli("try", JOB_NAME, "-q")
    assert done.exit_code == 1
    assert "→ errored: invalid_request_error: prompt is too long" in done.stdout


def test_two_tries_at_once_pay_for_each_row_once(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(message_time_s=0.1)
    project = ProjectFiles(tmp_path / "project", emulator, concurrency=2)
    project.write_rows([f"Text number {n}." for n in range(12)])
    both = [project.start("try", JOB_NAME, "--limit", "12", "--output", "json") for _ in range(2)]
    ended = [end_of(process) for process in both]
    assert {done.exit_code for done in ended} <= {0, 3}, [done.stderr for done in ended]
    assert set(asked_bodies(emulator).values()) == {1}
    assert emulator.counters().messages_answered == 12
    assert sum(row["is_new"] for done in ended for row in done.json()["rows"]) == 12


def test_what_was_paid_before_a_kill_is_kept(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(message_time_s=0.2)
    project = ProjectFiles(tmp_path / "project", emulator, concurrency=2)
    project.write_rows([f"Text number {n}." for n in range(30)])
    process = project.start("try", JOB_NAME, "--limit", "30")
    until = time.monotonic() + 60
    while emulator.counters().messages_answered < 7:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.communicate()
    with project.state() as state:
        stored = state.counts()["results"]
    assert 4 <= stored < 30
    assert project.run().status == "ok"
    assert emulator.counters().requests_accepted == 30 - stored
    assert emulator.counters().messages_answered - stored <= 2


def test_an_interrupted_try_keeps_what_was_under_way(tmp_path: Path, start_emulator: StartEmulator) -> None:
    emulator = start_emulator(message_time_s=0.3)
    project = ProjectFiles(tmp_path / "project", emulator, concurrency=2)
    project.write_rows([f"Text number {n}." for n in range(30)])
    process = project.start("try", JOB_NAME, "--limit", "30")
    until = time.monotonic() + 60
    while emulator.counters().messages_answered < 4:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert interrupt(process).exit_code == 130
    with project.state() as state:
        assert state.counts()["results"] == emulator.counters().messages_answered


def test_any_text_is_readable_in_eighty_columns(project: ProjectFiles) -> None:
    project.write_rows(
        [
            "料理のレシピ" * 40,
            "Emoji: " + "👩‍🍳🍲" * 60,
            "Red \x1b[31mtext\x1b[0m, a bell \x07, right to left \u202eabc, and\ta tab\r\n" * 5,
            "word " * 400,
            "x" * 1000,
        ]
    )
    project.write_job(max_tokens=4000)
    done = project.cli("try", JOB_NAME, "-q", COLUMNS="80")
    assert done.exit_code == 0
    assert max(map(display_width, done.stdout.splitlines())) <= 80
    assert not {"\x1b", "\x07", "\u202e", "\t", "\r"} & set(done.stdout)
    assert "\\x1b[31mtext" in done.stdout
    assert "more line" in done.stdout


def test_json_holds_everything_that_is_shown(project: ProjectFiles) -> None:
    value = project.cli("try", JOB_NAME, "--limit", "1", "--output", "json").json()
    (row,) = value["rows"]
    assert (value["status"], value["exit_code"], value["is_emulated"]) == ("ok", 0, False)
    assert row["row"] == {"id": "0", "text": "A red bicycle."}
    assert row["custom_id"].startswith("bf1_")
    assert row["is_new"] is True
    assert value["cost_usd"] == pytest.approx(row["cost_usd"])


def test_a_try_appears_among_the_runs_and_does_not_hide_an_unfinished_one(project: ProjectFiles) -> None:
    project.cli("try", JOB_NAME)
    with project.state() as state:
        (run,) = state.runs(10)
    assert (run.command, run.status) == ("try", "ok")
    assert "BF910" in project.cli("resume").stderr


def test_answers_of_the_emulator_are_called_so(project: ProjectFiles) -> None:
    assert "come from the emulator" in project.cli("try", JOB_NAME, "-t", "local", "-q").stdout


def test_it_tells_what_happens_as_a_run_does(many: ProjectFiles) -> None:
    said = many.cli("try", "about", "--limit", "2", "--log-format", "json")
    events = [json.loads(line) for line in said.stderr.splitlines()]
    assert [event["event"] for event in events][:2] == ["run_started", "job_planned"]
    assert "attempt 2: closed" in many.cli("try", "about", "--limit", "4", "-v").stderr
    assert many.cli("try", "about", "--limit", "5", "-q").stderr == ""


def test_debug_can_stand_behind_any_command(many: ProjectFiles) -> None:
    said = many.cli("try", "abuot", "--debug")
    assert said.exit_code == 2
    assert "Traceback" in said.stderr
    assert "Traceback" not in many.cli("try", "abuot").stderr
