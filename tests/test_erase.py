"""`batchforge state erase`: what it removes, what it leaves, and what it says it cannot reach."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from batchforge.commands import history
from batchforge.commands import state as state_command
from batchforge.emulator import EmulatorServer
from batchforge.errors import BatchForgeError
from tests.builders import JOB_NAME, OUTPUT, ProjectFiles
from tests.conftest import StartEmulator
from tests.test_show import refused, shown_json

SECRET = "Seven Samurai live at 7 Hidden Lane"
ROWS: list[dict[str, Any]] = [
    {"id": "0", "customer_id": 6, "text": "A red bicycle."},
    {"id": "1", "customer_id": 7, "text": f"{SECRET}, first."},
    {"id": "2", "customer_id": 7, "text": f"{SECRET}, second."},
    {"id": "3", "customer_id": 8, "text": "A green train."},
]


@pytest.fixture
def customers(project: ProjectFiles) -> ProjectFiles:
    project.write_rows(ROWS)
    return project


def erase(project: ProjectFiles, *words: str) -> Result:
    command = ["erase", JOB_NAME, *words, "--project-dir", str(project.root)]
    return CliRunner().invoke(state_command.command, command)


def said(project: ProjectFiles, *words: str) -> str:
    result = erase(project, *words)
    assert result.exit_code == 0, result.exception
    return result.stdout


def counted(project: ProjectFiles, *words: str) -> Any:
    return json.loads(said(project, *words, "--output", "json"))


def refusal(project: ProjectFiles, *words: str) -> BatchForgeError:
    error = erase(project, *words).exception
    assert isinstance(error, BatchForgeError)
    return error


def files_with(project: ProjectFiles, text: str) -> list[str]:
    """Every file of the project that holds a text, but for the input."""
    names = (path for path in project.root.rglob("*") if path.is_file() and "data" not in path.parts)
    return sorted(path.relative_to(project.root).as_posix() for path in names if text.encode() in path.read_bytes())


# ---- what goes


@pytest.mark.parametrize("words", [("--where", "customer_id = 7"), ("--key", "1", "--key", "2")])
def test_erased_rows_are_in_no_file_any_more(customers: ProjectFiles, words: tuple[str, ...]) -> None:
    customers.run()
    assert files_with(customers, SECRET)
    said(customers, *words, "--yes")
    assert files_with(customers, SECRET) == []
    assert [row["id"] for row in customers.rows_of()] == ["0", "3"]
    assert [row["key"] for row in shown_json(customers)] == ["0", "3"]


def test_without_yes_nothing_is_changed(customers: ProjectFiles) -> None:
    customers.run()
    before = files_with(customers, SECRET)
    text = said(customers, "--where", "customer_id = 7")
    assert "Would erase of about: 2 rows, 2 requests, 2 answers (2 of them paid)" in text
    assert "outputs/answers.jsonl: 2 rows" in text
    assert "--yes" in text
    assert files_with(customers, SECRET) == before
    assert len(customers.rows_of()) == 4


def test_what_earlier_runs_asked_for_the_row_goes_too(customers: ProjectFiles) -> None:
    customers.write_rows([*ROWS[:1], {"id": "1", "customer_id": 7, "text": f"Formerly, {SECRET}"}])
    customers.run()
    customers.write_rows(ROWS)
    customers.run()
    said(customers, "--key", "1", "--key", "2", "--yes")
    assert files_with(customers, SECRET) == []
    assert refused(history.command, customers, JOB_NAME, "--key", "1").problems[0].code == "BF907"


def test_failed_rows_and_held_back_tables_are_cleared(customers: ProjectFiles) -> None:
    customers.write_job(max_tokens=2)
    customers.run()
    assert "outputs/answers.candidate.rejected.jsonl" in files_with(customers, SECRET)
    said(customers, "--where", "customer_id = 7", "--yes")
    assert files_with(customers, SECRET) == []


def test_what_killed_processes_were_writing_goes_too(customers: ProjectFiles) -> None:
    customers.run()
    for name in ("outputs/.answers.candidate.jsonl", "outputs/.answers.rejected.jsonl", "target/compiled/.about.jsonl"):
        customers.write(f"{name}.999999999.7f.partial", SECRET)
    said(customers, "--key", "1", "--key", "2", "--yes")
    assert files_with(customers, SECRET) == []


def test_the_compiled_requests_go_as_a_whole(customers: ProjectFiles) -> None:
    customers.run()
    assert customers.cli("compile").exit_code == 0
    assert "target/compiled/about.jsonl" in files_with(customers, SECRET)
    assert "target/compiled/about.jsonl" in said(customers, "--key", "1", "--key", "2", "--yes")
    assert files_with(customers, SECRET) == []


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_outputs_of_other_formats_are_cleared(customers: ProjectFiles, ending: str) -> None:
    customers.write_job(output={"file": f"outputs/answers.{ending}"})
    customers.run()
    found = counted(customers, "--where", "customer_id = 7", "--yes")
    assert found["files"] == [{"path": f"outputs/answers.{ending}", "rows": 2}]
    assert counted(customers, "--where", "customer_id = 7")["files"] == []


def test_a_condition_may_name_columns_that_only_the_input_has(customers: ProjectFiles) -> None:
    customers.write_job(output={"file": OUTPUT, "columns": ["text"]})
    customers.run()
    said(customers, "--where", "customer_id = 7", "--yes")
    assert files_with(customers, SECRET) == []
    assert [row["text"] for row in customers.rows_of()] == ["A red bicycle.", "A green train."]


def test_rows_without_a_declared_key_are_erased_by_what_they_hold(customers: ProjectFiles) -> None:
    customers.write_job(input={"file": "data/rows.jsonl"})
    customers.run()
    said(customers, "--where", "customer_id = 7", "--yes")
    assert files_with(customers, SECRET) == []
    assert [row["id"] for row in customers.rows_of()] == ["0", "3"]


def test_keys_are_taken_out_of_the_summaries_of_runs(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=0.3))
    project.write_rows([{"id": "ann@example.org", "text": "A red bicycle."}, {"id": "b", "text": "A blue boat."}])
    project.run(wait=False)
    project.write_rows([{"id": "ann@example.org", "text": "A red bus."}, {"id": "b", "text": "A blue boat."}])
    project.collect()
    assert "target/run_results.json" in files_with(project, "ann@example.org")
    said(project, "--key", "ann@example.org", "--yes")
    assert files_with(project, "ann@example.org") == []


# ---- what stays


def test_rows_that_stay_are_not_asked_again(customers: ProjectFiles, emulator: EmulatorServer) -> None:
    customers.run()
    said(customers, "--where", "customer_id = 7", "--yes")
    customers.write_rows([ROWS[0], ROWS[3]])
    assert customers.run().jobs[0].requests_sent == 0
    assert emulator.counters().requests_accepted == 4
    assert [row["id"] for row in customers.rows_of()] == ["0", "3"]


def test_a_row_that_stays_in_the_input_is_asked_and_paid_again(customers: ProjectFiles) -> None:
    customers.run()
    assert "- 1 row of the input: take them out" in said(customers, "--key", "1", "--yes")
    assert customers.run().jobs[0].requests_sent == 1


def test_a_request_that_a_row_of_another_job_has_stays_and_is_named(customers: ProjectFiles) -> None:
    customers.write_job("copy", output={"file": "outputs/copy.jsonl"})
    customers.run()
    found = counted(customers, "--key", "1", "--yes")
    assert (found["state"]["rows"], found["state"]["requests"], found["state"]["shared_requests"]) == (1, 0, 1)
    assert found["state"]["shared_with"] == [{"job": "copy", "key": "1"}]
    assert [row["id"] for row in customers.rows_of()] == ["0", "2", "3"]
    assert len(customers.rows_of("outputs/copy.jsonl")) == 4
    assert customers.run("copy").jobs[0].requests_sent == 0


def test_erasing_the_other_row_too_removes_the_shared_request(project: ProjectFiles) -> None:
    project.write_rows([{"id": "a", "text": SECRET}, {"id": "b", "text": SECRET}])
    project.run()
    assert "(about: b)" in said(project, "--key", "a", "--yes")
    said(project, "--key", "b", "--yes")
    assert files_with(project, SECRET) == []


def test_costs_of_what_was_erased_stay_in_the_runs(customers: ProjectFiles) -> None:
    cost = customers.run().to_json()["cost_usd"]
    said(customers, "--where", "customer_id = 7", "--yes")
    with customers.state() as state:
        assert state.runs(1)[0].summary["cost_usd"] == cost


# ---- what it says


def test_it_says_what_the_api_keeps_and_deletes_it_there_on_demand(
    customers: ProjectFiles, emulator: EmulatorServer
) -> None:
    customers.run()
    assert "The API keeps the requests and results of" in said(customers, "--key", "1")
    assert "Deleted at the API:" in said(customers, "--key", "1", "--yes", "--delete-remote")
    assert not counted(customers, "--key", "2")["held_batches"]
    assert customers.run().status == "ok"


def test_it_names_the_states_of_other_targets(customers: ProjectFiles) -> None:
    customers.run()
    customers.run(target="local")
    assert "--target local" in said(customers, "--key", "1")
    text = said(customers, "--key", "1", "--yes", "--target", "local")
    assert ".batchforge/emulator-local.db" in text


def test_what_the_embedded_emulator_keeps_goes_too(customers: ProjectFiles) -> None:
    customers.run(target="local")
    memory = customers.path(".batchforge/emulator-local.db")
    assert "as a whole, what the emulator keeps" in said(customers, "--key", "1", "--target", "local")
    assert memory.exists()
    text = said(customers, "--key", "1", "--yes", "--target", "local")
    assert "The API keeps" not in text
    assert not list(customers.path(".batchforge").glob("emulator-local.db*"))
    assert customers.run(target="local").jobs[0].requests_sent == 1


def test_prune_removes_what_the_embedded_emulator_keeps_unless_something_is_in_flight(tmp_path: Path) -> None:
    project = ProjectFiles(tmp_path / "p")
    project.run()
    assert " that the emulator had kept of what" not in project.cli("state", "prune").stdout
    assert " that the emulator had kept of what" in project.cli("state", "prune", "--yes").stdout
    assert not list(project.path(".batchforge").glob("emulator-local.db*"))
    project.write_rows(["Another."])
    project.run(wait=False)
    assert " that the emulator had kept of what" not in project.cli("state", "prune", "--yes").stdout
    assert project.collect().status == "ok"


def test_keys_of_earlier_runs_that_a_condition_cannot_tell_about_are_counted(customers: ProjectFiles) -> None:
    customers.run()
    customers.write_rows(ROWS[:2])
    customers.run()
    assert counted(customers, "--where", "customer_id = 7")["rows_without_values"] == 2
    said(customers, "--key", "2", "--yes")
    assert counted(customers, "--where", "customer_id = 7")["rows_without_values"] == 1


def test_erasing_twice_finds_nothing_the_second_time(customers: ProjectFiles) -> None:
    customers.run()
    said(customers, "--key", "1", "--yes")
    assert "0 rows, 0 requests, 0 answers" in said(customers, "--key", "1", "--yes")


# ---- what it refuses


def test_rows_in_flight_are_refused(tmp_path: Path, start_emulator: StartEmulator) -> None:
    project = ProjectFiles(tmp_path / "slow", start_emulator(processing_time_s=600.0))
    project.run(wait=False)
    assert "1 request in flight" in said(project, "--key", "1")
    assert refusal(project, "--key", "1", "--yes").problems[0].code == "BF943"
    with project.state() as state:
        assert state.counts()["requests"] == 3


@pytest.mark.parametrize("words", [(), ("--key", "1", "--where", "true")])
def test_rows_are_named_in_one_way(customers: ProjectFiles, words: tuple[str, ...]) -> None:
    assert refusal(customers, *words).problems[0].code == "BF944"


def test_a_condition_over_an_unknown_column_names_the_columns(customers: ProjectFiles) -> None:
    customers.run()
    error = refusal(customers, "--where", "customer_di = 7")
    assert error.problems[0].code == "BF942"
    assert "id, customer_id, text" in error.problems[0].hint


def test_without_a_state_there_is_nothing_to_erase(customers: ProjectFiles) -> None:
    assert refusal(customers, "--key", "1").problems[0].code == "BF908"


@pytest.fixture
def reader(customers: ProjectFiles) -> Iterator[sqlite3.Connection]:
    """Another process in the middle of reading the state."""
    customers.run()
    with customers.state() as state:
        path = state.path
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM requests").fetchone()
    yield connection
    connection.close()


def test_a_reader_that_holds_old_pages_is_noticed(customers: ProjectFiles, reader: sqlite3.Connection) -> None:
    error = refusal(customers, "--where", "customer_id = 7", "--yes")
    assert (error.problems[0].code, error.exit_code) == ("BF502", 4)
    reader.execute("ROLLBACK")
    said(customers, "--where", "customer_id = 7", "--yes")
    reader.close()
    assert files_with(customers, SECRET) == []


def test_from_the_command_line(customers: ProjectFiles) -> None:
    customers.run()
    ended = customers.cli("state", "erase", JOB_NAME, "--where", "customer_id = 7", "--yes")
    assert (ended.exit_code, files_with(customers, SECRET)) == (0, [])


def test_rows_that_were_only_tried_are_erased_too(customers: ProjectFiles) -> None:
    assert customers.cli("try", JOB_NAME, "--limit", "4").exit_code == 0
    assert files_with(customers, SECRET)
    said(customers, "--where", "customer_id = 7", "--yes")
    assert files_with(customers, SECRET) == []
